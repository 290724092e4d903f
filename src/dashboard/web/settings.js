// @ts-check
// A service's settings: what it may use, how it is reached, its variables, and its end.

import { still } from "./actions.js";
import { call, may, Problem } from "./api.js";
import { fromNextBuildOn } from "./build-settings.js";
import { boxField, form, listField, numberField, numberOrWordField, selectField, textField } from "./fields.js";
import { connect } from "./live.js";
import { ask, button, el, errorPlace, notice } from "./parts.js";
import { removed } from "./service.js";
import { variables } from "./variables.js";

/** @typedef {import("./fields.js").Field} Field */

/** @param {string[]} lines */
function volumes(lines) {
  const pairs = lines.map((line) => line.split(/\s+/));
  const wrong = pairs.find((pair) => pair.length !== 2);
  if (wrong) throw new Problem("invalid-setting", `“${wrong.join(" ")}” is not a name, a space and a path.`);
  const names = pairs.map(([name]) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice) throw new Problem("invalid-setting", `“${twice}” is there twice.`);
  return Object.fromEntries(pairs);
}

/**
 * What is used at once.
 * @param {any} service
 * @returns {Record<string, Field>}
 */
function atOnce({ url, source }) {
  const deploys = source.type === "external" ? "What the forge’s hook announces of it" : "What is pushed to it";
  return {
    domains: listField(
      {
        id: "domains",
        label: "Domains",
        hint: `One a line, beside its own address, ${url ?? "which it has none of"}. Each must lead to this host.`,
        empty: "www.example.org",
      },
      (all) => all,
      (lines) => lines,
    ),
    branch: textField({
      id: "branch",
      label: "Branch",
      hint: `${deploys} is deployed. What it holds already is with the next “Deploy”.`,
    }),
    keep: numberField({
      id: "keep",
      label: "Releases kept",
      hint: "1 to 100, for going back to. Those that are too many are removed at once, with their images.",
      empty: "the host’s default",
    }),
    skip_marks: boxField({
      id: "skip_marks",
      label: "Skip marked commits",
      hint: "What is pushed with “[skip ci]” or the like in its newest message is kept, and not built.",
    }),
  };
}

/**
 * The merge patch (RFC 7396) from one value to another: a map has what is another in it, and null for what is gone.
 * @param {any} before
 * @param {any} after
 */
function patch(before, after) {
  const isMap = (/** @type {any} */ value) => value !== null && typeof value === "object" && !Array.isArray(value);
  if (!isMap(before) || !isMap(after)) return after;
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  const others = Object.entries(after).filter(([key, value]) => value !== before[key]);
  return Object.fromEntries([...gone.map((key) => [key, null]), ...others]);
}

/** What the next release has. @returns {Record<string, Field>} */
function fromNextOn() {
  return {
    container_port: numberOrWordField(
      {
        id: "container_port",
        label: "Port",
        hint:
          "On which its program listens in the container. It finds it in $PORT, too. " +
          "The word none: on none. The service has no address then, and a release is live when it goes on.",
        empty: "its image’s first EXPOSE, or 8080",
      },
      "none",
    ),
    health_path: textField({
      id: "health_path",
      label: "Health path",
      hint:
        "It must answer with a status of 2xx or 3xx before a release gets the traffic. " +
        "Without one its image’s HEALTHCHECK decides, or else any answer.",
      empty: "/healthz",
    }),
    health_timeout: numberField({
      id: "health_timeout",
      label: "Time to become healthy",
      unit: "seconds",
      hint: "1 to 600. A release that takes longer fails, and the one before goes on.",
      empty: "the host’s default",
    }),
    health_interval: numberField({
      id: "health_interval",
      label: "Time between health checks",
      unit: "seconds",
      hint: "5 to 3600, of its image’s HEALTHCHECK once a release is live.",
      empty: "as its image says, or 30",
    }),
    tcp: boxField({
      id: "tcp",
      label: "It speaks no HTTP",
      hint: "A release is ready as soon as its port takes connections.",
    }),
    memory_mib: numberField({
      id: "memory_mib",
      label: "Memory limit",
      unit: "MiB",
      hint: "At least 16. What takes more is ended, and started again.",
      empty: "no limit",
    }),
    cpu_percent: numberField({
      id: "cpu_percent",
      label: "CPU limit",
      unit: "% of one core",
      hint: "200 is two cores.",
      empty: "no limit",
    }),
    strategy: selectField({ id: "strategy", label: "How a release takes the place of the one before" }, [
      ["", "As its image needs it", "Beside it, but for databases, of which two must never have the same volume."],
      ["rolling", "Beside it", "It gets the traffic when it is healthy; nobody waits."],
      ["recreate", "When that has stopped", "Nobody answers meanwhile. What ran before is started again where the new one fails."],
    ]),
    stop_timeout: numberField({
      id: "stop_timeout",
      label: "Time to stop",
      unit: "seconds",
      hint: "1 to 300. What takes longer is killed.",
      empty: "10",
    }),
    stop_signal: selectField({ id: "stop_signal", label: "Signal that asks it to stop" }, [
      ["", "Its image’s, or SIGTERM", ""],
      .../** @type {[string, string, string][]} */ (
        "SIGTERM SIGINT SIGQUIT SIGHUP SIGUSR1 SIGUSR2 SIGWINCH SIGKILL SIGRTMIN+3".split(" ").map((name) => [name, name, ""])
      ),
    ]),
    volumes: listField(
      {
        id: "volumes",
        label: "Volumes",
        hint:
          "One a line: a name, a space and the path in the container. What lies there outlives each release. " +
          "What is taken off this list keeps what it holds.",
        empty: "data /var/lib/data",
      },
      (all) => Object.entries(all).map(([name, path]) => `${name} ${path}`),
      volumes,
    ),
  };
}

/**
 * The field that a problem is about.
 * @param {Record<string, Field>} fields
 * @param {Problem} problem
 */
function about(fields, { code, message }) {
  const named = /^`(\w+)`/.exec(message)?.[1];
  if (named && fields[named]) return fields[named];
  // Only a domain can be somebody else's, and only a branch has a name.
  return { conflict: fields.domains, "invalid-name": fields.branch }[code];
}

/**
 * @param {any} service
 * @param {(deployment: any) => Node[]} follow What is said of a deployment that was begun.
 */
function settingsForm(service, follow) {
  const now = atOnce(service);
  const next = fromNextOn();
  const build = fromNextBuildOn();
  const fields = { ...now, ...next, ...build };
  const error = errorPlace();
  const said = el("p", { role: "status" });
  let shown = { ...service.settings, branch: service.branch };
  const show = () => Object.entries(fields).forEach(([key, one]) => one.show(shown[key]));

  const path = `/services/${encodeURIComponent(service.name)}`;
  /** What is not as it was: what others change meanwhile stays as they want it. */
  const changes = () => {
    /** @type {Record<string, any>} */
    const changed = {};
    for (const [key, one] of Object.entries(fields)) {
      one.wrong("");
      const value = beside(one, one.read);
      if (JSON.stringify(value) !== JSON.stringify(shown[key])) changed[key] = patch(shown[key], value);
    }
    return changed;
  };
  const save = async () => {
    said.replaceChildren();
    const changed = changes();
    if (!Object.keys(changed).length) {
      notice("Nothing was changed.");
      return;
    }
    let answer;
    try {
      answer = await call("PATCH", path, changed);
    } catch (problem) {
      const wrong = problem instanceof Problem && about(fields, problem);
      if (!wrong) throw problem;
      tell(wrong, /** @type {Problem} */ (problem));
      return;
    }
    shown = { ...answer.settings, branch: answer.branch };
    show();
    notice("Saved.");
    const waits = Object.keys(changed).filter((key) => key in next);
    if (waits.length && answer.release && !still.includes(answer.state)) {
      const restart = async () => {
        said.replaceChildren(...follow(await call("POST", `${path}/restart`, { quick: true })));
      };
      said.replaceChildren(
        "The release that runs goes on as it was made; the next one has what you changed. ",
        button("Restart now", error, restart),
      );
    }
  };
  show();
  return form(
    { action: "Save the settings", error, work: async () => quietly(save) },
    el("fieldset", {}, el("legend", {}, "Used at once"), ...Object.values(now).map((one) => one.element)),
    el("fieldset", {}, el("legend", {}, "From the next release on"), ...Object.values(next).map((one) => one.element)),
    el("fieldset", {}, el("legend", {}, "From the next build on"), ...Object.values(build).map((one) => one.element)),
    said,
  );
}

/** It is told beside its field. */
class Told extends Error {}

/**
 * @param {Field} field
 * @param {Problem} problem
 */
function tell(field, problem) {
  // The field says which it is.
  field.wrong(problem.message.replace(/^`\w+`: /, "").replace(/^`\w+` (must|takes)/, "It $1"));
  field.focus();
}

/**
 * @template T
 * @param {Field} field
 * @param {() => T} read
 */
function beside(field, read) {
  try {
    return read();
  } catch (problem) {
    tell(field, /** @type {Problem} */ (problem));
    throw new Told();
  }
}

/** @param {() => Promise<void>} work */
async function quietly(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Told)) throw error;
  }
}

/** @param {any} service */
function removal({ name, source }) {
  const error = errorPlace();
  const code =
    source.type === "external"
      ? "Its releases and its addresses go; the repository that its code is in stays as it is."
      : "Its repository, its releases and its addresses go.";
  const remove = async () => {
    const volumes = await ask({
      title: `Remove “${name}”?`,
      text: `${code} There is no way back.`,
      choice: {
        label: "Its volumes",
        options: [
          ["false", "Keep its volumes and what they hold"],
          ["true", "Remove its volumes and what they hold, too"],
        ],
        value: "false",
      },
      action: "Remove it",
      bad: true,
    });
    if (volumes === null) return;
    await call("DELETE", `/services/${encodeURIComponent(name)}?volumes=${volumes}`);
    notice(`“${name}” is removed.`);
    location.hash = "";
  };
  return el(
    "section",
    {},
    el("div", { class: "head" }, el("h2", {}, "Removal"), button("Remove it", error, remove, { class: "bad" })),
    error,
  );
}

/**
 * @param {any} session
 * @param {() => void} refused Told when the session has ended.
 * @param {string} name
 */
export async function page(session, refused, name) {
  if (!may(session, "admin")) throw new Problem("forbidden", "Settings need the scope `admin`.");
  const path = `/services/${encodeURIComponent(name)}`;
  const service = await call("GET", path);
  // A value that is lost keeps nobody from the settings, nor from setting it again.
  const env = await call("GET", `${path}/env`).catch((problem) => ({ env: {}, image: {}, problem }));
  const back = `#services/${name}`;
  /** @param {any} deployment */
  const follow = ({ id }) => [
    document.createTextNode(`Deployment ${id} makes a release with it. `),
    el("a", { href: back }, `How ${name} is`),
  ];
  const link = el("p", { class: "quiet", role: "status" });
  const live = connect("/status", link, refused);
  const element = el(
    "div",
    {},
    el(
      "section",
      {},
      el("a", { class: "quiet back", href: back }, `← ${name}`),
      el("h1", {}, `Settings of ${name}`),
      link,
      settingsForm(service, follow),
    ),
    variables(service, env, follow),
    removal(service),
  );
  live.socket.on("removed", (gone) => {
    if (gone.name !== name) return;
    live.close();
    element.replaceChildren(removed(name));
  });
  return { title: `Settings of ${name}`, element, close: live.close };
}
