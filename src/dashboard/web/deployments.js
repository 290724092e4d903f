// @ts-check
// Deployments: how each goes or went, why one failed, and its log.

import { call, may } from "./api.js";
import { download, fileName, ofDeployment } from "./download.js";
import { logView } from "./logs.js";
import { ask, button, el, errorPlace, moment } from "./parts.js";

/** The states that nothing follows. */
const final = ["live", "failed", "cancelled", "superseded"];
/** How many are shown, and how many more at a time. */
const page = 10;
/** How many are shown at most. */
const most = 200;

/** @param {any} deployment */
export function hasEnded(deployment) {
  return final.includes(deployment.state);
}

/** @param {any} deployment */
function reason({ problem }) {
  return `${problem?.detail ?? "No reason was given."}${problem?.hint ? ` ${problem.hint}` : ""}`;
}

/** @param {any} deployment */
export function failure(deployment) {
  if (deployment?.state !== "failed") return null;
  const { id, problem, tail } = deployment;
  if (!tail) return el("div", { class: "failed" }, `Deployment ${id} failed: ${reason(deployment)}`);
  const why = `Deployment ${id} failed: ${problem?.detail ?? "no reason was given"}`;
  return el("details", { class: "failed" }, el("summary", {}, why), el("pre", { tabindex: "0" }, tail));
}

/** @param {number} ms */
function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** How each cause is said. @type {Record<string, string>} */
const causes = {
  push: "Pushed",
  hook: "Pushed at the forge",
  start: "Deployed",
  restart: "Restarted",
  env: "Variables changed",
  rollback: "Rolled back",
};

/**
 * What one that is queued waits for.
 * @param {any} waits
 */
function waiting(waits) {
  return waits.type === "deployment"
    ? `, waits for deployment ${waits.deployment}`
    : `, waits for another build to end: builds.parallel is ${waits.parallel}`;
}

/** @param {any} deployment */
function about(deployment) {
  const { cause, actor, commit, release, from_release: from, steps, state, waits_for: waits } = deployment;
  const times = Object.values(steps).sort();
  const parts = [`${causes[cause] ?? cause} by ${actor} `, moment(times[0])];
  if (commit) parts.push(", commit ", el("code", { title: commit }, commit.slice(0, 10)));
  // The release of one that came to nothing is gone.
  if (release && !["failed", "cancelled"].includes(state)) parts.push(`, release ${release}`);
  if (waits) parts.push(waiting(waits));
  if (from) parts.push(`, the image of release ${from}`);
  if (state === "live") parts.push(`, in ${duration(Date.parse(times.at(-1) ?? "") - Date.parse(times[0]))}`);
  return el("div", { class: "quiet" }, ...parts, ".");
}

/**
 * One of them. Its log is opened by hand; that of one which is under way is there at once.
 * @param {any} deployment
 * @param {any} session
 * @param {import("./streams.js").Streams} streams
 * @param {HTMLElement} error
 */
function row(deployment, session, streams, error) {
  const { id, service } = deployment;
  const head = el("div", {});
  const buttons = el("div", { class: "buttons" });
  const file = download(`Saves the log of deployment ${id} in a file`, () => ({
    name: fileName([service, "deployment", id]),
    read: ofDeployment(streams, id),
  }));
  const below = el("div", { class: "below" }, ...file.told, file.button);
  /** @type {ReturnType<typeof logView> | null} */
  let log = null;
  const toggled = () => {
    if (details.open && !log) {
      log = logView(streams, { deployment: id, label: `Log of deployment ${id}` });
      details.append(log.element, below);
    } else if (!details.open) {
      file.close();
      log?.close();
      log?.element.remove();
      log = null;
    }
  };
  // Who goes from one to the next by keys hears whose it is.
  const summary = el("summary", { "aria-label": `Log of deployment ${id}` }, "Log");
  const details = /** @type {HTMLDetailsElement} */ (
    el("details", { class: "story", ontoggle: toggled }, summary)
  );
  const cancel = async () => {
    const text = "What ran before goes on.";
    if ((await ask({ title: `Cancel deployment ${id}?`, text, action: "Cancel it", bad: true })) === null) return;
    await call("DELETE", `/deployments/${id}`);
  };
  /** @param {any} now */
  const update = (now) => {
    const ended = hasEnded(now);
    const state = el("span", { class: `state ${ended ? now.state : "busy"}` }, ended ? now.state : `${now.state}…`);
    const why = now.state === "failed" ? [el("div", { class: "failed" }, `It failed: ${reason(now)}`)] : [];
    head.replaceChildren(el("strong", {}, `Deployment ${id}`), state, about(now), ...why);
    if (ended || !may(session, "deploy")) buttons.replaceChildren();
    else if (!buttons.firstChild) buttons.append(button("Cancel", error, cancel));
    // The log of one that goes on is not whole yet.
    below.hidden = !ended;
  };
  update(deployment);
  details.open = !hasEnded(deployment);
  const close = () => {
    file.close();
    log?.close();
  };
  return { element: el("li", { id: `deployment-${id}` }, head, buttons, details), update, close };
}

/**
 * A service's last deployments.
 * @param {string} service
 * @param {any} session
 * @param {import("./streams.js").Streams} streams
 * @param {(releases: number[]) => void} told Told the releases that they made, newest first.
 */
export function deploymentsSection(service, session, streams, told) {
  const error = errorPlace();
  const list = el("ul", {});
  /** @type {Map<number, ReturnType<typeof row>>} */
  const rows = new Map();
  /** @type {Set<number>} */
  const releases = new Set();
  let cursor = "";
  const more = button("Older deployments", error, () => load(cursor), { hidden: true });
  const element = el("section", {}, el("div", { class: "head" }, el("h2", {}, "Deployments")), error, list, more);

  /** @param {any} deployment */
  const put = (deployment) => {
    const known = rows.get(deployment.id);
    if (known) known.update(deployment);
    else {
      const made = row(deployment, session, streams, error);
      rows.set(deployment.id, made);
      const below = [...rows.keys()].filter((id) => id < deployment.id).sort((one, other) => other - one)[0];
      if (rows.size === 1) list.replaceChildren();
      list.insertBefore(made.element, rows.get(below)?.element ?? null);
    }
    if (deployment.state === "live" && deployment.release) releases.add(deployment.release);
    if (rows.size > most) {
      const oldest = Math.min(...rows.keys());
      rows.get(oldest)?.close();
      rows.get(oldest)?.element.remove();
      rows.delete(oldest);
      cursor = String(Math.min(...rows.keys()));
    }
  };
  const load = async (from = "") => {
    const wanted = `limit=${page}${from && `&cursor=${encodeURIComponent(from)}`}`;
    const answer = await call("GET", `/services/${encodeURIComponent(service)}/deployments?${wanted}`);
    answer.deployments.forEach(put);
    if (from || !cursor) cursor = answer.cursor ?? "";
    more.hidden = !cursor || rows.size >= most;
    if (!rows.size) list.replaceChildren(el("li", {}, el("div", { class: "quiet" }, "None yet.")));
    tell();
  };
  const tell = () => told([...releases].sort((one, other) => other - one));
  return {
    element,
    /** Asks for the newest; those that are shown stay. */
    load: async () => {
      try {
        await load();
        error.textContent = "";
      } catch (problem) {
        error.textContent = problem instanceof Error ? problem.message : String(problem);
      }
    },
    /** @param {any} deployment */
    put: (deployment) => {
      put(deployment);
      tell();
    },
    close: () => rows.forEach((one) => one.close()),
  };
}
