// @ts-check
// The dashboard: which page is shown, by the address.

import * as account from "./account.js";
import { call, may, Problem } from "./api.js";
import * as create from "./create.js";
import { button, el, errorPlace } from "./parts.js";
import * as service from "./service.js";
import * as services from "./services.js";
import * as settings from "./settings.js";
import { enrolPage, signInPage } from "./signin.js";
import * as terminal from "./terminal.js";
import * as terminals from "./terminals.js";

/**
 * A page.
 * @typedef {object} Page
 * @property {string} title
 * @property {string} [width] A class of `main`.
 * @property {HTMLElement} element
 * @property {() => void} [shown] Told once it is there to be measured.
 * @property {() => void} [close] Ends what it has going on.
 */

/**
 * What makes a page, from the session, what to call when that has ended, and the address's own parts.
 * @typedef {(session: any, refused: () => void, ...parts: string[]) => Page | Promise<Page>} Route
 */

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const who = /** @type {HTMLElement} */ (document.getElementById("who"));

/** The pages, by what stands behind the `#`. @type {[RegExp, Route][]} */
const routes = [
  [/^$/, home],
  [/^new$/, create.page],
  [/^services\/([^/]+)$/, service.page],
  [/^services\/([^/]+)\/settings$/, settings.page],
  [/^terminals$/, terminals.page],
  [/^terminals\/new(?:\?(.*))?$/, terminal.begin],
  [/^terminals\/([^/]+)$/, terminal.attach],
];

/** The problems that pass by themselves. */
const passing = ["unreachable", "restarting", "busy", "rate-limited"];
/** How long until it is looked whether one has passed, in ms. */
const pause = 2000;

/** The page that is shown. @type {Page | null} */
let shown = null;
/** How many pages were asked for: only the last one is shown. */
let asked = 0;

/** @param {Page} page */
function show(page) {
  shown?.close?.();
  shown = page;
  document.title = page.title ? `${page.title} – Podkeeper` : "Podkeeper";
  main.className = page.width ?? "";
  main.replaceChildren(page.element);
  scrollTo(0, 0);
  /** @type {HTMLElement} */ (main.querySelector("[autofocus]") ?? main).focus({ preventScroll: true });
  page.shown?.();
}

/**
 * @param {any} session
 * @param {() => void} refused
 */
async function home(session, refused) {
  // A session of one service can't look at the list.
  if (session.service) return service.page(session, refused, session.service);
  const list = services.section(session, refused);
  const element = el("div", {}, list.element);
  if (may(session, "admin")) element.append(await account.sections());
  return { title: "", element, close: list.close };
}

/**
 * What is shown instead of a page. Where it may pass it is tried again, until somebody goes elsewhere.
 * @param {unknown} error
 * @returns {Page}
 */
function failed(error) {
  const place = errorPlace();
  place.textContent = error instanceof Error ? error.message : String(error);
  const again = async () => open();
  const code = error instanceof Problem ? error.code : "";
  const isUnknown = code === "not-found";
  const title = isUnknown ? "Not found" : "This can’t be shown";
  const next = isUnknown ? el("a", { href: "#" }, "All services") : button("Try again", place, again);
  const element = el("section", {}, el("h1", {}, title), place, next);
  if (!passing.includes(code)) return { title, element };
  element.append(el("p", { class: "quiet" }, "It is tried again by itself."));
  let timer = 0;
  const look = async () => {
    const is = await call("GET", "/credentials/session").catch((problem) => problem);
    if (!element.isConnected) return;
    if (is instanceof Problem && passing.includes(is.code)) timer = window.setTimeout(look, pause);
    else await open();
  };
  return { title, element, shown: () => (timer = window.setTimeout(look, pause)), close: () => clearTimeout(timer) };
}

/** @param {any} session */
function header(session) {
  const error = errorPlace();
  const signOut = async () => {
    await call("POST", "/credentials/logout");
    await open();
  };
  const terminals = may(session, "admin") ? [el("a", { href: "#terminals" }, "Terminals")] : [];
  who.replaceChildren(
    error,
    ...terminals,
    el("span", { class: "quiet" }, session.actor),
    button("Sign out", error, signOut),
  );
}

/**
 * The page of an address.
 * @param {string} address
 * @returns {Promise<Page>}
 */
async function page(address) {
  let session;
  try {
    session = await call("GET", "/credentials/session");
  } catch (error) {
    who.replaceChildren();
    return error instanceof Problem && error.code === "not-signed-in" ? signInPage(open) : failed(error);
  }
  header(session);
  try {
    for (const [pattern, make] of routes) {
      const parts = pattern.exec(address);
      if (parts) return await make(session, open, ...parts.slice(1).map((part) => decodeURIComponent(part ?? "")));
    }
    throw new Problem("not-found", "Nothing is at this address.");
  } catch (error) {
    return failed(error);
  }
}

/** Shows the page of the address. */
async function open() {
  const address = location.hash.slice(1);
  const secret = new URLSearchParams(address).get("enroll");
  const mine = ++asked;
  if (secret) {
    // It doesn't stay in the history.
    history.replaceState(null, "", "/");
    who.replaceChildren();
    show(enrolPage(secret, open));
    return;
  }
  const next = await page(address);
  if (mine === asked) show(next);
  else next.close?.();
}

window.addEventListener("hashchange", open);
open();
