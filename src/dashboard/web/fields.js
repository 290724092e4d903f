// @ts-check
// Forms: fields with what they take, and what is wrong with one beside it.

import { Problem } from "./api.js";
import { attempt, el, errorPlace } from "./parts.js";

/**
 * A field of a form.
 * @typedef {object} Field
 * @property {HTMLElement} element
 * @property {(value: any) => void} show
 * @property {() => any} read What it says; null: the default. A problem where it can't be read.
 * @property {(text: string) => void} wrong Tells what is wrong with it; nothing, with an empty text.
 * @property {() => void} focus
 */

/**
 * @typedef {object} About
 * @property {string} id
 * @property {string} label
 * @property {string} [hint] What it takes and what it does.
 * @property {string} [unit]
 * @property {string} [empty] What it is without a value.
 */

/**
 * @param {About} about
 * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} input
 * @param {Pick<Field, "show" | "read">} value
 */
function field(about, input, value) {
  const { id, label, unit } = about;
  const error = errorPlace();
  error.id = `${id}-error`;
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  const isBox = input.type === "checkbox";
  const name = el("label", { for: id }, label);
  const place = isBox ? [el("div", { class: "box" }, input, name)] : [name, unit ? withUnit(input, unit) : input];
  const said = el("p", { class: "quiet hint", id: `${id}-hint` }, about.hint ?? "");
  /** @param {string} text */
  const hint = (text) => (said.textContent = text);
  return {
    ...value,
    hint,
    element: el("div", { class: "field" }, ...place, error, said),
    wrong: (/** @type {string} */ text) => {
      error.textContent = text;
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
    focus: () => input.focus(),
  };
}

/**
 * @param {HTMLElement} input
 * @param {string} unit
 */
function withUnit(input, unit) {
  return el("div", { class: "unit" }, input, el("span", { class: "quiet" }, unit));
}

/**
 * @param {About} about
 * @returns {Field}
 */
export function textField(about) {
  const input = /** @type {HTMLInputElement} */ (
    el("input", { placeholder: about.empty, autocapitalize: "off", autocomplete: "off", spellcheck: "false" })
  );
  return field(about, input, {
    show: (value) => (input.value = value ?? ""),
    read: () => input.value.trim() || null,
  });
}

/**
 * @param {About} about
 * @returns {Field}
 */
export function numberField(about) {
  const input = /** @type {HTMLInputElement} */ (
    el("input", { inputmode: "numeric", placeholder: about.empty, autocomplete: "off", class: "number" })
  );
  return field(about, input, {
    show: (value) => (input.value = value ?? ""),
    read: () => {
      const text = input.value.trim();
      // What a browser's own number field can't read it gives as nothing, which would be the default.
      if (text && !/^\d{1,15}$/.test(text)) throw new Problem("invalid-setting", "It takes a whole number.");
      return text ? Number(text) : null;
    },
  });
}

/**
 * A number or one word.
 * @param {About} about
 * @param {string} word
 * @returns {Field}
 */
export function numberOrWordField(about, word) {
  const number = textField(about);
  return {
    ...number,
    read: () => {
      const text = number.read();
      if (text && text !== word && !/^\d{1,15}$/.test(text))
        throw new Problem("invalid-setting", `It takes a whole number or the word ${word}.`);
      return text && text !== word ? Number(text) : text;
    },
  };
}

/**
 * Yes or no.
 * @param {About} about
 * @returns {Field}
 */
export function boxField(about) {
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox" }));
  return field(about, input, {
    show: (value) => (input.checked = Boolean(value)),
    read: () => input.checked,
  });
}

/**
 * One of several, with what more is to be said of it. An option without a value is the default.
 * @param {About} about
 * @param {[string, string, string][]} options
 * @returns {Field}
 */
export function selectField(about, options) {
  const input = /** @type {HTMLSelectElement} */ (
    el("select", {}, ...options.map(([value, text]) => el("option", { value }, text)))
  );
  const made = field(about, input, {
    show: (value) => {
      input.value = value ?? "";
      draw();
    },
    read: () => input.value || null,
  });
  const draw = () => made.hint(options.find(([value]) => value === input.value)?.[2] ?? "");
  input.addEventListener("change", draw);
  return made;
}

/**
 * A list, one a line.
 * @param {About} about
 * @param {(value: any) => string[]} lines
 * @param {(lines: string[]) => any} value
 * @returns {Field}
 */
export function listField(about, lines, value) {
  const input = /** @type {HTMLTextAreaElement} */ (
    el("textarea", { rows: "2", placeholder: about.empty, autocapitalize: "off", spellcheck: "false" })
  );
  return field(about, input, {
    show: (shown) => {
      const all = lines(shown);
      input.value = all.join("\n");
      input.rows = Math.min(Math.max(all.length + 1, 2), 10);
    },
    read: () =>
      value(
        input.value
          .split("\n")
          .map((line) => line.trim())
          .filter(Boolean),
      ),
  });
}

/**
 * A form whose button does `work`; while that goes on it isn't done again.
 * @param {{action: string, error: HTMLElement, work: () => Promise<void>}} what
 * @param {...(Node | null | false)} children
 */
export function form({ action, error, work }, ...children) {
  const go = /** @type {HTMLButtonElement} */ (el("button", { type: "submit", class: "main" }, action));
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(go, error, work);
  };
  return el("form", { onsubmit, novalidate: true }, ...children, error, el("div", { class: "buttons" }, go));
}
