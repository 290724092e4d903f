// @ts-check
// Which lines of a log are wanted.

import { el } from "./parts.js";

/** How long somebody who types may pause until it is looked for, in ms. */
const pause = 400;

/** @type {[string, string][]} */
const gravities = [
  ["", "All lines"],
  ["5", "Notices and graver"],
  ["4", "Warnings and graver"],
  ["3", "Errors and stderr"],
];

/**
 * What is typed, as the regular expression that finds it: text in capitals or not, or between slashes an expression.
 * @param {string} text
 */
export function pattern(text) {
  const expression = /^\/(.+)\/$/.exec(text);
  return expression ? expression[1] : `(?i)${text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}`;
}

/**
 * @param {(wanted: Record<string, string>) => void} changed Told `grep`, `priority` and `release`, those that are set.
 */
export function filters(changed) {
  let timer = 0;
  const wanted = () => {
    const all = { grep: text.value && pattern(text.value), priority: priority.value, release: release.value };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
  };
  const tell = () => {
    clearTimeout(timer);
    changed(wanted());
  };
  const text = /** @type {HTMLInputElement} */ (
    el("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": "Only lines with this text",
      title: "Only lines with this text, or between slashes with what a regular expression finds",
      maxlength: "500",
      oninput: () => {
        clearTimeout(timer);
        timer = window.setTimeout(tell, pause);
      },
    })
  );
  const priority = /** @type {HTMLSelectElement} */ (
    el(
      "select",
      { "aria-label": "Only lines of this priority", onchange: tell },
      ...gravities.map(([value, name]) => el("option", { value }, name)),
    )
  );
  const release = /** @type {HTMLSelectElement} */ (
    el(
      "select",
      { "aria-label": "Only lines of this release", onchange: tell },
      el("option", { value: "" }, "All releases"),
    )
  );
  return {
    element: el("div", { class: "filters", role: "search" }, text, priority, release),
    wanted,
    /** @param {number[]} numbers The releases that there are, newest first. */
    releases: (numbers) => {
      const options = [...release.options].slice(1);
      if (options.map((option) => option.value).join() === numbers.join()) return;
      const chosen = release.value;
      options.forEach((option) => option.remove());
      release.append(...numbers.map((number) => el("option", { value: number }, `Release ${number}`)));
      // One that is gone is still looked at.
      if (chosen && !numbers.includes(Number(chosen))) {
        release.append(el("option", { value: chosen }, `Release ${chosen}`));
      }
      release.value = chosen;
    },
    close: () => clearTimeout(timer),
  };
}
