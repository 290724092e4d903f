// @ts-check
// The services: how each is, as it changes.

import { call, Problem } from "./api.js";
import { ask as question, button, el, errorPlace, moment } from "./parts.js";
// By its whole path, which tells the type checker not to read it.
import { io } from "/assets/socket.io.js";

/** The deployment states that nothing follows. */
const ended = ["live", "failed", "cancelled", "superseded"];
/** How many pages of the list are asked for at most. */
const pages = 20;
/** How long until it is tried again to connect, in ms. */
const pause = 1000;

/** @type {{element: HTMLElement, close: () => void} | null} */
let open = null;

/**
 * The section; the same one, however often it is asked for, until it is closed.
 * @param {() => void} refused Told when the session has ended.
 */
export function section(refused) {
  open ??= connect(refused);
  return open.element;
}

export function close() {
  open?.close();
  open = null;
}

/** Every service by name. */
async function all() {
  const services = new Map();
  let cursor = "";
  for (let page = 0; page < pages; page++) {
    const answer = await call("GET", `/services?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    for (const service of answer.services) services.set(service.name, service);
    cursor = answer.cursor ?? "";
    if (!cursor) break;
  }
  return services;
}

/** @param {() => void} refused */
function connect(refused) {
  const error = errorPlace();
  const list = el("ul", {});
  const link = el("p", { class: "quiet", role: "status" });
  const element = el(
    "section",
    {},
    el("div", { class: "head" }, el("h2", {}, "Services"), link),
    error,
    list,
  );
  let closed = false;
  /** What the list said. @type {Map<string, any>} */
  let services = new Map();
  /** How each is, which is newer than what the list said. @type {Map<string, any>} */
  const states = new Map();
  /** @type {Map<string, any>} */
  const deployments = new Map();

  /** @param {string} name */
  const now = (name) => {
    const service = services.get(name);
    const [listed, told] = [service.last_deployment, deployments.get(name)];
    return { ...service, ...states.get(name), last_deployment: told && told.id >= (listed?.id ?? 0) ? told : listed };
  };
  const draw = () => {
    const rows = [...services.keys()].sort().map((name) => row(now(name), error));
    list.replaceChildren(...(rows.length ? rows : [none()]));
  };
  /** @param {string} name */
  const redraw = (name) => {
    const before = document.getElementById(id(name));
    if (before) replace(before, row(now(name), error));
    else load();
  };
  let loading = false;
  let again = false;
  let failed = "";
  /** Asks for the list, once at a time; what is asked for meanwhile may have changed after it was answered. */
  const load = async () => {
    again = true;
    if (loading) return;
    loading = true;
    try {
      while (again && !closed) {
        again = false;
        services = await all();
      }
      draw();
      if (error.textContent === failed) error.textContent = "";
    } catch (problem) {
      failed = problem instanceof Error ? problem.message : String(problem);
      error.textContent = failed;
    } finally {
      loading = false;
    }
  };

  const socket = io("/status", { transports: ["websocket"] });
  socket.on("snapshot", (/** @type {any} */ snapshot) => {
    states.clear();
    deployments.clear();
    for (const state of snapshot.services) states.set(state.name, state);
    for (const deployment of snapshot.deployments) deployments.set(deployment.service, deployment);
    load();
  });
  socket.on("service", (/** @type {any} */ state) => {
    states.set(state.name, state);
    redraw(state.name);
  });
  socket.on("removed", (/** @type {any} */ gone) => {
    for (const known of [services, states, deployments]) known.delete(gone.name);
    again = loading;
    draw();
  });
  socket.on("deployment", (/** @type {any} */ deployment) => {
    if ((deployments.get(deployment.service)?.id ?? 0) > deployment.id) return;
    deployments.set(deployment.service, deployment);
    redraw(deployment.service);
  });
  socket.on("connect", () => (link.textContent = ""));
  const end = () => {
    closed = true;
    clearInterval(clock);
    socket.disconnect();
  };
  /** Who was told no goes on where it is not the session that has ended. */
  const ask = async () => {
    if (closed) return;
    try {
      await call("GET", "/credentials/session");
      socket.connect();
    } catch (problem) {
      if (problem instanceof Problem && problem.code === "not-signed-in") {
        close();
        refused();
      } else setTimeout(ask, pause);
    }
  };
  const lost = () => {
    if (closed) return;
    link.textContent = "Connecting again…";
    // What can't be reached is tried again by itself.
    if (!socket.active) setTimeout(ask, pause);
  };
  socket.on("disconnect", lost);
  socket.on("connect_error", lost);
  // “Just now” doesn't stay true.
  const clock = setInterval(() => [...services.keys()].forEach(redraw), 60_000);
  return { element, close: end };
}

/** @param {string} name */
const id = (name) => `service-${name}`;

/**
 * Puts a row in another's place; what is unfolded stays so, and a focused button keeps the focus.
 * @param {HTMLElement} before
 * @param {HTMLElement} after
 */
function replace(before, after) {
  const unfolded = before.querySelector("details")?.open;
  const focused = before.contains(document.activeElement) && document.activeElement?.textContent;
  before.replaceWith(after);
  const details = after.querySelector("details");
  if (details) details.open = Boolean(unfolded);
  if (focused) [...after.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
}

function none() {
  const command = el("code", {}, "sudo podkeeper create NAME");
  const text = el("div", { class: "quiet" }, "None yet. ", command, " on the host makes one and says where to push.");
  return el("li", {}, text);
}

/**
 * @param {any} service
 * @param {HTMLElement} error
 */
function row(service, error) {
  const { name, state, url, last_deployment: deployment } = service;
  const path = `/services/${name}`;
  const busy = Boolean(deployment) && !ended.includes(deployment.state);
  const deploy = async () => {
    await call("POST", `${path}/start`);
  };
  const stop = async () => {
    const text = "It answers nobody until it is deployed again, over reboots, too.";
    if ((await question({ title: `Stop “${name}”?`, text, action: "Stop", bad: true })) === null) return;
    await call("POST", `${path}/stop`);
  };
  const title = el("strong", {}, state === "running" ? el("a", { href: url }, name) : name);
  return el(
    "li",
    { id: id(name) },
    el("div", {}, title, el("span", { class: `state ${state}` }, state), about(service, busy), failure(deployment)),
    el(
      "div",
      { class: "buttons" },
      button("Deploy", error, deploy),
      state !== "stopped" && state !== "created" && button("Stop", error, stop, { class: "bad" }),
    ),
  );
}

/**
 * What runs, and what is on its way.
 * @param {any} service
 * @param {boolean} busy
 */
function about(service, busy) {
  const { release, commit, since, last_deployment: deployment } = service;
  const parts = [];
  if (release) parts.push(`Release ${release}`, commit ? ` of ${commit.slice(0, 10)}` : "", since ? ", started " : "");
  if (release && since) parts.push(moment(since));
  if (release) parts.push(". ");
  if (busy) parts.push(`Deployment ${deployment.id}: ${deployment.state}…`);
  else if (!release && !deployment) parts.push("Nothing was pushed yet.");
  return el("div", { class: "quiet" }, ...parts);
}

/** @param {any} deployment */
function failure(deployment) {
  if (deployment?.state !== "failed") return null;
  const why = `Deployment ${deployment.id} failed: ${deployment.problem?.detail ?? "no reason was given"}`;
  if (!deployment.tail) return el("div", { class: "failed" }, why);
  return el("details", { class: "failed" }, el("summary", {}, why), el("pre", { tabindex: "0" }, deployment.tail));
}
