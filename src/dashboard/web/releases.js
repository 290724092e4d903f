// @ts-check
// The releases that a service keeps, and the question which one it shall go back to.

import { call, Problem } from "./api.js";
import { ago, ask } from "./parts.js";

/** How each cause of a release is said. @type {Record<string, string>} */
const causes = {
  push: "pushed",
  hook: "pushed at the forge",
  start: "deployed",
  restart: "restarted",
  env: "variables changed",
  rollback: "rolled back",
};

/** @param {string} service */
const all = (service) => call("GET", `/services/${encodeURIComponent(service)}/releases`);

/**
 * Those beside the one with the traffic, newest first.
 * @param {any} answer
 * @returns {any[]}
 */
const others = ({ releases, current }) => releases.filter((/** @type {any} */ one) => one.release !== current);

/**
 * Whether there is one to go back to.
 * @param {string} service
 */
export async function canGoBack(service) {
  return others(await all(service)).length > 0;
}

/**
 * A release as one of a list, shortly, and what more is to be said of it.
 * @param {any} release
 * @returns {[string, string, string]}
 */
function option({ release, commit, cause, created, from_release: from }) {
  const how = from ? `${causes[cause] ?? cause}, with the image of release ${from}` : (causes[cause] ?? cause);
  const of = commit ? `Commit ${commit.slice(0, 10)}, ${how}, ` : `${how}, `;
  const text = `${of}${new Date(created).toLocaleString()}.`;
  return [String(release), `Release ${release}, ${ago(created)}`, text];
}

/**
 * Asks which release shall be live again, the one before being proposed, and lets it.
 * @param {string} service
 */
export async function rollBack(service) {
  const answer = await all(service);
  const choices = others(answer);
  // The last one may have gone since the button was drawn.
  if (!choices.length) throw new Problem("release-gone", `“${service}” keeps no other release.`);
  const release = await ask({
    title: `Roll “${service}” back?`,
    text: "It goes live again as it was, with its environment and its settings, and without a build.",
    choice: {
      label: "Which release",
      options: choices.map(option),
      value: String(answer.before ?? choices[0].release),
    },
    action: (chosen) => `Roll back to release ${chosen}`,
  });
  if (release !== null) await call("POST", `/services/${encodeURIComponent(service)}/rollback`, { release });
}
