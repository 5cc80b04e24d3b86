// Who is logged in, and the tokens, which live in this object and nowhere else.

import { accountOf, login, ticket } from './api.js';

export class Session {
  email;
  chats;
  /** A connection token to show; pages connect with tickets of their own. */
  token;
  tokenExpires;
  /** Whether `token` came from `/login`, for `/chat/…`, or from `/ws_ticket`, for `/channel/…`. */
  fromLogin;
  /** Called when the access token is no longer accepted. */
  expired = () => {};

  #access;

  static async start(email, password) {
    const answer = await login(email, password);
    return new Session(answer, email);
  }

  constructor(answer, typed) {
    this.#access = answer.access_token;
    this.email = accountOf(answer.access_token) || typed;
    this.chats = answer.chats ?? [];
    this.#shows(answer.token, answer.expires, true);
  }

  /** Goes on with the tokens of a later login of the same account. */
  resume(later) {
    this.#access = later.#access;
    this.chats = later.chats;
    this.#shows(later.token, later.tokenExpires, true);
  }

  /** A fresh token that opens one WebSocket. An error with `final` set won't go away by trying again. */
  async ticket() {
    return (await this.#ticket()).ticket;
  }

  /** Replaces the token that is shown. */
  async refresh() {
    const answer = await this.#ticket();
    this.#shows(answer.ticket, answer.expires, false);
  }

  async #ticket() {
    try {
      return await ticket(this.#access);
    } catch (error) {
      error.final = [401, 403, 404].includes(error.status);
      if (error.status === 401) this.expired();
      if (error.status === 404) error.message = 'This server gives no tickets, so this page can open no room on it.';
      throw error;
    }
  }

  #shows(token, expires, fromLogin) {
    this.token = token;
    this.tokenExpires = expires;
    this.fromLogin = fromLogin;
  }
}
