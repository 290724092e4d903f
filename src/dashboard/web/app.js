// @ts-check
// The dashboard: which page is shown, and the pages.

import { call, Problem } from "./api.js";
import * as passkeys from "./passkeys.js";
import * as services from "./services.js";
import { ask, attempt, button, device, el, errorPlace, moment, notice } from "./parts.js";

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const who = /** @type {HTMLElement} */ (document.getElementById("who"));

/**
 * @param {boolean} narrow
 * @param {...HTMLElement} parts
 */
function show(narrow, ...parts) {
  main.className = narrow ? "narrow" : "";
  if (narrow) services.close();
  main.replaceChildren(...parts);
  if (narrow) who.replaceChildren();
  /** @type {HTMLElement} */ (main.querySelector("[autofocus]") ?? main).focus();
}

const noPasskeys =
  "This browser has no passkeys at this address. They take a current browser, and https or http://localhost.";

/** @param {string} secret */
function enrolPage(secret) {
  const error = errorPlace();
  const name = /** @type {HTMLInputElement} */ (
    el("input", { value: device(navigator.userAgent), maxlength: "64", required: true })
  );
  const create = /** @type {HTMLButtonElement} */ (
    el("button", { type: "submit", class: "main", autofocus: true }, "Create a passkey")
  );
  const submit = async () => {
    await passkeys.register(name.value.trim(), secret);
    notice("The passkey is registered, and you are signed in.");
    await start();
  };
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(create, error, submit);
  };
  if (!passkeys.available()) error.textContent = noPasskeys;
  show(
    true,
    el(
      "section",
      {},
      el("h1", {}, "Register a passkey"),
      el(
        "p",
        { class: "quiet" },
        "It signs you in from now on, with your fingerprint, face or PIN. There is no password.",
      ),
      error,
      el("form", { onsubmit }, el("label", {}, "What do you call it?", name), create),
    ),
  );
}

/** @param {string} [why] */
function signInPage(why = "") {
  const error = errorPlace();
  error.textContent = why || (passkeys.available() ? "" : noPasskeys);
  const token = /** @type {HTMLInputElement} */ (
    el("input", { type: "password", autocomplete: "off", required: true, placeholder: "pk_…" })
  );
  const go = /** @type {HTMLButtonElement} */ (el("button", { type: "submit" }, "Sign in with the token"));
  const withToken = async () => {
    await call("POST", "/sessions", { token: token.value.trim() });
    await start();
  };
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(go, error, withToken);
  };
  const withPasskey = async () => {
    await passkeys.signIn();
    await start();
  };
  show(
    true,
    el(
      "section",
      {},
      el("h1", {}, "Sign in"),
      el(
        "p",
        { class: "quiet" },
        "No passkey yet, or lost? ",
        el("code", {}, "sudo podkeeper enroll"),
        " on the host makes a link for one.",
      ),
      error,
      button("Sign in with a passkey", error, withPasskey, { class: "main", autofocus: true }),
      el(
        "details",
        {},
        el("summary", {}, "Use a token"),
        el("form", { onsubmit }, el("label", {}, "Token", token), go),
      ),
    ),
  );
}

/** @param {any} session */
async function accountPage(session) {
  const [credentials, sessions] = await Promise.all([call("GET", "/credentials"), call("GET", "/sessions")]);
  const signOut = async () => {
    await call("POST", "/credentials/logout");
    signInPage();
  };
  const error = errorPlace();
  who.replaceChildren(el("span", { class: "quiet" }, session.actor), button("Sign out", error, signOut));
  show(false, error, services.section(start), passkeySection(credentials.passkeys, error), sessionSection(sessions.sessions, error));
}

/**
 * @param {any[]} all
 * @param {HTMLElement} error
 */
function passkeySection(all, error) {
  const add = async () => {
    const name = await ask({
      title: "What do you call the new passkey?",
      value: device(navigator.userAgent),
      action: "Go on",
    });
    if (!name) return;
    await passkeys.register(name);
    notice("The passkey is registered.");
    await start();
  };
  /** @param {any} passkey */
  const row = (passkey) => {
    const path = `/credentials/fido/${passkey.id}`;
    const rename = async () => {
      const name = await ask({ title: "Rename the passkey", value: passkey.name, action: "Rename" });
      if (!name) return;
      await call("PATCH", path, { name });
      await start();
    };
    const remove = async () => {
      const text = "It signs nobody in any more, and its sessions end.";
      if ((await ask({ title: `Remove “${passkey.name}”?`, text, action: "Remove", bad: true })) === null) return;
      await call("DELETE", path);
      notice("The passkey is removed.");
      await start();
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
 */
function sessionSection(all, error) {
  /** @param {any} session */
  const row = (session) => {
    const end = async () => {
      await call("DELETE", `/sessions/${session.id}`);
      notice("The session has ended.");
      await start();
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
    await start();
  };
  const others = all.some((session) => !session.current) && button("End all others", error, endOthers);
  return el(
    "section",
    {},
    el("div", { class: "head" }, el("h2", {}, "Sessions"), others),
    el("ul", {}, ...all.map(row)),
  );
}

/** Shows what fits: who is signed in sees the account, everybody else signs in. */
async function start() {
  try {
    await accountPage(await call("GET", "/credentials/session"));
  } catch (error) {
    if (error instanceof Problem && error.code === "not-signed-in") signInPage();
    else signInPage(error instanceof Error ? error.message : String(error));
  }
}

/** Takes an enrolment link's secret out of the address, so that it doesn't stay in the history. */
function open() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("enroll");
  if (secret) {
    history.replaceState(null, "", "/");
    enrolPage(secret);
  } else {
    start();
  }
}

window.addEventListener("hashchange", open);
open();
