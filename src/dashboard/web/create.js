// @ts-check
// A service is made.

import { call, may, Problem } from "./api.js";
import { copyButton } from "./clipboard.js";
import { form, selectField, textField } from "./fields.js";
import { el, errorPlace, notice } from "./parts.js";

/** What the list of templates says for code that lies elsewhere: no template is called so. */
const elsewhere = "/";

/**
 * What to give the forge, once the service is made.
 * @param {any} service
 */
function made({ name, branch, hook_url: url, hook_key: key }) {
  const error = errorPlace();
  return el(
    "section",
    {},
    el("h1", {}, `${name} is made`),
    el("p", {}, `So that pushes to ${branch} are deployed, give the forge’s webhook this address and this key:`),
    el("p", {}, el("code", {}, url), copyButton(url, "the address", error)),
    el("p", {}, el("code", {}, key), copyButton(key, "the key", error)),
    error,
    el("a", { class: "button", href: `#services/${name}` }, "Go to its page"),
  );
}

/** @param {any} session */
export async function page(session) {
  if (!may(session, "admin") || session.service) {
    throw new Problem("forbidden", "To make a service you need the scope `admin` for all services.");
  }
  const { templates } = await call("GET", "/templates");
  const error = errorPlace();
  const name = textField({
    id: "name",
    label: "Name",
    hint: "1 to 40 of a-z, 0-9 and -, with a letter first. It becomes a part of its address.",
  });
  const source = selectField({ id: "source", label: "Its code begins with" }, [
    ...templates.map((/** @type {any} */ { name, title, description }) => [name, title, description]),
    [elsewhere, "A repository elsewhere", "It is fetched from a forge, whose webhook tells when somebody has pushed."],
  ]);
  const uri = textField({
    id: "uri",
    label: "Address of the repository",
    hint: "https, http, ssh or git. A password in it is kept in Podman’s secret store and shown nowhere.",
    empty: "https://example.org/site.git",
  });
  const branch = textField({
    id: "branch",
    label: "Branch",
    hint: "It is what is deployed. Without one: main, or the one that a repository elsewhere calls its own.",
    empty: "main",
  });
  const drawSource = () => (uri.element.hidden = source.read() !== elsewhere);
  source.element.addEventListener("change", drawSource);
  source.show(templates.some((/** @type {any} */ one) => one.name === "empty") ? "empty" : templates[0]?.name);
  drawSource();

  /** @param {Problem} problem */
  const about = ({ code, message }) => {
    if (code === "invalid-uri") return uri;
    if (message.includes("branch name")) return branch;
    return ["invalid-name", "name-taken", "name-reserved"].includes(code) && name;
  };
  const create = async () => {
    for (const one of [name, uri, branch]) one.wrong("");
    const wanted = name.read();
    const isElsewhere = source.read() === elsewhere;
    const missing = !wanted ? name : isElsewhere && !uri.read() && uri;
    if (missing) {
      missing.wrong("It is missing.");
      missing.focus();
      return;
    }
    const from = isElsewhere ? { external: uri.read() } : { template: source.read() };
    const of = branch.read() && { branch: branch.read() };
    let service;
    try {
      service = await call("PUT", `/services/${encodeURIComponent(wanted)}`, { ...from, ...of });
    } catch (problem) {
      const wrong = problem instanceof Problem && about(problem);
      if (!wrong) throw problem;
      wrong.wrong(/** @type {Problem} */ (problem).message);
      wrong.focus();
      return;
    }
    if (isElsewhere) {
      element.replaceChildren(made(service));
      return;
    }
    notice(`${service.name} is made.`);
    location.hash = `services/${service.name}`;
  };
  const element = el(
    "div",
    {},
    el(
      "section",
      {},
      el("a", { class: "quiet back", href: "#" }, "← Services"),
      el("h1", {}, "New service"),
      form({ action: "Make it", error, work: create }, name.element, source.element, uri.element, branch.element),
    ),
  );
  return { title: "New service", element };
}
