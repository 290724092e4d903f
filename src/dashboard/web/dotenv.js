// @ts-check
// What a dotenv file holds, by the rules of `podkeeper env --help`: nothing in it is ever replaced.

/** A name, and the one line's value that begins behind its `=`. */
const NAME = /^[ \t\r]*(?:export[ \t\r]+)?([^\s=,"'\\%$]+)[ \t\r]*=/u;
/** What may stand behind a value in quotes. */
const END = /^[ \t\r]*(?:#[^\n]*)?(?:\n|$)/;
/** A value in quotes. */
const QUOTED = /^[ \t\r]*(?:"([^"\\]*(?:\\[^][^"\\]*)*)"|'([^']*)')/;
/** What `\` and the next character mean in double quotes; others stay as they are. @type {Record<string, string>} */
const ESCAPES = { n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\", $: "$" };

/**
 * The variables of a file, in its order, but for `PORT`, which the agent gives. Null: it is no such file.
 * @param {string} text
 * @returns {[string, string][] | null}
 */
export function pairs(text) {
  /** @type {[string, string][]} */
  const all = [];
  let rest = text.replace(/^\ufeff/, "");
  while (rest) {
    const line = rest.split("\n", 1)[0];
    if (/^[ \t\r]*(?:#|$)/.test(line)) {
      rest = rest.slice(line.length + 1);
      continue;
    }
    const name = NAME.exec(line);
    if (!name) return null;
    rest = rest.slice(name[0].length);
    const quoted = QUOTED.exec(rest);
    if (quoted) {
      const [whole, double, single] = quoted;
      const end = END.exec(rest.slice(whole.length));
      if (!end) return null;
      all.push([name[1], single ?? double.replace(/\\([^])/g, (kept, c) => ESCAPES[c] ?? kept)]);
      rest = rest.slice(whole.length + end[0].length);
    } else {
      const value = line.slice(name[0].length);
      if (/^[ \t\r]*["']/.test(value)) return null;
      all.push([name[1], value.replace(/[ \t\r]#[^]*$/, "").replace(/^[ \t\r]+|[ \t\r]+$/g, "")]);
      rest = rest.slice(value.length + 1);
    }
  }
  const own = all.filter(([name]) => name !== "PORT");
  return own.length ? own : null;
}
