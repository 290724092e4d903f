// @ts-check
// Who may sign in, and who is.

import { call } from "./api.js";
import * as passkeys from "./passkeys.js";
import { ask, button, device, el, errorPlace, moment, notice } from "./parts.js";

/** The passkeys and the sessions. */
export async function sections() {
  const error = errorPlace();
  const element = el("div", {});
  const load = async () => {
    const [credentials, sessions] = await Promise.all([call("GET", "/credentials"), call("GET", "/sessions")]);
    element.replaceChildren(
      error,
      passkeySection(credentials.passkeys, error, load),
      sessionSection(sessions.sessions, error, load),
    );
  };
  await load();
  return element;
}

/**
 * @param {any[]} all
 * @param {HTMLElement} error
 * @param {() => Promise<void>} load Shows what has changed.
 */
function passkeySection(all, error, load) {
  const add = async () => {
    const name = await ask({
      title: "What do you call the new passkey?",
      value: device(navigator.userAgent),
      action: "Go on",
    });
    if (!name) return;
    await passkeys.register(name);
    notice("The passkey is registered.");
    await load();
  };
  /** @param {any} passkey */
  const row = (passkey) => {
    const path = `/credentials/fido/${passkey.id}`;
    const rename = async () => {
      const name = await ask({ title: "Rename the passkey", value: passkey.name, action: "Rename" });
      if (!name) return;
      await call("PATCH", path, { name });
      await load();
    };
    const remove = async () => {
      const text = "It signs nobody in any more, and its sessions end.";
      if ((await ask({ title: `Remove “${passkey.name}”?`, text, action: "Remove", bad: true })) === null) return;
      await call("DELETE", path);
      notice("The passkey is removed.");
      await load();
    };
    const about = el(
      "div",
      { class: "quiet" },
      `For ${passkey.host}. Made `,
      moment(passkey.created),
      ...(passkey.last_used ? [", used ", moment(passkey.last_used), "."] : [", not used to sign in yet."]),
    );
    const name = el("strong", {}, passkey.name);
    const copied =
      passkey.backed_up && el("span", { class: "mark", title: "Copied to its owner's other devices" }, "synced");
    return el(
      "li",
      {},
      el("div", {}, name, copied, about),
      el(
        "div",
        { class: "buttons" },
        button("Rename", error, rename),
        button("Remove", error, remove, { class: "bad" }),
      ),
    );
  };
  return el(
    "section",
    {},
    el(
      "div",
      { class: "head" },
      el("div", {}, el("h2", {}, "Passkeys"), el("p", { class: "quiet" }, "Have two, on different devices.")),
      button("Add a passkey", error, add, { class: "main" }),
    ),
    el("ul", {}, ...all.map(row)),
  );
}

/**
 * @param {any[]} all
 * @param {HTMLElement} error
 * @param {() => Promise<void>} load Shows what has changed.
 */
function sessionSection(all, error, load) {
  /** @param {any} session */
  const row = (session) => {
    const end = async () => {
      await call("DELETE", `/sessions/${session.id}`);
      notice("The session has ended.");
      await load();
    };
    const about = el(
      "div",
      { class: "quiet" },
      `${session.actor}, at ${session.address || "an unknown address"}, `,
      moment(session.last_seen),
      ".",
    );
    const here = session.current && el("span", { class: "mark" }, "this one");
    return el(
      "li",
      {},
      el("div", {}, el("strong", { title: session.client }, device(session.client)), here, about),
      el("div", { class: "buttons" }, button("End", error, end, { class: "bad" })),
    );
  };
  const endOthers = async () => {
    const text = "Every browser but this one must sign in again.";
    if ((await ask({ title: "End all other sessions?", text, action: "End them", bad: true })) === null) return;
    await call("DELETE", "/sessions?others=true");
    notice("All other sessions have ended.");
    await load();
  };
  const others = all.some((session) => !session.current) && button("End all others", error, endOthers);
  return el(
    "section",
    {},
    el("div", { class: "head" }, el("h2", {}, "Sessions"), others),
    el("ul", {}, ...all.map(row)),
  );
}
