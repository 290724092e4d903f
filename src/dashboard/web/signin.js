// @ts-check
// Who is not signed in: signs in, or registers a passkey by an enrolment link.

import { call } from "./api.js";
import * as passkeys from "./passkeys.js";
import { attempt, button, device, el, errorPlace, notice } from "./parts.js";

const noPasskeys =
  "This browser has no passkeys at this address. They take a current browser, and https or http://localhost.";

/**
 * @param {string} secret An enrolment link's.
 * @param {() => void} done Told when somebody is signed in.
 */
export function enrolPage(secret, done) {
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
    done();
  };
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(create, error, submit);
  };
  if (!passkeys.available()) error.textContent = noPasskeys;
  const element = el(
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
  );
  return { title: "Register a passkey", width: "narrow", element };
}

/** @param {() => void} done Told when somebody is signed in. */
export function signInPage(done) {
  const error = errorPlace();
  if (!passkeys.available()) error.textContent = noPasskeys;
  const token = /** @type {HTMLInputElement} */ (
    el("input", { type: "password", autocomplete: "off", required: true, placeholder: "pk_…" })
  );
  const go = /** @type {HTMLButtonElement} */ (el("button", { type: "submit" }, "Sign in with the token"));
  const withToken = async () => {
    await call("POST", "/sessions", { token: token.value.trim() });
    done();
  };
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(go, error, withToken);
  };
  const withPasskey = async () => {
    await passkeys.signIn();
    done();
  };
  const element = el(
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
    el("details", {}, el("summary", {}, "Use a token"), el("form", { onsubmit }, el("label", {}, "Token", token), go)),
  );
  return { title: "Sign in", width: "narrow", element };
}
