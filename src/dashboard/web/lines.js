// @ts-check
// A window on a log: the lines between two places of it, as many as a browser holds well.

import { render } from "./ansi.js";
import { el } from "./parts.js";

/** How many lines are shown at most. */
export const most = 5000;
/** How many characters they have together, at most. */
const mostText = 4_000_000;
/** As many characters a piece of another colour is as heavy as. */
const piece = 50;
/** How much of one line is shown. */
const longest = 10_000;

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/**
 * Who wrote a line.
 * @param {any} entry
 */
function source(entry) {
  if (entry.build) return `build of deployment ${entry.build}`;
  return entry.release ? `release ${entry.release}` : "";
}

/** @param {number} priority */
function gravity(priority) {
  return priority <= 3 ? "error" : priority === 4 ? "warning" : priority === 7 ? "debug" : "";
}

/**
 * A line, and what it takes to join it to others.
 * @typedef {{element: HTMLElement, cursor: string, day: string, source: string, size: number}} Line
 */

/**
 * @param {any} entry
 * @returns {Line}
 */
function line(entry) {
  const time = new Date(entry.time);
  const wrote = source(entry);
  const grave = gravity(entry.priority);
  const rest = entry.message.length - longest;
  const text = rest > 0 ? entry.message.slice(0, longest) : entry.message;
  const shown = render(text);
  const title = [exact.format(time), wrote, grave && `${grave} (priority ${entry.priority})`]
    .filter(Boolean)
    .join(", ");
  const element = el(
    "div",
    { class: grave ? `line line-${grave}` : "line" },
    el("time", { datetime: entry.time, title }, clock.format(time)),
    el(
      "div",
      { class: "text" },
      // Not the colour alone tells them apart.
      grave && el("span", { class: "sr" }, `${grave}: `),
      ...shown,
      rest > 0 && el("span", { class: "sign" }, ` … and ${rest.toLocaleString()} more characters`),
      Boolean(entry.bytes) &&
        el("span", { class: "sign", title: "Not all of it is UTF-8: what isn't is replaced" }, " binary"),
    ),
  );
  const size = text.length + piece * shown.length;
  return { element, cursor: entry.cursor, day: day.format(time), source: wrote, size };
}

/**
 * Says in a line what it doesn't share with the one before: the day, and who wrote it.
 * @param {Line} one
 * @param {Line | undefined} before
 */
function join(one, before) {
  one.element.querySelector(".from")?.remove();
  if (before?.day === one.day) delete one.element.dataset.day;
  else one.element.dataset.day = one.day;
  if (one.source && before?.source !== one.source) {
    one.element.querySelector(".text")?.prepend(el("span", { class: "from" }, one.source), " ");
  }
}

/** The lines that are shown, in `element`. */
export class Lines {
  constructor() {
    this.element = el("div", { class: "lines" });
    /** @type {Line[]} */
    this.all = [];
    this.text = 0;
  }

  /** The place behind which newer lines are. */
  get last() {
    return this.all.at(-1)?.cursor;
  }

  /** The place before which older lines are. */
  get first() {
    return this.all.at(0)?.cursor;
  }

  /** Whether no more fit without others going. */
  get isFull() {
    return this.all.length > most || this.text > mostText;
  }

  clear() {
    this.all = [];
    this.text = 0;
    this.element.replaceChildren();
  }

  /**
   * Lines that follow.
   * @param {any[]} entries
   */
  append(entries) {
    const added = entries.map(line);
    for (const one of added) {
      join(one, this.all.at(-1));
      this.all.push(one);
      this.text += one.size;
    }
    this.element.append(...added.map((one) => one.element));
  }

  /**
   * Lines that are before.
   * @param {any[]} entries
   */
  prepend(entries) {
    const added = entries.map(line);
    added.forEach((one, at) => join(one, added[at - 1]));
    if (this.all.length && added.length) join(this.all[0], added.at(-1));
    this.all.unshift(...added);
    this.text += added.reduce((sum, one) => sum + one.size, 0);
    this.element.prepend(...added.map((one) => one.element));
  }

  /**
   * Lets go of what is too much, at one end; whether there was any.
   * @param {"oldest" | "newest"} end
   */
  trim(end) {
    let count = 0;
    let text = this.text;
    while (this.all.length - count > most || (text > mostText && this.all.length - count > 1)) {
      text -= this.all[end === "oldest" ? count : this.all.length - 1 - count].size;
      count++;
    }
    if (!count) return false;
    const gone = end === "oldest" ? this.all.splice(0, count) : this.all.splice(-count);
    gone.forEach((one) => one.element.remove());
    this.text = text;
    // Its day was told by a line that is gone.
    if (end === "oldest" && this.all.length) join(this.all[0], undefined);
    return true;
  }
}
