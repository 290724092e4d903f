// @ts-check
// A log as a file, as `podkeeper logs` prints it. It is put together here: the agent's own text of a service's log has
// no place to go on from, and that of a deployment has no times.

import { call } from "./api.js";
import { el, errorPlace, notice } from "./parts.js";

/** How many lines one call reads; the agent gives fewer where they are long. */
const page = 10_000;
/** How much of a log a file holds, in bytes: its newest lines. */
const most = 100 * 2 ** 20;

/** The text of lines, in pieces that the browser keeps outside the page's memory, and on the disk where they are many. */
class Text {
  constructor() {
    /** @type {{blob: Blob, lines: number}[]} */
    this.pieces = [];
    this.bytes = 0;
    this.lines = 0;
    /** Whether there are lines before the first one. */
    this.isCut = false;
  }

  /**
   * Lines as `podkeeper logs` prints them.
   * @param {any[]} entries
   */
  piece(entries) {
    const blob = new Blob(entries.map(({ time, message }) => `${time.slice(0, 19)}Z ${message}\n`));
    this.bytes += blob.size;
    this.lines += entries.length;
    return { blob, lines: entries.length };
  }

  /**
   * Lines that are before; whether there is room for more of them.
   * @param {any[]} entries
   */
  prepend(entries) {
    this.pieces.unshift(this.piece(entries));
    return this.bytes < most;
  }

  /**
   * Lines that follow. The oldest make room for them.
   * @param {any[]} entries
   */
  append(entries) {
    this.pieces.push(this.piece(entries));
    while (this.bytes > most && this.pieces.length > 1) {
      const [gone] = this.pieces.splice(0, 1);
      this.bytes -= gone.blob.size;
      this.lines -= gone.lines;
      this.isCut = true;
    }
  }

  whole() {
    const blobs = this.pieces.map(({ blob }) => blob);
    return new Blob(blobs, { type: "text/plain" });
  }
}

/**
 * Reads a log until its end or until it is not wanted any more.
 * @typedef {(text: Text, wanted: AbortSignal) => Promise<void>} Read
 */

/**
 * A service's lines, the newest first: those that come meanwhile are no part of it.
 * @param {string} service
 * @param {Record<string, string>} filters What `GET …/logs` takes.
 * @returns {Read}
 */
export function ofService(service, filters) {
  return async (text, wanted) => {
    let cursor = "";
    do {
      const query = new URLSearchParams({ ...filters, lines: String(page), ...(cursor && { cursor }) });
      const answer = await call("GET", `/services/${encodeURIComponent(service)}/logs?${query}`);
      cursor = answer.cursor ?? "";
      if (!text.prepend(answer.entries) && cursor) text.isCut = true;
    } while (cursor && !text.isCut && !wanted.aborted);
  };
}

/**
 * All lines of a deployment that has ended.
 * @param {import("./streams.js").Streams} streams
 * @param {number} deployment
 * @returns {Read}
 */
export function ofDeployment(streams, deployment) {
  return (text, wanted) =>
    new Promise((resolve, reject) => {
      const stop = streams.follow(
        { deployment },
        {
          lines: (entries, acknowledge) => {
            text.append(entries);
            acknowledge();
          },
          state: (problem) => {
            if (!problem) return;
            stop();
            reject(problem);
          },
          ended: resolve,
        },
      );
      wanted.addEventListener("abort", () => {
        stop();
        resolve();
      });
    });
}

/**
 * What a file is called: what is in it, and when it was read, where more may come.
 * @param {(string | number)[]} parts
 * @param {Date} [read]
 */
export function fileName(parts, read) {
  const time = read ? [read.toISOString().replace(/[-:]|\.\d+/g, "")] : [];
  return `${[...parts, ...time].join("-")}.log`;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const href = URL.createObjectURL(blob);
  el("a", { href, download: name }).click();
  // Not every browser has taken it at once.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/**
 * A button that makes a file of a log, and one that gives it up while it is read; where it is told how that goes; and
 * what ends it.
 * @param {string} title What it does.
 * @param {() => {name: string, read: Read}} begin
 */
export function download(title, begin) {
  const error = errorPlace();
  // Without a role: a screen reader would read out each number.
  const said = el("p", { class: "quiet progress" });
  /** @type {AbortController | null} */
  let reading = null;
  const stop = () => {
    reading?.abort();
    reading = null;
    button.textContent = "Download";
    said.textContent = "";
  };
  const start = async () => {
    const mine = (reading = new AbortController());
    const { name, read } = begin();
    const text = new Text();
    const tell = () => {
      // A read that was given up may take its time to end.
      if (!mine.signal.aborted) said.textContent = `Reading the log… ${text.lines.toLocaleString()} lines`;
    };
    const clock = setInterval(tell, 500);
    button.textContent = "Stop";
    error.textContent = said.textContent = "";
    try {
      await read(text, mine.signal);
      if (mine.signal.aborted) return;
      stop();
      if (!text.lines) notice("There is no line to download.");
      else {
        const count = text.lines.toLocaleString();
        save(text.whole(), name);
        notice(text.lines === 1 ? "One line downloaded." : `${count} lines downloaded.`);
        if (text.isCut) said.textContent = `The log is too long for a file: this one has its newest ${count} lines.`;
      }
    } catch (problem) {
      if (mine.signal.aborted) return;
      stop();
      error.textContent = problem instanceof Error ? problem.message : String(problem);
    } finally {
      clearInterval(clock);
    }
  };
  const press = () => (reading ? stop() : start());
  const button = el("button", { type: "button", class: "download", title, onclick: press }, "Download");
  return { button, told: [error, said], close: stop };
}
