// @ts-check
// Passkeys: what the browser does with them.

import { call, Problem } from "./api.js";

/** Whether this browser, at this address, has passkeys. */
export function available() {
  return typeof PublicKeyCredential === "function" && "parseCreationOptionsFromJSON" in PublicKeyCredential;
}

/**
 * The browser's own errors, said for a person.
 * @param {unknown} error
 * @param {string} refused
 */
function said(error, refused) {
  if (error instanceof Problem) return error;
  switch (error instanceof DOMException ? error.name : "") {
    case "InvalidStateError":
      return new Problem("known", "This device or password manager has a passkey for this host already.");
    case "NotAllowedError":
    case "AbortError":
      return new Problem("refused", refused);
    case "SecurityError":
      return new Problem("refused", "The browser has no passkeys at this address.");
    default:
      return error;
  }
}

/**
 * Makes a passkey and registers it.
 * @param {string} name
 * @param {string} [enrolment]
 */
export async function register(name, enrolment) {
  try {
    const options = await call("POST", "/credentials/fido/register/options", undefined, enrolment);
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey);
    const made = /** @type {PublicKeyCredential} */ (await navigator.credentials.create({ publicKey }));
    return await call("POST", "/credentials/fido/register", { id: made.id, key: made.toJSON(), name }, enrolment);
  } catch (error) {
    throw said(error, "No passkey was made: it was cancelled, or took too long.");
  }
}

/** Signs in with a passkey. */
export async function signIn() {
  try {
    const options = await call("POST", "/credentials/fido/login/options");
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey);
    const got = /** @type {PublicKeyCredential} */ (await navigator.credentials.get({ publicKey }));
    return await call("POST", "/credentials/fido/login", { key: got.toJSON() });
  } catch (error) {
    throw said(error, "Nobody was signed in: it was cancelled, or there is no passkey for this address here.");
  }
}
