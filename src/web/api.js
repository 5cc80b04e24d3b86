// The server's plain HTTP endpoints.

import { request as ask } from './client.js';
import { sentence } from './sentences.js';

/** The client's request, with the page's own sentences for what the rooms door refuses; `named` is the field that is wrong. */
export async function request(method, path, about) {
  try {
    return await ask(method, path, about);
  } catch (error) {
    // That door wraps its errors differently from all others (PROTOCOL section 7).
    const wrapped = error.answer?.error;
    if (wrapped) {
      const wait = error.status === 429 && error.retryAfter ? ` Try again in ${error.retryAfter / 1000} seconds.` : '';
      Object.assign(error, { message: sentence(wrapped) + wait, named: wrapped.field });
    }
    throw error;
  }
}

/**
 * Who may log in gets `{token, expires, access_token, access_expires, chats}`, and a cookie that lasts over reloads, unless
 * the server has no sessions.
 */
export async function login(email, password) {
  const body = { email, password };
  try {
    return await request('POST', '/session', { body });
  } catch (error) {
    if (error.status !== 404) throw error;
    return request('POST', '/login', { body });
  }
}

/** What `login` gives, for the cookie that it left. */
export const renew = () => request('POST', '/session/renew');

/** Ends the session of the cookie. */
export async function endSession() {
  try {
    await request('DELETE', '/session');
  } catch (error) {
    if (error.status !== 404) throw error; // the server has no sessions
  }
}

/** A connection token that opens one WebSocket, once: `{ticket, expires}`. */
export const ticket = (access) => request('POST', '/ws_ticket', { bearer: access });

/** The account's rooms, and what is new in them: `{rooms: [{monitor_hash, unread, mentions, read, last}]}`. */
export const listRooms = (access) => request('GET', '/rooms', { bearer: access });
