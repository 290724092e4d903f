// @ts-check
// A service's page: how it is, what it logs, and its deployments.

import { actions } from "./actions.js";
import { call, may } from "./api.js";
import { copyButton } from "./clipboard.js";
import { deploymentsSection, hasEnded } from "./deployments.js";
import { download, fileName, ofService } from "./download.js";
import { filters } from "./filters.js";
import { connect } from "./live.js";
import { logView } from "./logs.js";
import { el, errorPlace, replace } from "./parts.js";
import { canGoBack } from "./releases.js";
import { about } from "./services.js";
import { streams } from "./streams.js";
import { another } from "./terminal.js";

/**
 * @param {any} session
 * @param {() => void} refused Told when the session has ended.
 * @param {string} name
 */
export async function page(session, refused, name) {
  const path = `/services/${encodeURIComponent(name)}`;
  let [service, others] = await Promise.all([call("GET", path), canGoBack(name)]);
  /** How it is, which is newer than what was asked for. @type {any} */
  let state = {};
  let closed = false;

  const error = errorPlace();
  const link = el("p", { class: "quiet", role: "status" });
  const figures = el("p", { class: "quiet figures" });
  let head = el("div", {});
  const log = logSection(name, refused);
  const list = deploymentsSection(name, session, log.all, log.releases);

  let drawn = "";
  const draw = () => {
    const now = { ...service, ...state, others };
    // What is replaced while somebody presses it is not pressed.
    if (JSON.stringify(now) === drawn) return;
    drawn = JSON.stringify(now);
    const next = heading(now, session, error);
    replace(head, next);
    head = next;
  };
  const load = async () => {
    try {
      [service, others] = await Promise.all([call("GET", path), canGoBack(name)]);
      error.textContent = "";
      if (!closed) draw();
    } catch (problem) {
      error.textContent = problem instanceof Error ? problem.message : String(problem);
    }
  };
  const live = connect("/status", link, refused);
  live.socket.on("connect", () => live.ask("stats", { on: true }).catch(() => {}));
  live.socket.on("snapshot", (snapshot) => {
    state = snapshot.services.find((/** @type {any} */ one) => one.name === name) ?? {};
    load();
    list.load();
  });
  live.socket.on("service", (now) => {
    if (now.name !== name) return;
    state = now;
    draw();
  });
  live.socket.on("deployment", (deployment) => {
    if (deployment.service !== name) return;
    service.last_deployment = deployment;
    draw();
    // It made a release, and another may go for it.
    if (hasEnded(deployment)) load();
    list.put(deployment);
  });
  live.socket.on("stats", ({ services }) => (figures.textContent = said(services[name])));
  live.socket.on("removed", (gone) => {
    if (gone.name !== name) return;
    close();
    element.replaceChildren(removed(name));
  });
  // “Just now” doesn't stay true.
  const clock = setInterval(() => {
    drawn = "";
    draw();
  }, 60_000);
  const close = () => {
    closed = true;
    clearInterval(clock);
    live.close();
    list.close();
    log.close();
  };

  const element = el("div", {}, el("section", {}, head, figures, link, error), log.element, list.element);
  draw();
  return { title: name, width: "wide", element, close };
}

/**
 * What is shown of a service that is gone.
 * @param {string} name
 */
export function removed(name) {
  const text = el("p", {}, "This service was removed. ");
  return el("section", {}, el("h1", {}, name), text, el("a", { href: "#" }, "All services"));
}

/**
 * @param {any} service
 * @param {any} session
 * @param {HTMLElement} error
 */
function heading(service, session, error) {
  const { name, state, url, source, push_url: push, release } = service;
  const runs = state === "running";
  const where = runs && url ? el("a", { href: url }, url) : el("span", { class: "quiet" }, url ?? "no address");
  const code = push ? ["Push to ", el("code", {}, push)] : ["Its code is in ", el("code", {}, source.uri)];
  const end = release ? "." : " to deploy it. Any user name will do, with a token as the password.";
  const shell =
    runs && may(session, "admin") && el("a", { class: "button", href: another({ service: name }) }, "Terminal");
  const settings =
    may(session, "admin") && el("a", { class: "button", href: `#services/${name}/settings` }, "Settings");
  return el(
    "div",
    {},
    el("a", { class: "quiet back", href: "#" }, "← Services"),
    el(
      "div",
      { class: "head" },
      el("h1", {}, name, el("span", { class: `state ${state}` }, state)),
      el("div", { class: "buttons" }, shell, settings, ...actions(session, service, error, "all")),
    ),
    el("p", { class: "where" }, where),
    about(service),
    health(service),
    el("div", { class: "quiet" }, ...code, push ? end : ".", push && copyButton(push, "the address", error)),
  );
}

/** @param {any} service */
function health({ state, health, restarts, recent_restarts: lately }) {
  const parts = [];
  if (health && state === "running")
    parts.push(health === "healthy" ? "Its health check passes." : "Its health check fails.");
  if (state === "restarting" && lately) parts.push(`It was started again ${lately} times within ten minutes.`);
  else if (restarts)
    parts.push(`It ended by itself and was started again ${restarts === 1 ? "once" : `${restarts} times`}.`);
  if (!parts.length) return null;
  return el("div", { class: health === "unhealthy" ? "failed" : "quiet" }, parts.join(" "));
}

/**
 * What it uses.
 * @param {any} figures
 */
function said(figures) {
  const parts = [];
  if (typeof figures?.cpu_percent === "number") parts.push(`${figures.cpu_percent.toFixed(1)} % of a core`);
  if (typeof figures?.memory_bytes === "number")
    parts.push(`${(figures.memory_bytes / 2 ** 20).toFixed(1)} MiB of memory`);
  if (figures?.pids) parts.push(`${figures.pids} ${figures.pids === 1 ? "process" : "processes"}`);
  return parts.length ? `It uses ${parts.join(", ")}.` : "";
}

/**
 * @param {string} name
 * @param {() => void} refused
 */
function logSection(name, refused) {
  const link = el("p", { class: "quiet", role: "status" });
  const all = streams(link, refused);
  const view = logView(all, { service: name, label: `Log of ${name}` });
  const wanted = filters(view.filter);
  const file = download("Saves the lines that the filters leave in a file", () => {
    const filters = wanted.wanted();
    const { release, priority, grep } = filters;
    const parts = [release && `release-${release}`, priority && `priority-${priority}`, grep && "matching"];
    return { name: fileName([name, ...parts.filter(Boolean)], new Date()), read: ofService(name, filters) };
  });
  const head = el("div", { class: "head" }, el("h2", {}, "Logs"), link, file.button, wanted.element);
  return {
    element: el("section", {}, head, ...file.told, view.element),
    all,
    releases: wanted.releases,
    close: () => {
      wanted.close();
      file.close();
      view.close();
      all.close();
    },
  };
}
