// Who is logged in, and the tokens, which live in this object and nowhere else.

import { endSession, listRooms, login, renew, ticket } from './api.js';
import { Chat, emailOf } from './client.js';
import { keep, kept } from './kept.js';

// Kept while the server may not know that somebody has logged out: its cookie would log in whoever comes next.
const LEFT = 'left';

let asked = null; // the login or logout that is being answered, one at a time: the answer sets the cookie, or takes it away
let failed = false; // whether a logout has failed

export class Session {
  /** Whether the server could not be told yet that somebody has logged out. */
  static get untold() {
    return failed && Boolean(kept(LEFT));
  }

  email;
  chats;
  /** A connection token to show; pages connect with tickets of their own. */
  token;
  tokenExpires;
  /** Called when the access token is no longer accepted. */
  expired = () => {};
  /** Called when there are new tokens, and perhaps other chats. */
  renewed = () => {};

  /** Makes rooms, each of whose connections has a ticket of its own. */
  chat = new Chat(location.origin, () => this.ticket());

  #access;
  #renewing = null; // one renewal at a time: each cookie is used once

  static async start(email, password) {
    while (asked) await asked.catch(() => {});
    return Session.#of(await settled(login(email, password)), email);
  }

  /** Goes on with what an earlier visit has left; throws if that is nothing, or over. */
  static async restore() {
    return Session.#of(await renewal(), '');
  }

  static #of(answer, email) {
    const session = new Session();
    session.email = emailOf(answer.access_token) || email;
    session.#takes(answer);
    return session;
  }

  /** Ends it here and at the server; throws if that can't be told now. */
  end() {
    this.#access = undefined;
    keep(LEFT, true);
    return tellEnd();
  }

  /** Goes on with the tokens of a later login of the same account. */
  resume(later) {
    this.#access = later.#access;
    this.chats = later.chats;
    this.#shows(later.token, later.tokenExpires);
  }

  /** A fresh token that opens one WebSocket. An error with `final` set won't go away by trying again. */
  async ticket() {
    return (await this.#ticket()).ticket;
  }

  /** Replaces the token that is shown. */
  async refresh() {
    const answer = await this.#ticket();
    this.#shows(answer.ticket, answer.expires);
  }

  /** What is new in the account's rooms. */
  rooms() {
    return this.#with(listRooms);
  }

  async #ticket() {
    try {
      return await this.#with(ticket);
    } catch (error) {
      error.final = [401, 403, 404].includes(error.status);
      if (error.status === 401) this.expired();
      throw error;
    }
  }

  /** Does `work(access)`, again with another token if this one has expired. */
  async #with(work) {
    for (let isRenewed = false; ; ) {
      const access = this.#access;
      try {
        return await work(access);
      } catch (error) {
        if (error.status !== 401 || !this.#access) throw error;
        // There may be another token since this was asked: it was renewed, or somebody has logged in again.
        if (access !== this.#access) continue;
        if (isRenewed) throw error;
        isRenewed = true;
        await this.#renewed(error).catch((why) => {
          if (access === this.#access) throw why;
        });
      }
    }
  }

  /** A new access token by the cookie; `old` is the error that an old one has met. */
  #renewed(old) {
    this.#renewing ??= renewal()
      .then((answer) => {
        // In another tab somebody else may have logged in: the cookie is theirs now, and this tab is not.
        if ((emailOf(answer.access_token) || this.email) !== this.email) throw old;
        this.#takes(answer);
        this.renewed();
      }, (error) => {
        // Without sessions, or when this one is over, it is the token that has expired.
        throw [401, 403, 404].includes(error.status) ? old : error;
      })
      .finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  #takes({ access_token: access, chats, token, expires }) {
    this.#access = access;
    this.chats = chats ?? [];
    this.#shows(token, expires);
  }

  #shows(token, expires) {
    this.token = token;
    this.tokenExpires = expires;
  }
}

/** New tokens by the cookie, once the server knows of a logout. */
async function renewal() {
  while (kept(LEFT)) await tellEnd();
  return renew();
}

/** Tells the server that somebody has logged out, unless it is being told, or somebody logs in. */
function tellEnd() {
  return asked ?? settled(endSession().catch((error) => {
    failed = true;
    throw error;
  }));
}

/** Waits for a login or a logout, after either of which there is nothing more to tell. */
function settled(answer) {
  asked = answer.then((value) => {
    keep(LEFT, null);
    return value;
  }).finally(() => (asked = null));
  return asked;
}
