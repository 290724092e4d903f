// @ts-check
// What of a service's settings concerns how it is built.

import { Problem } from "./api.js";
import { boxField, listField, textField } from "./fields.js";

/** @typedef {import("./fields.js").Field} Field */

/** @param {string[]} lines */
function texts(lines) {
  const wrong = lines.find((line) => !line.includes("="));
  if (wrong) throw new Problem("invalid-setting", `“${wrong}” is not a name, = and a text.`);
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")).trim(), line.slice(line.indexOf("=") + 1)]),
  );
}

/** What the next build has. @returns {Record<string, Field>} */
export function fromNextBuildOn() {
  const variables = (/** @type {string} */ id, /** @type {string} */ label, /** @type {string} */ hint) =>
    listField(
      { id, label, hint, empty: "NPM_TOKEN" },
      (all) => all,
      (lines) => lines,
    );
  return {
    root: textField({
      id: "root",
      label: "Folder",
      hint: "The folder of the repository that is built.",
      empty: "its top",
    }),
    containerfile: textField({
      id: "containerfile",
      label: "Containerfile",
      hint: "The file below that folder that it is built by.",
      empty: "Containerfile or Dockerfile",
    }),
    watch: listField(
      {
        id: "watch",
        label: "Files that count",
        hint: "One pattern a line. A push that changes none of these is kept and not deployed; without any each push is.",
        empty: "apps/web/**",
      },
      (all) => all,
      (lines) => lines,
    ),
    build_args: listField(
      {
        id: "build_args",
        label: "Arguments",
        hint: "One a line, for all to see: a name, = and a text.",
        empty: "MODE=production",
      },
      (all) => Object.entries(all).map(([name, text]) => `${name}=${text}`),
      texts,
    ),
    build_env: variables(
      "build_env",
      "Variables as arguments",
      "Names of its variables, one a line. Their values stay in the image’s history.",
    ),
    build_secrets: variables(
      "build_secrets",
      "Variables as secrets",
      "Names of its variables, one a line, for RUN --mount=type=secret,id=NAME. Their values stay nowhere.",
    ),
    prefer_repository: boxField({
      id: "prefer_repository",
      label: "The repository’s podkeeper.toml counts for more",
      hint: "Else that fills what is left at the default here.",
    }),
  };
}
