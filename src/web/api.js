// The server's plain HTTP endpoints, and errors that a person can read.

import { sentence } from './sentences.js';

const DEADLINE = 15_000; // ms

/** A request that failed, with a sentence. `status` is 0 when the server was not reached, `retryAfter` is in ms. */
const failure = (message, status = 0, retryAfter = 0) => Object.assign(new Error(message), { status, retryAfter });

/**
 * Sends a request and gives the JSON of its answer; throws a {@link failure} for anything but a 2xx.
 * `headers(them)` sees the answer's headers.
 */
export async function request(method, path, { bearer, body, headers: seen } = {}) {
  const headers = { Accept: 'application/json' };
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (body) headers['Content-Type'] = 'application/json';
  let response, answer;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: 'no-store',
      redirect: 'error',
      signal: AbortSignal.timeout(DEADLINE),
    });
    answer = await response.json().catch(() => null);
  } catch {
    throw failure("The server can't be reached.");
  }
  seen?.(response.headers);
  if (response.ok && answer !== null) return answer;
  throw refusal(response, answer);
}

/** Who may log in gets `{token, expires, access_token, access_expires, chats}`. */
export const login = (email, password) => request('POST', '/login', { body: { email, password } });

/** A connection token that opens one WebSocket, once: `{ticket, expires}`. */
export const ticket = (access) => request('POST', '/ws_ticket', { bearer: access });

/** The address of a WebSocket at this very server. */
export function socketUrl(path) {
  const url = new URL(path, location.origin);
  url.protocol = url.protocol.replace('http', 'ws');
  return url;
}

/** The account that an access token names; the server alone can tell whether the token is genuine. */
export function accountOf(jwt) {
  try {
    const base64 = jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).email ?? '';
  } catch {
    return '';
  }
}

function refusal(response, answer) {
  const seconds = Number(response.headers.get('Retry-After')) || 0;
  // The rooms door wraps its errors differently from all others (PROTOCOL section 7).
  let message = answer?.error ? sentence(answer.error) : (answer?.message ?? `The server answered ${response.status}.`);
  if (response.status === 429 && seconds) message += ` Try again in ${seconds} seconds.`;
  return Object.assign(failure(message, response.status, seconds * 1000), { named: answer?.error?.field });
}
