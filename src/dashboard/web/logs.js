// @ts-check
// A log as it is written: what there was, what comes, and, scrolled up to, what was before.

import { call } from "./api.js";
import { Lines, most } from "./lines.js";
import { el, errorPlace } from "./parts.js";

/** How many of the lines that were there a service's log begins with. */
const backlog = 500;
/** How many older lines are loaded at a time. */
const page = 500;
/** How near to an end is at it, in pixels. */
const near = 8;
/** How near to the top older lines are loaded. */
const ahead = 400;
/** How long nothing comes until it is said that there is nothing, in ms. */
const silence = 700;
/** How long lines are awaited until it is said that they are, in ms. */
const patience = 300;

/**
 * @typedef {object} Whose
 * @property {string} [service]
 * @property {number} [deployment] Or a deployment's: its steps and its build, from the beginning.
 * @property {string} label
 */

/**
 * A view of a log. `filter` begins it anew with other lines.
 * @param {import("./streams.js").Streams} streams
 * @param {Whose} whose
 */
export function logView(streams, { service, deployment, label }) {
  const lines = new Lines();
  const error = errorPlace();
  const above = el("div", { class: "above" });
  const empty = el("p", { class: "quiet empty", role: "status", hidden: true });
  const box = el("div", { class: "log", role: "log", "aria-live": "off", "aria-label": label, tabindex: "0" });
  box.append(above, lines.element, empty);
  const newest = el("button", { type: "button", class: "newest", hidden: true, onclick: () => toNewest() });
  const element = el("div", { class: "logs" }, error, el("div", { class: "frame" }, box, newest));

  /** @type {Record<string, string>} */
  let filters = {};
  let stop = () => {};
  /** What has come and is not shown yet: no more than the stream's window. @type {any[]} */
  let waiting = [];
  let acknowledge = () => {};
  /** Whether the reader is at the end, and stays there as lines come. */
  let pinned = true;
  /** Whether newer lines than the last one shown are left where they are, since the reader is far above them. */
  let held = false;
  /** Lines that came since the reader left the end. */
  let missed = 0;
  /** Where the box was scrolled to. */
  let top = 0;
  let frame = 0;
  let timer = 0;
  /** Whether there are lines before the first one shown. @type {"maybe" | "loading" | "no" | "elsewhere"} */
  let older = service ? "maybe" : "no";
  let turn = 0;

  const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight <= near;
  const toEnd = () => {
    box.scrollTop = box.scrollHeight;
    top = box.scrollTop;
  };

  const drawAbove = () => {
    const begins = service ? "The log begins here." : "";
    if (older === "elsewhere") {
      const whole = { href: `/deployments/${deployment}/log`, target: "_blank", rel: "noopener" };
      above.replaceChildren("The lines before are in ", el("a", whole, "the whole log"), ".");
    } else if (older === "no") above.replaceChildren(lines.first ? begins : "");
    // They are loaded as the reader comes near.
    else above.replaceChildren(lines.first ? "Loading older lines…" : "");
  };
  const drawNewest = () => {
    newest.hidden = pinned && !held;
    newest.textContent = missed ? `Newest ↓ (${missed.toLocaleString()} more)` : "Newest ↓";
  };
  /** @param {string} text What is said in the place of lines. */
  const say = (text) => {
    empty.textContent = text;
    empty.hidden = !text;
  };
  const drawEmpty = () => {
    const nothing = Object.keys(filters).length ? "No line matches." : "Nothing was logged yet.";
    say(lines.first ? "" : nothing);
  };

  /** Newer lines stay in the journal until the reader comes down to them. */
  const hold = () => {
    stop();
    stop = () => {};
    waiting = [];
    held = true;
    drawNewest();
  };
  const show = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!waiting.length) return;
    if (!pinned && lines.all.length + waiting.length > most) {
      hold();
      return;
    }
    const came = waiting;
    waiting = [];
    lines.append(came);
    if (pinned) {
      if (lines.trim("oldest")) older = service ? "maybe" : "elsewhere";
      toEnd();
    } else missed += came.length;
    acknowledge();
    drawEmpty();
    drawAbove();
    drawNewest();
  };
  /** @param {string} [cursor] */
  const follow = (cursor) => {
    stop();
    held = false;
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      if (!lines.first) say(Object.keys(filters).length ? "Searching…" : "Loading…");
    }, patience);
    const wanted = service ? { service, lines: backlog } : { deployment };
    const numbers = Object.fromEntries(
      Object.entries(filters).map(([key, value]) => [key, key === "grep" ? value : Number(value)]),
    );
    stop = streams.follow(
      { ...wanted, ...numbers, cursor },
      {
        lines: (entries, done) => {
          waiting.push(...entries);
          acknowledge = done;
          // Lines are put together for each picture that the browser draws; a hidden page draws none.
          if (document.hidden) show();
          else frame ||= requestAnimationFrame(show);
        },
        state: (problem) => {
          error.textContent = problem?.message ?? "";
          clearTimeout(timer);
          if (problem) say("");
          else timer = window.setTimeout(settled, silence);
        },
        ended: drawEmpty,
      },
    );
  };
  /** What there was has come, or there is nothing: whether there is more above is asked where it would fit. */
  const settled = () => {
    drawEmpty();
    if (lines.all.length < backlog) loadOlder();
  };
  const begin = () => {
    turn++;
    lines.clear();
    waiting = [];
    [pinned, missed, older] = [true, 0, service ? "maybe" : "no"];
    error.textContent = "";
    say("");
    follow();
    drawAbove();
    drawNewest();
  };
  const toNewest = () => {
    if (held) begin();
    pinned = true;
    missed = 0;
    toEnd();
    drawNewest();
    box.focus();
  };
  const loadOlder = async () => {
    if (older !== "maybe" || !lines.first) return;
    const mine = turn;
    older = "loading";
    drawAbove();
    try {
      const wanted = new URLSearchParams({ ...filters, lines: String(page), cursor: lines.first });
      const answer = await call("GET", `/services/${service}/logs?${wanted}`);
      if (mine !== turn) return;
      // What the reader looks at stays where it is.
      const below = box.scrollHeight - box.scrollTop;
      lines.prepend(answer.entries);
      older = answer.cursor ? "maybe" : "no";
      drawAbove();
      box.scrollTop = box.scrollHeight - below;
      if (lines.trim("newest")) hold();
    } catch (problem) {
      if (mine !== turn) return;
      error.textContent = problem instanceof Error ? problem.message : String(problem);
      older = "maybe";
      drawAbove();
    }
  };
  box.addEventListener(
    "scroll",
    () => {
      // Lines that come leave the end further away; only the reader goes up.
      if (isAtEnd()) pinned = true;
      else if (box.scrollTop < top) pinned = false;
      top = box.scrollTop;
      if (pinned) {
        missed = 0;
        if (held) follow(lines.last);
      } else if (top < ahead) loadOlder();
      drawNewest();
    },
    { passive: true },
  );
  // The end stays in sight where the window becomes smaller, or lines wrap in another way.
  const sizes = new ResizeObserver(() => pinned && toEnd());
  sizes.observe(box);

  begin();
  return {
    element,
    /** @param {Record<string, string>} wanted What `GET …/logs` takes: `grep`, `priority`, `release`. */
    filter: (wanted) => {
      filters = wanted;
      begin();
    },
    close: () => {
      turn++;
      stop();
      clearTimeout(timer);
      cancelAnimationFrame(frame);
      sizes.disconnect();
    },
  };
}
