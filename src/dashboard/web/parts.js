// @ts-check
// The parts that the pages are made of. Text only ever becomes text: no page is built from markup in a string.

/**
 * An element with its attributes, handlers (`onclick`) and children.
 * @param {string} name
 * @param {Record<string, any>} attributes
 * @param {...(Node | string | null | false)} children
 * @returns {HTMLElement}
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/** Where an error is told; screen readers read it out. */
export function errorPlace() {
  return el("p", { class: "error", role: "alert" });
}

/**
 * A button that can't be pressed again while its work goes on. What fails is told in `place`.
 * @param {string} text
 * @param {HTMLElement} place
 * @param {() => Promise<void>} work
 * @param {Record<string, any>} [attributes]
 */
export function button(text, place, work, attributes = {}) {
  const made = /** @type {HTMLButtonElement} */ (el("button", { type: "button", ...attributes }, text));
  made.addEventListener("click", () => attempt(made, place, work));
  return made;
}

/**
 * @param {HTMLButtonElement} pressed
 * @param {HTMLElement} place
 * @param {() => Promise<void>} work
 */
export async function attempt(pressed, place, work) {
  pressed.disabled = true;
  place.textContent = "";
  try {
    await work();
  } catch (error) {
    place.textContent = error instanceof Error ? error.message : String(error);
  } finally {
    pressed.disabled = false;
  }
}

/**
 * Asks in a dialog. Null: the person has thought better of it. Without `value` there is nothing to type.
 * @param {{title: string, text?: string, value?: string, action: string, bad?: boolean}} question
 * @returns {Promise<string | null>}
 */
export function ask({ title, text, value, action, bad }) {
  const field =
    value === undefined ? null : el("input", { "aria-label": title, value, maxlength: "64", required: true });
  const cancel = el("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const go = el("button", { type: "submit", class: bad ? "bad" : "main" }, action);
  const form = el("form", { method: "dialog" }, el("div", { class: "buttons" }, cancel, go));
  if (field) form.prepend(el("p", {}, field));
  const heading = el("h2", { id: "question" }, title);
  const dialog = /** @type {HTMLDialogElement} */ (
    el("dialog", { "aria-labelledby": "question" }, heading, text ? el("p", { class: "quiet" }, text) : null, form)
  );
  return new Promise((resolve) => {
    /** @type {string | null} */
    let answer = null;
    form.addEventListener("submit", () => (answer = field ? /** @type {HTMLInputElement} */ (field).value.trim() : ""));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    if (field) /** @type {HTMLInputElement} */ (field).select();
  });
}

let noticeEnds = 0;

/**
 * Says for a moment what was done.
 * @param {string} text
 */
export function notice(text) {
  const place = /** @type {HTMLElement} */ (document.getElementById("notice"));
  place.textContent = text;
  clearTimeout(noticeEnds);
  noticeEnds = window.setTimeout(() => (place.textContent = ""), 4000);
}

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/**
 * A moment, as people say it; the exact one on pointing at it.
 * @param {string} text
 */
export function moment(text) {
  const date = new Date(text);
  const seconds = (date.getTime() - Date.now()) / 1000;
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const units = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ];
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 60];
  const words = unit === "second" ? "just now" : relative.format(Math.round(seconds / length), unit);
  return el("time", { datetime: text, title: date.toLocaleString() }, words);
}

/**
 * A browser's own description, said shortly.
 * @param {string} client
 */
export function device(client) {
  /** @param {[RegExp, string][]} known */
  const first = (known) => known.find(([pattern]) => pattern.test(client))?.[1];
  const browser = first([
    [/Edg/, "Edge"],
    [/OPR/, "Opera"],
    [/Firefox/, "Firefox"],
    [/Chrome/, "Chrome"],
    [/Safari/, "Safari"],
  ]);
  const system = first([
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Windows/, "Windows"],
    [/Mac OS/, "macOS"],
    [/CrOS/, "ChromeOS"],
    [/Linux/, "Linux"],
  ]);
  return browser && system ? `${browser} on ${system}` : (browser ?? (client || "an unnamed program"));
}
