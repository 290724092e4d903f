// @ts-check
// A service's variables: looked at, changed and removed, all at once.

import { still } from "./actions.js";
import { call } from "./api.js";
import { pairs } from "./dotenv.js";
import { form } from "./fields.js";
import { button, el, errorPlace, notice } from "./parts.js";

/**
 * One of them.
 * @param {string} key Empty: it is new, and its name is to be typed.
 * @param {string} value
 * @param {(pasted: [string, string][]) => void} pasted Told what else was pasted where its name belongs.
 */
function row(key, value, pasted) {
  const isNew = !key;
  const name = /** @type {HTMLInputElement} */ (
    el("input", {
      "aria-label": "Name of the variable",
      placeholder: "NAME",
      value: key,
      readonly: !isNew,
      autocapitalize: "off",
      autocomplete: "off",
      spellcheck: "false",
    })
  );
  const text = /** @type {HTMLTextAreaElement} */ (
    el("textarea", {
      "aria-label": key ? `Value of ${key}` : "Value",
      rows: "1",
      autocapitalize: "off",
      autocomplete: "off",
      spellcheck: "false",
    })
  );
  text.value = value;
  const grow = () => (text.rows = Math.min(text.value.split("\n").length, 8));
  text.addEventListener("input", grow);
  grow();
  name.addEventListener("input", () => text.setAttribute("aria-label", `Value of ${name.value.trim() || "it"}`));
  name.addEventListener("keydown", (event) => {
    // It would save what has no value yet.
    if (event.key !== "Enter") return;
    event.preventDefault();
    text.focus();
  });
  name.addEventListener("paste", (event) => {
    const all = isNew && pairs(event.clipboardData?.getData("text") ?? "");
    if (!all) return;
    event.preventDefault();
    pasted(all);
  });
  const error = errorPlace();
  let goes = false;
  const toggle = () => {
    if (isNew) {
      element.remove();
      return;
    }
    goes = !goes;
    element.classList.toggle("goes", goes);
    text.readOnly = goes;
    remove.textContent = goes ? "Keep" : "Remove";
    remove.setAttribute("aria-label", `${remove.textContent} ${key}`);
  };
  const remove = el(
    "button",
    { type: "button", "aria-label": `Remove ${key || "it"}`, onclick: toggle },
    isNew ? "Leave out" : "Remove",
  );
  const element = el("li", { class: "variable" }, el("div", {}, name, text), remove, error);
  return {
    element,
    isNew,
    // What is wrong with a new one is mostly its name.
    focus: () => (isNew && (!name.value || error.textContent) ? name : text).focus(),
    name: () => name.value.trim(),
    /** @param {string} now */
    fill: (now) => {
      text.value = now;
      grow();
    },
    /** What becomes of it; undefined: nothing. @returns {string | null | undefined} */
    change: () => {
      if (goes) return null;
      return isNew || text.value !== value ? text.value : undefined;
    },
    /** @param {string} problem */
    wrong: (problem) => (error.textContent = problem),
  };
}

/**
 * @param {any} service
 * @param {any} answer What `GET …/env` said.
 * @param {(deployment: any) => Node[]} follow What is said of a deployment that was begun.
 */
export function variables({ name, state, release }, answer, follow) {
  const path = `/services/${encodeURIComponent(name)}/env`;
  const error = errorPlace();
  const said = el("p", { role: "status" });
  const list = el("ul", { class: "variables" });
  /** @type {ReturnType<typeof row>[]} */
  let rows = [];
  const runs = Boolean(release) && !still.includes(state);

  const there = () => rows.filter((one) => one.element.isConnected || !one.isNew);
  /**
   * @param {string} key
   * @param {string} value
   */
  const add = (key, value) => {
    const one = row(key, value, (all) => {
      // What is there already gets its value; the row that was pasted into is the first new one.
      one.element.remove();
      for (const [pastedKey, pastedValue] of all) {
        const known = there().find((other) => other.name() === pastedKey);
        if (known) known.fill(pastedValue);
        else addNamed(pastedKey, pastedValue);
      }
      rows.at(-1)?.focus();
    });
    rows.push(one);
    list.append(one.element);
    return one;
  };
  /**
   * A new one whose name is known.
   * @param {string} key
   * @param {string} value
   */
  const addNamed = (key, value) => {
    const one = add("", "");
    const [input] = one.element.querySelectorAll("input");
    input.value = key;
    input.dispatchEvent(new Event("input"));
    one.fill(value);
  };
  /** @param {Record<string, string>} env */
  const show = (env) => {
    rows = [];
    list.replaceChildren();
    Object.keys(env)
      .sort()
      .forEach((key) => add(key, env[key]));
  };
  const save = async () => {
    said.replaceChildren();
    const env = /** @type {Record<string, string | null>} */ (Object.create(null));
    for (const one of there()) {
      one.wrong("");
      const change = one.change();
      if (change === undefined) continue;
      const key = one.name();
      const problem = key ? (key in env ? `“${key}” is there twice.` : "") : "It has no name.";
      if (problem) {
        one.wrong(problem);
        one.focus();
        return;
      }
      env[key] = change;
    }
    if (!Object.keys(env).length) {
      notice("Nothing was changed.");
      return;
    }
    let done;
    try {
      done = await call("POST", `${path}/update`, { env, restart: Boolean(runs && restarts?.checked) });
    } catch (problem) {
      const detail = problem instanceof Error ? problem.message : String(problem);
      const wrong = there().find((one) => detail.includes(`\`${one.name()}\``));
      if (!wrong) throw problem;
      wrong.wrong(detail);
      wrong.focus();
      return;
    }
    show((await call("GET", path)).env);
    notice("Saved.");
    said.replaceChildren(...(done?.id ? follow(done) : ["The next release has them."]));
  };
  const restarts = runs
    ? /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", id: "restarts", checked: true }))
    : null;
  const restarting = el("label", { for: "restarts" }, "Restart it with them, without a build");
  const hides = /** @type {HTMLInputElement} */ (
    el("input", { type: "checkbox", id: "shown", onchange: () => list.classList.toggle("shown", hides.checked) })
  );
  show(answer.env);
  error.textContent = answer.problem?.message ?? "";
  const image = Object.entries(answer.image);
  return el(
    "section",
    {},
    el(
      "div",
      { class: "head" },
      el("h2", {}, "Variables"),
      el("div", { class: "box" }, hides, el("label", { for: "shown" }, "Show the values")),
    ),
    el(
      "p",
      { class: "quiet" },
      "Its program finds them in its environment. They are kept in Podman’s secret store, and in no file and no log.",
    ),
    form(
      { action: "Save the variables", error, work: save },
      list,
      el(
        "p",
        {},
        button("Add a variable", error, async () => add("", "").focus(), {
          title: "Lines of NAME=VALUE that are pasted as its name become one variable each",
        }),
      ),
      restarts && el("div", { class: "box" }, restarts, restarting),
      said,
    ),
    image.length > 0 &&
      el(
        "details",
        {},
        el("summary", {}, "What its image brings"),
        el("pre", { tabindex: "0" }, image.map(([key, value]) => `${key}=${value}`).join("\n")),
      ),
  );
}
