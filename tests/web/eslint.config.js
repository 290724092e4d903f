import js from "@eslint/js";
import globals from "globals";

export default [
  // Somebody else's, and minified.
  { ignores: ["socket.io.js", "xterm.js", "addon-fit.js"] },
  js.configs.recommended,
  {
    files: ["**/*.js"],
    languageOptions: { sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error", "no-implicit-coercion": "error" },
  },
];
