// @ts-check
// The agent's interface.

/** What the agent says when something can't be done (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {string} code
   * @param {string} detail
   * @param {string} [hint]
   */
  constructor(code, detail, hint) {
    super(hint ? `${detail} ${hint}` : detail);
    this.code = code;
  }
}

/**
 * One call.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {string} [enrolment] an enrolment link's secret
 * @returns {Promise<any>} null where the answer has no body
 */
export async function call(method, path, body, enrolment) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (enrolment) headers["Authorization"] = `Enroll ${enrolment}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Problem("unreachable", "The agent can't be reached.", "Is it running, and the tunnel open?");
  }
  if (answer.status === 204) return null;
  const value = await answer.json().catch(() => ({}));
  if (answer.ok) return value;
  const code = String(value.type ?? "").replace("urn:podkeeper:problem:", "");
  throw new Problem(code, value.detail ?? `The agent answered ${answer.status}.`, value.hint);
}

/** What a session may do, each more than the one before. */
const scopes = ["read", "deploy", "admin"];

/**
 * Whether a session may do what takes `scope`.
 * @param {any} session
 * @param {string} scope
 */
export function may(session, scope) {
  return scopes.indexOf(session.scope) >= scopes.indexOf(scope);
}
