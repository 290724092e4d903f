// @ts-check
// A terminal's page: a session, from its present screen on.

import { may, Problem } from "./api.js";
import { copy, paste } from "./clipboard.js";
import { keyboard } from "./keyboard.js";
import { keypad } from "./keypad.js";
import { ask, button, el, errorPlace } from "./parts.js";
import { load } from "./screen.js";
import { watch } from "./watch.js";

/** How long the window's size must stay until the session is given it, in ms. */
const settled = 100;

/**
 * The letter that leaves a terminal, with Ctrl and Shift: the terminal takes Tab and nearly every other key, so without
 * it nobody could leave by keys. No program lacks it, for a terminal has no code for Ctrl-Shift and a letter; it looks
 * like Ctrl-Shift-C and -V, which are at hand here; and M is what editors in pages that take Tab are left by. Others
 * don't do: Esc, Tab, Shift-Tab and F6 are keys of editors, menus and file managers, Ctrl-Tab is the browser's alone,
 * and Ctrl-Shift-L or -X are password managers'. Chromium opens its profiles by this one, but asks the page first.
 */
const wayOut = "m";

/**
 * The letter of a key, as the keyboard's layout has it; where that has other letters, as one with Latin ones has it.
 * @param {KeyboardEvent} event
 */
function letter({ key, code }) {
  return (/^[a-z]$/i.test(key) ? key : code.replace(/^Key/, "")).toLowerCase();
}

/**
 * What a session is called.
 * @param {{name?: string | null, service?: string | null}} session
 */
export function called({ name, service }) {
  return name ?? (service ? `Shell in ${service}` : "Isolated shell");
}

/**
 * Where another one is begun.
 * @param {{name?: string | null, service?: string | null}} session
 */
export function another({ name, service }) {
  const wanted = new URLSearchParams();
  if (service) wanted.set("service", service);
  if (name) wanted.set("name", name);
  return `#terminals/new${wanted.size ? `?${wanted}` : ""}`;
}

/**
 * A session that is to be begun.
 * @param {any} session
 * @param {() => void} refused
 * @param {string} query
 */
export function begin(session, refused, query) {
  const wanted = new URLSearchParams(query);
  return terminalPage(session, refused, { service: wanted.get("service"), name: wanted.get("name") });
}

/**
 * A session that there is.
 * @param {any} session
 * @param {() => void} refused
 * @param {string} id
 */
export function attach(session, refused, id) {
  return terminalPage(session, refused, { id });
}

/**
 * @param {any} session
 * @param {() => void} refused
 * @param {import("./watch.js").Wanted} wanted
 */
async function terminalPage(session, refused, wanted) {
  if (!may(session, "admin")) throw new Problem("forbidden", "A terminal needs the scope `admin`.");
  const make = await load();
  const place = el("div", { class: "screen" });
  const element = el("div", { class: "terminal-page" }, place);
  let close = () => {};
  return {
    title: wanted.id ? "Terminal" : called(wanted),
    width: "full",
    element,
    // What isn't shown can't be measured.
    shown: () => (close = show(place, make(place), refused, wanted)),
    close: () => close(),
  };
}

/**
 * @param {HTMLElement} place
 * @param {ReturnType<Awaited<ReturnType<typeof load>>>} screen
 * @param {() => void} refused
 * @param {import("./watch.js").Wanted} wanted
 */
function show(place, screen, refused, wanted) {
  const { terminal } = screen;
  const link = el("p", { class: "quiet", role: "status" }, "Connecting…");
  const error = errorPlace();
  const title = el("h1", {}, wanted.id ? "Terminal" : called(wanted));
  const over = el("div", { class: "over", role: "status", hidden: true });
  let wasWatched = false;

  /** @param {unknown} problem */
  const failed = (problem) => (error.textContent = problem instanceof Error ? problem.message : String(problem));
  /** @param {any} now */
  const began = (now) => {
    wasWatched = true;
    wanted = { service: now.service, name: now.name };
    error.textContent = "";
    title.textContent = called(now);
    document.title = `${called(now)} – Podkeeper`;
    // Loaded again, the page shows this one.
    history.replaceState(null, "", `#terminals/${now.session}`);
    terminal.focus();
  };
  /** @param {Event} event */
  const again = (event) => {
    // The same address is no navigation.
    if (location.hash !== another(wanted)) return;
    event.preventDefault();
    location.reload();
  };
  /** @param {string} text */
  const ended = (text) => {
    terminal.options.disableStdin = true;
    terminal.options.cursorBlink = false;
    closing.hidden = pad.element.hidden = leaving.hidden = true;
    // There is nothing to be seen of one that was never watched.
    place.hidden = buttons.hidden = !wasWatched;
    const what = wanted.id || wasWatched ? "Begin another" : "Try again";
    const next = el("a", { class: "button", href: another(wanted), onclick: again }, what);
    const all = el("a", { class: "button", href: "#terminals" }, "All terminals");
    over.replaceChildren(el("span", {}, text), el("div", { class: "buttons" }, next, all));
    over.hidden = false;
    next.focus();
  };
  const watched = watch(wanted, screen, link, refused, { began, ended, failed });

  const typed = keyboard(watched.input, failed);
  /** @param {string} text */
  const type = (text) => {
    if (!watched.listens()) return;
    error.textContent = "";
    typed.text(pad.held(text));
  };
  const pad = keypad(terminal, type);
  terminal.onData(type);
  terminal.onBinary((binary) => watched.listens() && typed.binary(binary));

  const copyMarked = async () => {
    const isMarked = terminal.hasSelection();
    if (!isMarked) terminal.selectAll();
    await copy(terminal.getSelection(), isMarked ? "Copied." : "All of it is copied, since nothing was marked.");
    terminal.clearSelection();
    terminal.focus();
  };
  const pasteAll = async () => {
    // Its own keys paste, too, where this may not.
    terminal.focus();
    terminal.paste(await paste());
  };
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.key === "Tab") {
      // A phone may have a keyboard, too.
      leaving.classList.add("wanted");
      // One that has ended takes nothing that is typed.
      return !terminal.options.disableStdin;
    }
    if (!event.ctrlKey || event.altKey || event.metaKey) return true;
    const pressed = letter(event);
    if (pressed === wayOut && event.shiftKey && !leaving.hidden) {
      event.preventDefault();
      // From there on Tab goes over the page.
      if (event.type === "keydown") buttons.querySelector("button")?.focus();
      return false;
    }
    // As in other terminals; and Ctrl-C, where something is marked.
    if (pressed !== "c" || !(event.shiftKey || terminal.hasSelection())) return true;
    event.preventDefault();
    if (event.type === "keydown" && terminal.hasSelection()) copyMarked().catch(failed);
    return false;
  });
  const end = async () => {
    const text = "Its programs end, and what they show is gone.";
    if ((await ask({ title: `Close “${title.textContent}”?`, text, action: "Close it", bad: true })) === null) return;
    await watched.end();
  };
  const closing = button("Close", error, end, { class: "bad" });
  const copying = { title: "Copies what is marked (Ctrl-Shift-C), or all that there is" };
  const buttons = el(
    "div",
    { class: "buttons" },
    button("Copy", error, copyMarked, copying),
    // At an address without https no page reads the clipboard; the browser's own keys and menu do.
    Boolean(navigator.clipboard) && button("Paste", error, pasteAll, { title: "Ctrl-Shift-V" }),
    closing,
  );
  const back = el("a", { class: "quiet back", href: "#terminals" }, "← Terminals");
  place.before(el("div", { class: "head" }, el("div", {}, back, title), link, buttons), error);
  const keys = el("kbd", {}, `Ctrl-Shift-${wayOut.toUpperCase()}`);
  const leaving = el("p", { class: "quiet leaving", id: "leaving" }, keys, " takes the focus out of the terminal");
  terminal.textarea?.setAttribute("aria-describedby", leaving.id);
  place.after(leaving, pad.element, over);

  let timer = 0;
  const sizes = new ResizeObserver(() => {
    clearTimeout(timer);
    timer = window.setTimeout(watched.resize, settled);
  });
  sizes.observe(place);
  return () => {
    clearTimeout(timer);
    sizes.disconnect();
    typed.clear();
    watched.close();
    screen.close();
  };
}
