// @ts-check
// Streams of log lines: one connection for all of a page's, each with its window, its cursor and its end.

import { Problem } from "./api.js";
import { connect } from "./live.js";

/** How long until a stream that could not go on is tried again, in ms. */
const pause = 2000;
/** The problems that trying again doesn't solve. */
const final = ["bad-request", "not-found", "forbidden"];

/**
 * @typedef {object} Listener
 * @property {(entries: any[], acknowledge: () => void) => void} lines Lines that follow the ones before. Nothing more
 *   than a window comes until they are acknowledged.
 * @property {(problem: Problem | null) => void} state What keeps the stream from going on; null: it goes on.
 * @property {() => void} ended Nothing follows.
 */

/**
 * @param {HTMLElement} link
 * @param {() => void} refused
 */
export function streams(link, refused) {
  const live = connect("/log", link, refused);
  /** The open ones by their number on the present connection. @type {Map<number, (message: any) => void>} */
  const channels = new Map();
  /** What each stream does when there is a connection. @type {Set<() => void>} */
  const waiting = new Set();
  /** The agent looks for a stream's first lines before it opens the next. */
  let opening = Promise.resolve();
  live.socket.on("connect", () => {
    channels.clear();
    waiting.forEach((begin) => begin());
  });
  live.socket.on("data", (message) => channels.get(message.channel)?.(message));
  live.socket.on("closed", (message) => channels.get(message.channel)?.(message));

  /**
   * Lines of a service or of a deployment from there on, over lost connections and the agent's restarts, none of them
   * missing and none twice.
   * @param {Record<string, any>} wanted What `open` takes.
   * @param {Listener} listener
   */
  const follow = (wanted, listener) => {
    let cursor = wanted.cursor;
    let channel = 0;
    let attempt = 0;
    let timer = 0;
    const stop = () => {
      attempt++;
      clearTimeout(timer);
      waiting.delete(begin);
      if (channels.delete(channel)) live.ask("close", { channel }).catch(() => {});
    };
    /** @param {Problem} problem */
    const failed = (problem) => {
      // That the agent begins anew is seen by the connection.
      if (problem.code !== "restarting") listener.state(problem);
      if (final.includes(problem.code)) stop();
      else timer = window.setTimeout(begin, pause);
    };
    /** @param {any} message */
    const heard = (message) => {
      if (message.entries) {
        const of = channel;
        cursor = message.entries.at(-1)?.cursor ?? cursor;
        const acknowledge = () => {
          if (!channels.has(of)) return;
          // An acknowledgement that the agent was too busy for would be waited for on both sides.
          live.ask("ack", { channel: of, seq: message.seq }).catch((problem) => {
            if (problem.code === "rate-limited") setTimeout(acknowledge, pause / 10);
          });
        };
        listener.lines(message.entries, acknowledge);
        return;
      }
      channels.delete(channel);
      if (message.problem) failed(new Problem(message.problem, message.detail, message.hint));
      else {
        stop();
        listener.ended();
      }
    };
    /** @param {number} mine */
    const open = async (mine) => {
      // Nobody wants it any more, or it begins again with the next connection.
      if (mine !== attempt || !live.socket.connected) return;
      try {
        const opened = await live.ask("open", cursor ? { ...wanted, lines: undefined, cursor } : wanted);
        if (mine === attempt) {
          channel = opened.channel;
          channels.set(channel, heard);
          listener.state(null);
        } else live.ask("close", { channel: opened.channel }).catch(() => {});
      } catch (problem) {
        if (mine === attempt && live.socket.connected) failed(/** @type {Problem} */ (problem));
      }
    };
    const begin = () => {
      clearTimeout(timer);
      const mine = ++attempt;
      opening = opening.then(() => open(mine));
    };
    waiting.add(begin);
    begin();
    return stop;
  };
  return { follow, close: live.close };
}

/** @typedef {ReturnType<typeof streams>} Streams */
