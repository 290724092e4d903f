// @ts-check
// A terminal session that is watched: opened or attached to, over lost connections, until it ends.

import { Problem } from "./api.js";
import { connect } from "./live.js";

/** How many bytes are shown until the agent is told. It sends four times as many ahead. */
const told = 64 * 1024;
/** How long until it is tried again to watch a session, in ms. */
const pause = 1000;
/** The problems that pass. */
const transient = ["unreachable", "restarting", "rate-limited"];

/**
 * What is to be watched: the session of an id, or a new one.
 * @typedef {{id?: string, service?: string | null, name?: string | null}} Wanted
 */

/**
 * @typedef {object} Watcher
 * @property {(session: any) => void} began It is watched, from its present screen on.
 * @property {(text: string) => void} ended It is over, or there is none; nothing follows.
 * @property {(problem: unknown) => void} failed
 */

/**
 * @param {Wanted} wanted
 * @param {ReturnType<Awaited<ReturnType<typeof import("./screen.js").load>>>} screen
 * @param {HTMLElement} link
 * @param {() => void} refused
 * @param {Watcher} watcher
 */
export function watch(wanted, { terminal, size }, link, refused, watcher) {
  const live = connect("/term", link, refused);
  let { id } = wanted;
  let isOver = false;
  /** Counts the times that it was watched: what was shown of another time isn't acknowledged in this one. */
  let turn = 0;
  let bytes = 0;
  let acknowledged = 0;
  let timer = 0;

  /** @param {string} text */
  const end = (text) => {
    isOver = true;
    live.close();
    link.textContent = "";
    watcher.ended(text);
  };
  const resize = () => {
    const now = size();
    if (!id || isOver || (now.cols === terminal.cols && now.rows === terminal.rows)) return;
    // Whoever else watches it is told, too, and so is this page.
    live.ask("resize", { session: id, ...now }).catch(() => {});
  };
  const begin = async () => {
    const { service, name } = wanted;
    try {
      const open = { ...size(), ...(service && { service }), ...(name && { name }) };
      const session = id ? await live.ask("attach", { session: id }) : await live.ask("open", open);
      // Nothing of it has come yet.
      turn++;
      bytes = acknowledged = 0;
      id = session.session;
      terminal.resize(session.cols, session.rows);
      watcher.began(session);
      resize();
    } catch (problem) {
      if (problem instanceof Problem && !transient.includes(problem.code)) {
        end(id && problem.code === "not-found" ? "There is no such session any more." : problem.message);
      } else if (live.socket.connected) {
        watcher.failed(problem);
        timer = window.setTimeout(begin, pause);
      }
    }
  };
  live.socket.on("connect", begin);
  live.socket.on("output", ({ session, data }) => {
    if (session !== id) return;
    const mine = turn;
    terminal.write(new Uint8Array(data), () => {
      if (mine !== turn) return;
      bytes += data.byteLength;
      if (bytes - acknowledged < told) return;
      acknowledged = bytes;
      live.ask("ack", { session, bytes }).catch(() => {});
    });
  });
  // These come in their place among the output.
  live.socket.on("resized", ({ session, cols, rows }) => {
    if (session === id) terminal.write("", () => terminal.resize(cols, rows));
  });
  live.socket.on("exit", ({ session, code, problem, detail }) => {
    if (session !== id) return;
    isOver = true;
    const how = problem ? `: ${detail}.` : code === null ? ": it was closed." : ` with exit code ${code}.`;
    terminal.write("", () => end(`The session has ended${how}`));
  });
  return {
    /** Whether what is typed reaches it. */
    listens: () => Boolean(id) && !isOver && live.socket.connected,
    /** @param {Uint8Array} data */
    input: (data) => live.ask("input", { session: id, data }),
    /** Gives it the size of the window. */
    resize,
    /** Ends it. */
    end: () => live.ask("close", { session: id }),
    /** Watches it no more. */
    close: () => {
      isOver = true;
      clearTimeout(timer);
      live.close();
    },
  };
}
