// @ts-check
// What is copied, and that it is.

import { Problem } from "./api.js";
import { button, el, notice } from "./parts.js";

/**
 * Without the browser's clipboard: by what copies what is marked.
 * @param {string} text
 */
function copyMarked(text) {
  const area = /** @type {HTMLTextAreaElement} */ (el("textarea", { class: "sr", readonly: true }));
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
}

/**
 * Copies a text and says so.
 * @param {string} text
 * @param {string} said
 */
export async function copy(text, said = "Copied.") {
  try {
    // At an address without https there is none.
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyMarked(text)) {
      throw new Problem("refused", "The browser lets this page copy nothing.", "Mark the text and copy it yourself.");
    }
  }
  notice(said);
}

/** What was copied elsewhere. */
export async function paste() {
  try {
    return await navigator.clipboard.readText();
  } catch {
    const keys = "Press Ctrl-Shift-V, or use the browser’s menu.";
    throw new Problem("refused", "The browser lets this page not read what you copied.", keys);
  }
}

/**
 * A button that copies a text.
 * @param {string} text
 * @param {string} what What it is, for whom the text beside it is not there.
 * @param {HTMLElement} error
 */
export function copyButton(text, what, error) {
  return button("Copy", error, () => copy(text), { class: "small", "aria-label": `Copy ${what}` });
}
