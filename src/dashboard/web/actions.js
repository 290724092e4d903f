// @ts-check
// What can be done with a service.

import { call, may } from "./api.js";
import { ask, button } from "./parts.js";
import { rollBack } from "./releases.js";

/** The states in which nothing of a service runs or is about to. */
export const still = ["stopped", "never-deployed"];

/**
 * @param {{name: string, state: string, release?: number | null, others?: boolean}} service `others`: it can go back.
 * @param {HTMLElement} error
 */
function all({ name, state, release, others }, error) {
  const path = `/services/${encodeURIComponent(name)}`;
  /** @param {Parameters<typeof ask>[0]} question */
  const agreed = async (question) => (await ask(question)) !== null;
  const deploy = async () => {
    await call("POST", `${path}/start`);
  };
  const restart = async () => {
    await call("POST", `${path}/restart`, { quick: true });
  };
  const stop = async () => {
    const text = "It answers nobody until it is deployed again, over reboots, too.";
    if (await agreed({ title: `Stop “${name}”?`, text, action: "Stop", bad: true })) await call("POST", `${path}/stop`);
  };
  const runs = !still.includes(state);
  const said = { deploy: "Builds the newest commit and starts it", restart: "Starts it anew, without a build" };
  return {
    deploy: button("Deploy", error, deploy, { title: said.deploy }),
    restart: runs && Boolean(release) && button("Restart", error, restart, { title: said.restart }),
    rollBack: Boolean(others) && button("Roll back", error, () => rollBack(name)),
    stop: runs && button("Stop", error, stop, { class: "bad" }),
  };
}

/**
 * The buttons that are often wanted, or all of them; those that the session may press.
 * @param {any} session
 * @param {any} service
 * @param {HTMLElement} error
 * @param {"few" | "all"} which
 */
export function actions(session, service, error, which) {
  if (!may(session, "deploy")) return [];
  const { deploy, restart, rollBack, stop } = all(service, error);
  return which === "few" ? [deploy, stop] : [deploy, restart, rollBack, stop];
}
