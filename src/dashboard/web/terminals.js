// @ts-check
// The terminals: which sessions there are, and where another can be begun.

import { call, may, Problem } from "./api.js";
import { connect } from "./live.js";
import { ask, button, el, errorPlace, moment } from "./parts.js";
import { another, called } from "./terminal.js";

/** How often the sessions are looked at, in ms. */
const pause = 5000;

/**
 * @param {any} session
 * @param {() => void} refused
 */
export async function page(session, refused) {
  if (!may(session, "admin")) throw new Problem("forbidden", "A terminal needs the scope `admin`.");
  const services = session.service
    ? [{ name: session.service, state: "running" }]
    : (await call("GET", "/services")).services;
  const running = services.filter((/** @type {any} */ { state }) => state === "running");

  const link = el("p", { class: "quiet", role: "status" });
  const error = errorPlace();
  const list = el("ul", {});
  const live = connect("/term", link, refused);
  /** @type {string} */
  let drawn = "";

  const load = async () => {
    if (!live.socket.connected) return;
    try {
      const { sessions } = await live.ask("list", {});
      // What stays as it is keeps the focus.
      if (JSON.stringify(sessions) === drawn) return;
      drawn = JSON.stringify(sessions);
      list.replaceChildren(...(sessions.length ? sessions.map(row) : [none()]));
    } catch (problem) {
      error.textContent = problem instanceof Error ? problem.message : String(problem);
    }
  };
  /** @param {any} one */
  const row = (one) => {
    const close = async () => {
      const text = "Its programs end, and what they show is gone.";
      if ((await ask({ title: `Close “${called(one)}”?`, text, action: "Close it", bad: true })) === null) return;
      await live.ask("close", { session: one.session });
      await load();
    };
    const where = one.service ? `In the container of ${one.service}` : "In the isolated shell";
    const viewers =
      one.viewers === 1 ? "watched by one" : one.viewers ? `watched by ${one.viewers}` : "watched by nobody";
    const address = `#terminals/${one.session}`;
    return el(
      "li",
      {},
      el(
        "div",
        {},
        el("strong", {}, one.ending ? called(one) : el("a", { href: address }, called(one))),
        el("div", { class: "quiet" }, `${where}, begun `, moment(one.began), one.ending ? ", ending." : `, ${viewers}.`),
      ),
      !one.ending &&
        el(
          "div",
          { class: "buttons" },
          el("a", { class: "button", href: address }, "Attach"),
          button("Close", error, close, { class: "bad" }),
        ),
    );
  };
  live.socket.on("connect", load);
  const clock = setInterval(load, pause);

  const isolated = !session.service;
  const where = /** @type {HTMLSelectElement} */ (
    el(
      "select",
      { "aria-label": "Where" },
      isolated && el("option", { value: "" }, "The isolated shell"),
      ...running.map((/** @type {any} */ { name }) => el("option", { value: name }, `In ${name}`)),
    )
  );
  const name = /** @type {HTMLInputElement} */ (
    el("input", {
      placeholder: "Name (optional)",
      "aria-label": "Name",
      maxlength: "40",
      pattern: "[a-z]([a-z0-9\\-]*[a-z0-9])?",
      title: "Small letters, digits and hyphens, with a letter first",
    })
  );
  const open = (/** @type {Event} */ event) => {
    event.preventDefault();
    location.hash = another({ service: where.value, name: name.value.trim() });
  };
  const go = el("button", { type: "submit", class: "main", autofocus: true }, "Open a terminal");
  const about =
    "The isolated shell is a container of its own with a home that is kept and nothing of this host. " +
    "A session goes on for a while when nobody watches it.";
  const element = el(
    "div",
    {},
    el(
      "section",
      {},
      el("div", { class: "head" }, el("h1", {}, "Terminals"), link),
      el("p", { class: "quiet" }, about),
      el("form", { class: "open", onsubmit: open }, where, name, go),
    ),
    el("section", {}, el("div", { class: "head" }, el("h2", {}, "Sessions")), error, list),
  );
  const close = () => {
    clearInterval(clock);
    live.close();
  };
  return { title: "Terminals", element, close };
}

function none() {
  return el("li", {}, el("div", { class: "quiet" }, "None yet."));
}
