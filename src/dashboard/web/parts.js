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
 * While it goes on the button keeps the focus, and gets it back from a dialog: one that is `disabled` would lose it.
 * @param {HTMLButtonElement} pressed
 * @param {HTMLElement} place
 * @param {() => Promise<void>} work
 */
export async function attempt(pressed, place, work) {
  if (pressed.hasAttribute("aria-disabled")) return;
  pressed.setAttribute("aria-disabled", "true");
  const part = pressed.closest("[id]")?.id;
  place.textContent = "";
  try {
    await work();
  } catch (error) {
    place.textContent = error instanceof Error ? error.message : String(error);
  } finally {
    pressed.removeAttribute("aria-disabled");
    // A dialog gives the focus back to nothing where the button was replaced meanwhile.
    if (part && !pressed.isConnected && document.activeElement === document.body) {
      const all = document.getElementById(part)?.querySelectorAll("button") ?? [];
      [...all].find((one) => one.textContent === pressed.textContent)?.focus();
    }
  }
}

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {string} [text]
 * @property {string} [value] What there is to type begins with this.
 * @property {{label: string, options: [string, string, string?][], value: string}} [choice] What there is to choose
 *   from, each with its text and what more is to be said of it.
 * @property {string | ((answer: string) => string)} action What is done then, by what is typed or chosen.
 * @property {boolean} [bad]
 */

/**
 * The field of a question; none: it takes a yes or a no.
 * @param {Question} question
 */
function answerField({ title, value, choice }) {
  if (choice) {
    const options = choice.options.map(([value, text]) => el("option", { value }, text));
    const list = /** @type {HTMLSelectElement} */ (el("select", { "aria-label": choice.label }, ...options));
    list.value = choice.value;
    return list;
  }
  if (value === undefined) return null;
  const text = el("input", { "aria-label": title, value, maxlength: "64", required: true });
  return /** @type {HTMLInputElement} */ (text);
}

/**
 * Asks in a dialog. Null: the person has thought better of it. Without `value` and `choice` there is nothing to say.
 * @param {Question} question
 * @returns {Promise<string | null>}
 */
export function ask(question) {
  const { title, text, action, bad } = question;
  const field = answerField(question);
  const cancel = el("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const go = el("button", { type: "submit", class: bad ? "bad" : "main" });
  const more = el("p", { class: "quiet", role: "status" });
  const drawAnswer = () => {
    go.textContent = typeof action === "string" ? action : action(field?.value ?? "");
    more.textContent = question.choice?.options.find(([value]) => value === field?.value)?.[2] ?? "";
  };
  drawAnswer();
  field?.addEventListener("change", drawAnswer);
  const form = el("form", { method: "dialog" }, more, el("div", { class: "buttons" }, cancel, go));
  if (field) form.prepend(el("p", {}, field));
  const heading = el("h2", { id: "question" }, title);
  const dialog = /** @type {HTMLDialogElement} */ (
    el("dialog", { "aria-labelledby": "question" }, heading, text ? el("p", { class: "quiet" }, text) : null, form)
  );
  return new Promise((resolve) => {
    /** @type {string | null} */
    let answer = null;
    form.addEventListener("submit", () => (answer = field?.value.trim() ?? ""));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    if (field instanceof HTMLInputElement) field.select();
  });
}

/**
 * Puts an element in another's place; what is unfolded stays so, and a focused button or link keeps the focus.
 * @param {HTMLElement} before
 * @param {HTMLElement} after
 */
export function replace(before, after) {
  const unfolded = before.querySelector("details")?.open;
  const focused = before.contains(document.activeElement) && document.activeElement?.textContent;
  before.replaceWith(after);
  const details = after.querySelector("details");
  if (details) details.open = Boolean(unfolded);
  const all = /** @type {NodeListOf<HTMLElement>} */ (after.querySelectorAll("button, a, summary"));
  if (focused) [...all].find((one) => one.textContent === focused)?.focus();
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
 * A moment, as people say it.
 * @param {string} text
 */
export function ago(text) {
  const seconds = (Date.parse(text) - Date.now()) / 1000;
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const units = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ];
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 60];
  return unit === "second" ? "just now" : relative.format(Math.round(seconds / length), unit);
}

/**
 * The same as an element; the exact one on pointing at it.
 * @param {string} text
 */
export function moment(text) {
  return el("time", { datetime: text, title: new Date(text).toLocaleString() }, ago(text));
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
