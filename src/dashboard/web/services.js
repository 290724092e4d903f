// @ts-check
// The services: how each is, as it changes.

import { actions } from "./actions.js";
import { call, may } from "./api.js";
import { failure, hasEnded } from "./deployments.js";
import { connect } from "./live.js";
import { el, errorPlace, moment, replace } from "./parts.js";

/** How many pages of the list are asked for at most. */
const pages = 20;

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

/**
 * @param {any} session
 * @param {() => void} refused Told when the session has ended.
 */
export function section(session, refused) {
  const error = errorPlace();
  const list = el("ul", {});
  const link = el("p", { class: "quiet", role: "status" });
  const isMaker = may(session, "admin");
  const make = isMaker && el("a", { class: "button", href: "#new" }, "New service");
  const element = el("section", {}, el("div", { class: "head" }, el("h2", {}, "Services"), link, make), error, list);
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
    const rows = [...services.keys()].sort().map((name) => row(now(name), session, error));
    list.replaceChildren(...(rows.length ? rows : [none(isMaker)]));
  };
  /** @param {string} name */
  const redraw = (name) => {
    const before = document.getElementById(id(name));
    if (before) replace(before, row(now(name), session, error));
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

  const { socket, close } = connect("/status", link, refused);
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
  // “Just now” doesn't stay true.
  const clock = setInterval(() => [...services.keys()].forEach(redraw), 60_000);
  const end = () => {
    closed = true;
    clearInterval(clock);
    close();
  };
  return { element, close: end };
}

/** @param {string} name */
const id = (name) => `service-${name}`;

/** @param {boolean} isMaker Whether the session may make one. */
function none(isMaker) {
  const command = el("code", {}, "sudo podkeeper create NAME");
  const how = isMaker
    ? ["Make one here, or with ", command, " on the host. It says where to push."]
    : [command, " on the host makes one."];
  return el("li", {}, el("div", { class: "quiet" }, "None yet. ", ...how));
}

/**
 * @param {any} service
 * @param {any} session
 * @param {HTMLElement} error
 */
function row(service, session, error) {
  const { name, state, url, last_deployment: deployment } = service;
  const title = el("strong", {}, el("a", { href: `#services/${name}` }, name));
  const words = about(service);
  if (state === "running" && url) words.append(el("a", { href: url }, url.replace(/^https?:\/\/|\/$/g, "")));
  return el(
    "li",
    { id: id(name) },
    el("div", {}, title, el("span", { class: `state ${state}` }, state), words, failure(deployment)),
    el("div", { class: "buttons" }, ...actions(session, service, error, "few")),
  );
}

/**
 * What runs, and what is on its way.
 * @param {any} service
 */
export function about({ release, commit, since, last_deployment: deployment }) {
  const parts = [];
  if (release) parts.push(`Release ${release}`, commit ? ` of ${commit.slice(0, 10)}` : "", since ? ", started " : "");
  if (release && since) parts.push(moment(since));
  if (release) parts.push(". ");
  if (deployment && !hasEnded(deployment)) parts.push(`Deployment ${deployment.id}: ${deployment.state}…`);
  else if (!release && !deployment) parts.push("Nothing was pushed yet.");
  return el("div", { class: "quiet" }, ...parts);
}
