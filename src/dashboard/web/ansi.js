// @ts-check
// What programs write for terminals, as text in colours. Whatever else a terminal would do is not done, and what can't
// be seen is shown by a sign.

import { el } from "./parts.js";

/**
 * An SGR sequence's parameters, as many as any colour has; another sequence, which only moves a cursor, sets a title or
 * begins a link; or characters that show nothing or turn the order of others around. A sequence that doesn't end is text:
 * it must not hide what follows.
 */
const special =
  // eslint-disable-next-line no-control-regex
  /\x1b\[([\d;:]{0,128})m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\`-~]|(\r+\n?|\n|[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+|\x1b)/g;

/** The styles that are on and off, by their number. @type {Record<number, [string, boolean]>} */
const switches = {
  1: ["bold", true],
  2: ["dim", true],
  3: ["italic", true],
  4: ["underline", true],
  7: ["inverse", true],
  8: ["hidden", true],
  9: ["struck", true],
  23: ["italic", false],
  24: ["underline", false],
  27: ["inverse", false],
  28: ["hidden", false],
  29: ["struck", false],
};

/** The steps of the 256 colours' cube. */
const steps = [0, 95, 135, 175, 215, 255];

/**
 * One of the 256 colours: the first 16 are the page's own, by number.
 * @param {number} number
 * @returns {number | string}
 */
function colour(number) {
  if (number < 16) return number;
  if (number < 232) {
    const at = number - 16;
    return `rgb(${steps[Math.floor(at / 36)]} ${steps[Math.floor(at / 6) % 6]} ${steps[at % 6]})`;
  }
  const grey = 8 + 10 * (number - 232);
  return `rgb(${grey} ${grey} ${grey})`;
}

class Style {
  constructor() {
    /** @type {Set<string>} */
    this.on = new Set();
    /** @type {number | string | null} */
    this.fore = null;
    /** @type {number | string | null} */
    this.back = null;
  }

  /**
   * Parameters stand apart by `;`. One with parts of its own, by `:`, is one (ITU-T T.416), such as a colour with a space
   * that it is of, or how a line is drawn.
   * @param {string} parameters
   */
  apply(parameters) {
    /** @type {number[]} */
    const numbers = [];
    for (const parameter of parameters.split(";")) {
      const [number, ...parts] = parameter.split(":").map(Number);
      if ((number === 38 || number === 48) && parts.length)
        numbers.push(number, parts[0], ...(parts[0] === 2 ? parts.slice(-3) : [parts[1]]));
      else numbers.push(number === 4 && parts[0] === 0 ? 24 : number);
    }
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at];
      const set = switches[number];
      if (number === 0) Object.assign(this, new Style());
      else if (number === 22) ["bold", "dim"].forEach((name) => this.on.delete(name));
      else if (set) this.on[set[1] ? "add" : "delete"](set[0]);
      else if (number >= 30 && number <= 37) this.fore = number - 30;
      else if (number >= 90 && number <= 97) this.fore = number - 82;
      else if (number >= 40 && number <= 47) this.back = number - 40;
      else if (number >= 100 && number <= 107) this.back = number - 92;
      else if (number === 39) this.fore = null;
      else if (number === 49) this.back = null;
      else if (number === 38 || number === 48) {
        const [kind, ...rest] = numbers.slice(at + 1, at + 5);
        const byte = (/** @type {number} */ one) => Number.isInteger(one) && one >= 0 && one <= 255;
        const chosen =
          kind === 5 && byte(rest[0])
            ? colour(rest[0])
            : kind === 2 && rest.slice(0, 3).length === 3 && rest.slice(0, 3).every(byte)
              ? `rgb(${rest.slice(0, 3).join(" ")})`
              : null;
        if (number === 38) this.fore = chosen;
        else this.back = chosen;
        at += kind === 5 ? 2 : kind === 2 ? 4 : 0;
      }
    }
  }

  /** @param {string} text */
  node(text) {
    const { on, fore, back } = this;
    const isPlain = !on.size && fore === null && back === null;
    if (isPlain) return document.createTextNode(text);
    const made = el("span", { class: [...on].join(" ") }, text);
    if (typeof fore === "number") made.classList.add(`fore-${fore}`);
    else if (fore) made.style.color = fore;
    if (typeof back === "number") made.classList.add(`back-${back}`);
    else if (back) made.style.background = back;
    return made;
  }
}

/**
 * The signs for characters that can't be seen.
 * @param {string} characters
 */
function signs(characters) {
  const sign = (/** @type {string} */ character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  };
  return [...characters].map(sign).join("");
}

/**
 * A line as what is shown of it. A carriage return, as progress bars write it, begins a line of its own.
 * @param {string} text
 * @returns {Node[]}
 */
export function render(text) {
  /** @type {Node[]} */
  const nodes = [];
  const style = new Style();
  let end = text.length;
  while (text[end - 1] === "\r") end--;
  const line = text.slice(0, end);
  let plain = "";
  let from = 0;
  const put = () => {
    if (plain) nodes.push(style.node(plain));
    plain = "";
  };
  for (const found of line.matchAll(special)) {
    plain += line.slice(from, found.index);
    from = found.index + found[0].length;
    if (found[1] !== undefined) {
      put();
      style.apply(found[1]);
    } else if (found[2] && "\r\n".includes(found[2][0])) plain += "\n";
    else if (found[2] !== undefined) {
      put();
      nodes.push(el("span", { class: "sign" }, signs(found[2])));
    }
  }
  plain += line.slice(from);
  put();
  return nodes;
}
