// @ts-check
// What is typed, on its way to a session: in order, in pieces that the agent takes, and never more than so much.

import { Problem } from "./api.js";

/** How many bytes one message types. */
const piece = 16 * 1024;
/** How many messages are on their way at once. */
const ahead = 8;
/** How many bytes wait at most. */
const most = 1024 * 1024;

const encoder = new TextEncoder();

/**
 * @param {(data: Uint8Array) => Promise<unknown>} send
 * @param {(problem: unknown) => void} failed Told what was not typed.
 */
export function keyboard(send, failed) {
  /** @type {Uint8Array[]} */
  let waiting = [];
  let bytes = 0;
  let under = 0;
  const pump = () => {
    while (under < ahead && waiting.length) {
      const data = /** @type {Uint8Array} */ (waiting.shift());
      bytes -= data.length;
      under++;
      send(data)
        .catch((problem) => {
          // What follows would be typed into the middle of something else.
          clear();
          failed(problem);
        })
        .finally(() => {
          under--;
          pump();
        });
    }
  };
  const clear = () => {
    waiting = [];
    bytes = 0;
  };
  /** @param {Uint8Array} data */
  const type = (data) => {
    if (bytes + data.length > most) {
      failed(new Problem("payload-too-large", "That is too much to be typed at once."));
      return;
    }
    for (let at = 0; at < data.length; at += piece) waiting.push(data.slice(at, at + piece));
    bytes += data.length;
    pump();
  };
  return {
    /** @param {string} text */
    text: (text) => type(encoder.encode(text)),
    /** @param {string} binary A character a byte, as some mouse reports are. */
    binary: (binary) => type(Uint8Array.from(binary, (one) => one.charCodeAt(0))),
    clear,
  };
}
