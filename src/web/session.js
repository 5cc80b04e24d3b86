// Who is logged in, and the tokens, which live in this object and nowhere else.

import { login, ticket } from './api.js';
import { Chat, emailOf } from './client.js';

export class Session {
  email;
  chats;
  /** A connection token to show; pages connect with tickets of their own. */
  token;
  tokenExpires;
  /** Called when the access token is no longer accepted. */
  expired = () => {};

  /** Makes rooms, each of whose connections has a ticket of its own. */
  chat = new Chat(location.origin, () => this.ticket());

  #access;

  static async start(email, password) {
    const session = new Session();
    const answer = await login(email, password);
    session.#access = answer.access_token;
    session.email = emailOf(answer.access_token) || email;
    session.chats = answer.chats ?? [];
    session.#shows(answer.token, answer.expires);
    return session;
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

  async #ticket() {
    try {
      return await ticket(this.#access);
    } catch (error) {
      error.final = [401, 403, 404].includes(error.status);
      if (error.status === 401) this.expired();
      throw error;
    }
  }

  #shows(token, expires) {
    this.token = token;
    this.tokenExpires = expires;
  }
}
