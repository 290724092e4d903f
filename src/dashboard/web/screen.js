// @ts-check
// A terminal's screen: xterm.js, which is loaded when one is wanted.

import { el } from "./parts.js";

/** Lines above the screen that are kept. */
const scrollback = 5000;

/**
 * xterm.js writes its rules into `style` elements and a cell's own colours into `style` attributes. The page's policy
 * takes neither, for that is what markup that somebody slipped in could do. What only a script can do it takes: so
 * while a screen is there, such an element is a constructed style sheet, and such an attribute is set as properties.
 * xterm.js would take another document to make its elements with, but makes one of them with the page's all the same.
 * @returns {() => void} Ends it.
 */
function styleByScript() {
  /** @type {CSSStyleSheet[]} */
  const sheets = [];
  const make = Document.prototype.createElement;
  const sheet = () => {
    const rules = new CSSStyleSheet();
    sheets.push(rules);
    document.adoptedStyleSheets.push(rules);
    const element = make.call(document, "span");
    element.hidden = true;
    return Object.defineProperty(element, "textContent", {
      set: (text) => {
        rules.replaceSync(text);
      },
    });
  };
  /**
   * @this {HTMLElement}
   * @param {string} name
   * @param {string} value
   */
  function setAttribute(name, value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  }
  /** @param {string} name */
  const createElement = (name) => {
    if (name === "style") return sheet();
    const element = make.call(document, name);
    return name === "span" ? Object.assign(element, { setAttribute }) : element;
  };
  Object.assign(document, { createElement });
  return () => {
    Reflect.deleteProperty(document, "createElement");
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => !sheets.includes(one));
  };
}

/** Its style sheet, once: without it nothing can be measured. @type {Promise<void> | undefined} */
let styled;

function style() {
  styled ??= new Promise((resolve, reject) => {
    const failed = () => {
      styled = undefined;
      link.remove();
      reject(new Error("The terminal's style sheet can't be loaded."));
    };
    const link = el("link", { rel: "stylesheet", href: "/assets/xterm.css", onload: () => resolve(), onerror: failed });
    document.head.append(link);
  });
  return styled;
}

/** Loads what a screen takes, and gives what makes one in an element that is shown. */
export async function load() {
  const [{ Terminal }, { FitAddon }] = await Promise.all([
    import("/assets/xterm.js"),
    import("/assets/addon-fit.js"),
    style(),
  ]);
  /** @param {HTMLElement} place */
  return (place) => {
    const end = styleByScript();
    const terminal = new Terminal({
      scrollback,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: 'ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: matchMedia("(max-width: 40rem)").matches ? 12 : 14,
      // Programs choose their colours for a dark screen.
      theme: { background: "#101317", foreground: "#e8ebef", cursor: "#a5a0ff", selectionBackground: "#4f46e580" },
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(place);
    return {
      terminal,
      /** The size that fills the place; the agent takes no other than these. */
      size: () => {
        const { cols, rows } = fit.proposeDimensions() ?? terminal;
        return { cols: Math.min(Math.max(cols, 2), 1000), rows: Math.min(Math.max(rows, 1), 500) };
      },
      close: () => {
        terminal.dispose();
        end();
      },
    };
  };
}
