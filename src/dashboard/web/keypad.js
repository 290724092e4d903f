// @ts-check
// The keys that a phone doesn't have.

import { el } from "./parts.js";

/** What each shows, types, and is called. @type {[string, string, string][]} */
const keys = [
  ["Esc", "\x1b", "Escape"],
  ["Tab", "\t", "Tab"],
  ["↑", "\x1b[A", "Up"],
  ["↓", "\x1b[B", "Down"],
  ["←", "\x1b[D", "Left"],
  ["→", "\x1b[C", "Right"],
];

/**
 * @param {import("/assets/xterm.js").Terminal} terminal
 * @param {(text: string) => void} type
 */
export function keypad(terminal, type) {
  let held = false;
  /** @param {boolean} on */
  const hold = (on) => {
    held = on;
    control.setAttribute("aria-pressed", String(on));
    terminal.focus();
  };
  const control = el("button", { type: "button", "aria-pressed": "false", onclick: () => hold(!held) }, "Ctrl");
  const buttons = keys.map(([label, text, name]) => {
    const press = () => {
      // Programs that draw the whole screen may want the arrows in another way.
      type(terminal.modes.applicationCursorKeysMode ? text.replace("[", "O") : text);
      terminal.focus();
    };
    return el("button", { type: "button", "aria-label": name, onclick: press }, label);
  });
  return {
    element: el("div", { class: "buttons keys", role: "toolbar", "aria-label": "Keys" }, control, ...buttons),
    /**
     * What is typed with Ctrl, where that is held: a letter, or what lies beside the letters.
     * @param {string} text
     */
    held: (text) => {
      if (!held) return text;
      hold(false);
      const code = text.toUpperCase().charCodeAt(0);
      return text.length === 1 && code >= 0x40 && code < 0x60 ? String.fromCharCode(code - 0x40) : text;
    },
  };
}
