// @ts-check
// A connection to one of the agent's namespaces, for as long as a page wants it.

import { call, Problem } from "./api.js";
// By its whole path, which tells the type checker not to read it.
import { io } from "/assets/socket.io.js";

/** How long until it is tried again to connect, in ms. */
const pause = 1000;
/** How long an answer may take, in ms. */
const patience = 30_000;

/**
 * Connects, and connects again where the connection is lost; what the page must do then it does on `connect`.
 * @param {string} namespace
 * @param {HTMLElement} link Where it is told that there is no connection.
 * @param {() => void} refused Told when the session has ended.
 */
export function connect(namespace, link, refused) {
  const socket = io(namespace, { transports: ["websocket"] });
  let closed = false;
  /** Who was told no goes on where it is not the session that has ended. */
  const again = async () => {
    if (closed) return;
    try {
      await call("GET", "/credentials/session");
      socket.connect();
    } catch (problem) {
      if (problem instanceof Problem && problem.code === "not-signed-in") {
        close();
        refused();
      } else setTimeout(again, pause);
    }
  };
  const lost = () => {
    if (closed) return;
    link.textContent = "Connecting again…";
    // What can't be reached is tried again by itself.
    if (!socket.active) setTimeout(again, pause);
  };
  socket.on("connect", () => (link.textContent = ""));
  socket.on("disconnect", lost);
  socket.on("connect_error", lost);

  /**
   * Sends an event and gives its answer. While there is no connection nothing is sent, now or later.
   * @param {string} event
   * @param {object} data
   */
  const ask = async (event, data) => {
    const lostIt = new Problem("unreachable", "The connection was lost.");
    if (!socket.connected) throw lostIt;
    const answer = await socket
      .timeout(patience)
      .emitWithAck(event, data)
      .catch(() => {
        throw lostIt;
      });
    if (answer?.problem) throw new Problem(answer.problem, answer.detail, answer.hint);
    return answer;
  };
  const close = () => {
    closed = true;
    socket.disconnect();
  };
  return { socket, ask, close };
}

/** @typedef {ReturnType<typeof connect>} Live */
