// A client for propromo-chat: rooms that reconnect by themselves, messages that are confirmed, nothing lost or doubled.
//
// One module without dependencies, for browsers and Node (for 20 and 21, give a `WebSocket`, such as that of the package
// `ws`). The server's own page uses it. docs/PROTOCOL.md describes the frames.

const DEADLINE = 15_000; // ms that an answer may take
const FIRST_DELAY = 500; // ms that the first new attempt waits at most
const LONGEST_DELAY = 30_000;
const SETTLED = 5_000; // ms that a connection is open before the delays start over
const OPENING = 15_000;
const QUIET = 25_000; // ms of silence after which the client asks the server for a sign of life
const ANSWER = 10_000;
const CONFIRMED = 10_000; // ms after which an unconfirmed message is sent again, with the same ref
const WAITING_MOST = 500; // messages that may wait for their confirmation
const TOO_LONG = 1009; // RFC 6455 §7.4.1

// Below what the server allows (20 a second, bursts of 100; PROTOCOL section 9), so the server never drops this client,
// even after many frames have waited for a connection, or when somebody scrolls fast through history.
const RATE = 15; // frames a second
const BURST = 60;

// Reasons of a 1008 that a new attempt with a new token may cure.
const PASSING_CLOSES = /^(rate_limited|auth_deadline|token_\w+|)$/;
const PASSING_ERRORS = ['rate_limited', 'unavailable', 'overloaded', 'unknown', 'too_many_searches'];
const SEARCH_ERRORS = ['bad_query', 'too_many_searches'];

export const GONE = 'This room has been deleted.';
const FAREWELLS = {
  room_deleted: GONE,
  room_denied: 'You have no access to this room any more.',
  disconnected: 'The operators have closed your connection.',
};

/** What went wrong, as a sentence. `final`: trying again does not help. */
export class ChatError extends Error {
  name = 'ChatError';

  constructor(message, { status = 0, code = '', retryAfter = 0, final = false, answer = null } = {}) {
    super(message);
    /** The HTTP answer's status; 0 if there was none. */
    this.status = status;
    /** The server's word for it. */
    this.code = code;
    /** Milliseconds after which you may try again. */
    this.retryAfter = retryAfter;
    this.final = final;
    /** What the server answered, if that was JSON. */
    this.answer = answer;
  }
}

/**
 * Sends a request and returns the answer's JSON, `null` for a 204; throws a {@link ChatError} for anything but a 2xx.
 * `headers(them)` sees the answer's headers.
 */
export async function request(method, url, { bearer, body, headers: seen } = {}) {
  const headers = { Accept: 'application/json' };
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (body) headers['Content-Type'] = 'application/json';
  const sent = body && JSON.stringify(body);
  let response, answer;
  try {
    const signal = AbortSignal.timeout(DEADLINE);
    response = await fetch(url, { method, headers, body: sent, cache: 'no-store', redirect: 'error', signal });
    answer = await response.json().catch(() => null);
  } catch ({ name }) {
    throw new ChatError(name === 'TimeoutError' ? 'The server takes too long to answer. Try again.' : "The server can't be reached.");
  }
  seen?.(response.headers);
  if (response.ok && (answer !== null || response.status === 204)) return answer;
  throw refusal(response, answer);
}

function refusal(response, answer) {
  const { status } = response;
  const seconds = Number(response.headers.get('Retry-After')) || 0;
  // The rooms door wraps its errors differently (PROTOCOL section 7).
  const { error, field } = answer?.error ?? {};
  let message = error ?? answer?.message ?? `The server answered ${status}.`;
  if (field) message += ` (${field})`;
  if (status === 429 && seconds) message += ` Try again in ${seconds} seconds.`;
  return new ChatError(message, { status, code: answer?.reason ?? '', retryAfter: seconds * 1000, answer });
}

/** Emits events by name. */
class Emitter {
  #listeners = new Map();

  /** Calls `listener` each time; the returned function removes it. */
  on(name, listener) {
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all.add(listener));
    return () => all.delete(listener);
  }

  emit(name, ...values) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(...values);
  }
}

/** An account at a server. */
export class Chat {
  /** The chats that the account may enter, as `/login` lists them. */
  chats = [];
  /** The account's email address, if known. */
  email = '';

  #server;
  #token;
  #socket;

  /**
   * `ticket(room)` returns a new connection token for each connection; a token opens one WebSocket. It may ask a backend,
   * which makes the token with `POST /api/v1/tokens`. If it throws an error with `final` set, the attempts end.
   */
  constructor(server, ticket, { email = '', WebSocket = globalThis.WebSocket } = {}) {
    this.#server = new URL(server, globalThis.location?.href);
    this.#token = ticket;
    this.#socket = WebSocket;
    this.email = email;
  }

  /** Logs in with a password. */
  static async login(server, email, password, options = {}) {
    const at = (path) => new URL(path, new URL(server, globalThis.location?.href));
    const answer = await request('POST', at('/login'), { body: { email, password } });
    const access = answer.access_token;
    const ticket = async () => {
      try {
        return (await request('POST', at('/ws_ticket'), { bearer: access })).ticket;
      } catch (error) {
        error.final = [401, 403, 404].includes(error.status);
        throw error;
      }
    };
    const chat = new Chat(server, ticket, { ...options, email: emailOf(access) || email });
    chat.chats = answer.chats ?? [];
    return chat;
  }

  /** A room by a monitor's hash or a channel's name, not yet open. */
  room(name) {
    return new Room({
      server: this.#server,
      name,
      ticket: () => this.#token(name),
      WebSocket: this.#socket,
    });
  }
}

/** The account that an access token names. Only the server can tell whether the token is genuine. */
export function emailOf(jwt) {
  try {
    const base64 = jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).email ?? '';
  } catch {
    return '';
  }
}

/**
 * A room by the channel protocol (PROTOCOL section 5). It emits each frame under the name of its type (`message`, `edited`,
 * `deleted`, `reacted`, `join`, `leave`, `members`, `typing`, `presence`, `notice`), each message once and in the room's order,
 * and also
 *
 * - `state`: the connection's state has changed, see {@link Connection};
 * - `lost` with the close code, if there was one: the connection is gone; who is here is now unknown;
 * - `reset`: the room can't continue from what it heard; the latest messages follow;
 * - `ready`: all missed messages have arrived;
 * - `problem` with a {@link ChatError} and perhaps a `ref`: the server refused something that no call waits for, or that is sent
 *   again.
 */
export class Room extends Emitter {
  connection;

  #seen = ''; // the last id that came in room order; a new connection continues from it
  #readying = false;
  #waiting = new Map(); // by ref: messages and changes not yet confirmed
  #asked = []; // calls that wait for a page of history or of results, in order
  #again;

  constructor({ server, name, ticket, WebSocket }) {
    super();
    this.connection = new Connection({
      WebSocket,
      dial: async () => {
        const token = await ticket();
        const url = socketUrl(server, `/channel/${encodeURIComponent(name)}`);
        if (this.#seen) url.searchParams.set('since', this.#seen);
        return { url, protocols: [token] };
      },
      opened: () => this.#opened(),
      received: (frame) => this.#received(frame),
      closed: (how) => this.#closed(how),
      changed: () => this.emit('state', this.connection.state, this.connection.error),
      probe: { type: 'ping' },
    });
  }

  get state() {
    return this.connection.state;
  }

  open() {
    this.connection.open();
    this.#again ??= every(CONFIRMED / 2, () => this.#sendAgain());
  }

  /** Ends the connection. Calls that are not yet confirmed fail. */
  close() {
    clearInterval(this.#again);
    this.#again = undefined;
    this.connection.close();
    this.#fail(new ChatError('The room was closed before the server confirmed this.'));
  }

  /**
   * Sends a message; resolves to `{id, timestamp}` once it is stored. Without a connection it waits for the next one. All
   * attempts have the same `ref`, so it is one message.
   */
  send(text, { ref = randomRef(), replyTo } = {}) {
    return this.#change({ type: 'message', text, ref, reply_to: replyTo });
  }

  edit(id, text) {
    return this.#change({ type: 'edit', id, text, ref: randomRef() });
  }

  delete(id) {
    return this.#change({ type: 'delete', id, ref: randomRef() });
  }

  /** Adds a reaction, or takes it back. */
  react(id, emoji, on = true) {
    return this.#change({ type: 'react', id, emoji, on, ref: randomRef() });
  }

  /**
   * `{messages, more}`: messages directly before the id `before`, or directly after the id `after`, or the last ones; oldest
   * first. `more` says whether there are further ones in that direction.
   */
  history({ before, after, limit } = {}) {
    return this.#ask('history', { type: 'history', before, after, limit });
  }

  /**
   * `{query, messages, more, next}`: messages that have all words of `query`, newest first. Where there may be `more`,
   * continue the same search with `next` as `before`; a page may be empty even if a later one is not.
   */
  search(query, { before, limit } = {}) {
    return this.#ask('results', { type: 'search', query, before, limit });
  }

  /** Tells the others that the user types; returns `false` without a connection. */
  typing() {
    return this.connection.send({ type: 'typing' });
  }

  /** The number of messages not yet confirmed. */
  get unconfirmed() {
    return this.#waiting.size;
  }

  /** Sends a question that a frame of this type answers. The server answers questions in order. */
  #ask(type, frame) {
    if (!this.connection.send(frame)) return Promise.reject(away());
    return new Promise((resolve, reject) => this.#asked.push({ type, resolve, reject }));
  }

  /** The call that a frame of this type answers. */
  #asker(type) {
    const at = this.#asked.findIndex((asked) => asked.type === type);
    return at < 0 ? undefined : this.#asked.splice(at, 1)[0];
  }

  #change(frame) {
    const known = this.#waiting.get(frame.ref);
    if (known) return known.promise;
    if (this.#waiting.size >= WAITING_MOST) {
      return Promise.reject(new ChatError(`${WAITING_MOST} messages wait to be confirmed already.`, { code: 'queue_full' }));
    }
    const entry = { frame, sentAt: 0 };
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    // A caller that doesn't wait for it need not handle its failure.
    entry.promise.catch(() => {});
    this.#waiting.set(frame.ref, entry);
    this.#transmit(entry);
    return entry.promise;
  }

  #transmit(entry) {
    if (this.connection.send(entry.frame)) entry.sentAt = performance.now();
  }

  #settle(ref, settle) {
    const entry = this.#waiting.get(ref);
    this.#waiting.delete(ref);
    if (entry) settle(entry);
  }

  #fail(error) {
    for (const ref of [...this.#waiting.keys()]) this.#settle(ref, ({ reject }) => reject(error));
    for (const { reject } of this.#asked.splice(0)) reject(error);
  }

  #opened() {
    // Without an id to continue from, the latest messages follow, whatever came before.
    if (!this.#seen) this.emit('reset');
    // The answer comes after the replay, and so also says that the replay is over.
    this.#readying = true;
    this.connection.send({ type: 'presence' });
    for (const entry of this.#waiting.values()) this.#transmit(entry);
  }

  #closed({ code, over }) {
    for (const { reject } of this.#asked.splice(0)) reject(away());
    for (const [ref, entry] of this.#waiting) {
      // These must not be sent for ever; the server doesn't say which one it means.
      if (code === TOO_LONG && entry.sentAt) {
        const error = new ChatError('The server may have found this message too long.', { code: 'too_long', final: true });
        this.#settle(ref, ({ reject }) => reject(error));
      }
      entry.sentAt = 0;
    }
    if (over) this.#fail(over);
    this.emit('lost', code);
  }

  #received(frame) {
    switch (frame.type) {
      case 'message':
      case 'edited':
      case 'deleted':
      case 'reacted':
        return this.#heard(frame);
      case 'history':
      case 'results':
        return this.#asker(frame.type)?.resolve(frame);
      case 'ack':
        // Not `#seen`: an ack may overtake messages that came before it.
        return this.#settle(frame.ref, ({ resolve }) => resolve({ id: frame.id, timestamp: frame.timestamp }));
      case 'presence':
        this.emit('presence', frame);
        if (this.#readying) this.emit('ready');
        this.#readying = false;
        return;
      case 'error':
        return this.#refused(frame);
      case 'pong':
        return;
      default:
        this.emit(frame.type, frame);
    }
  }

  #heard(frame) {
    const id = frame.change ?? frame.id;
    if (id <= this.#seen) return;
    this.#seen = id;
    this.emit(frame.type, frame);
  }

  #refused({ code, message, ref }) {
    // The server no longer keeps the message that we continued from; the latest messages follow.
    if (code === 'reload') {
      this.#seen = '';
      return this.emit('reset');
    }
    const error = new ChatError(message, { code, final: !PASSING_ERRORS.includes(code) });
    if (!this.#waiting.has(ref)) {
      // An error with a `ref` is about a change that the caller has sent by itself.
      const asker = ref === undefined ? this.#refusedAsker(code) : undefined;
      asker?.reject(error);
      // Somebody waits for a search; a page of history may be loaded in the background.
      return asker?.type === 'results' ? undefined : this.emit('problem', error, ref);
    }
    // Anything that may be stored later is sent again.
    if (error.final) this.#settle(ref, ({ reject }) => reject(error));
    else this.emit('problem', error, ref);
  }

  /** The call that an error with this code refuses. */
  #refusedAsker(code) {
    if (SEARCH_ERRORS.includes(code)) return this.#asker('results');
    return code === 'unavailable' ? this.#asked.shift() : undefined;
  }

  #sendAgain() {
    if (this.connection.state !== 'open' || this.connection.queued) return;
    const now = performance.now();
    for (const entry of this.#waiting.values()) if (now - entry.sentAt > CONFIRMED) this.#transmit(entry);
  }
}

/**
 * A WebSocket that reconnects by itself: random growing delays, a paced queue, no silent death.
 *
 * `state` is `idle`, `connecting`, `open`, `waiting` (will try again), `stopped` (tries again only when told to) or
 * `over` (the server has closed this room to us for good); `error` says why.
 */
export class Connection {
  state = 'idle';
  error = null;

  #hooks;
  #socket = null;
  #attempts = 0;
  #turn = 0; // separates the current attempt from late events of earlier ones
  #timer;
  #pulse;
  #heard = 0;
  #asked = 0;
  #queue = [];
  #allowance = BURST;
  #refilled = 0;
  #pacing;
  #listeners = null;

  /**
   * `dial()` returns `{url, protocols}`, or throws; an error with `final` set ends the attempts.
   * The connection calls `opened()`, `received(frame)`, `closed({code, reason, over})` and `changed()` when these things happen.
   * `probe` is a frame that the server answers.
   */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  open() {
    if (this.#listeners) return;
    this.#listeners = new AbortController();
    const { signal } = this.#listeners;
    const page = globalThis.document;
    const hurry = () => this.state === 'waiting' && !page?.hidden && this.retryNow();
    globalThis.addEventListener?.('online', hurry, { signal });
    page?.addEventListener('visibilitychange', hurry, { signal });
    // Perhaps only the network changed: a new connection shows that long before the old one is missed.
    globalThis.addEventListener?.('offline', () => this.state === 'open' && this.renew(), { signal });
    this.#attempts = 0;
    this.#attempt();
  }

  close() {
    this.#listeners?.abort();
    this.#listeners = null;
    this.#drop();
    this.#become('idle');
  }

  /** Tries again at once instead of waiting; does nothing while open or connecting. */
  retryNow() {
    if (this.state === 'waiting' || this.state === 'stopped') this.#attempt();
  }

  /** Drops this connection and makes another, at once or after the usual delay. */
  renew(later = false) {
    if (!this.#listeners || this.state === 'over') return;
    this.#drop();
    this.#hooks.closed({});
    if (later) this.#wait(null);
    else this.#attempt();
  }

  /** Sends soon, in order; returns `false` without a connection. */
  send(frame) {
    if (this.state !== 'open') return false;
    this.#queue.push(JSON.stringify(frame));
    this.#drain();
    return true;
  }

  /** How many frames wait for their turn. */
  get queued() {
    return this.#queue.length;
  }

  async #attempt() {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.#become('connecting', this.error);
    let where;
    try {
      where = await this.#hooks.dial();
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error.final) this.#become(error.status === 404 ? 'over' : 'stopped', error);
      else this.#wait(error);
      return;
    }
    if (turn !== this.#turn) return;
    const WebSocket = this.#hooks.WebSocket ?? globalThis.WebSocket;
    const socket = new WebSocket(where.url, where.protocols);
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.close(), OPENING);
    let opened = false;
    // The close event follows, and says the same.
    socket.onerror = () => {};
    socket.onopen = () => {
      if (turn !== this.#turn) return;
      opened = true;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => (this.#attempts = 0), SETTLED);
      this.#heard = performance.now();
      this.#pulse = setInterval(() => this.#watch(), 5_000);
      this.#become('open');
      this.#hooks.opened();
    };
    socket.onmessage = ({ data }) => {
      if (turn !== this.#turn) return;
      this.#heard = performance.now();
      this.#asked = 0;
      const frame = parse(data);
      if (frame) this.#hooks.received(frame);
    };
    socket.onclose = ({ code, reason }) => {
      if (turn !== this.#turn) return;
      this.#drop();
      const over = farewell(code, reason);
      this.#become(over ? 'over' : 'waiting', over);
      const left = this.#turn;
      this.#hooks.closed({ code, reason, over });
      // The hook may have closed this connection for good, or started another.
      if (over || left !== this.#turn) return;
      this.#wait(opened ? null : new ChatError("The server didn't open this room."));
    };
  }

  #wait(error) {
    const most = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts++);
    this.#become('waiting', error);
    const delay = (error?.retryAfter ?? 0) + Math.random() * most;
    this.#timer = setTimeout(() => this.#attempt(), delay);
  }

  #drop() {
    this.#turn++;
    clearTimeout(this.#timer);
    clearTimeout(this.#pacing);
    clearInterval(this.#pulse);
    this.#pacing = undefined;
    this.#queue = [];
    this.#asked = 0;
    this.#socket?.close();
    this.#socket = null;
  }

  // A page can't see the pings of the WebSocket layer, so it has to ask in order to notice that the network vanished
  // silently.
  #watch() {
    const now = performance.now();
    if (this.#asked && now - this.#asked > ANSWER) {
      this.renew(true);
    } else if (this.#hooks.probe && !this.#asked && now - this.#heard > QUIET) {
      this.#asked = now;
      this.send(this.#hooks.probe);
    }
  }

  #drain() {
    if (this.#pacing) return;
    const now = performance.now();
    this.#allowance = Math.min(BURST, this.#allowance + ((now - this.#refilled) / 1000) * RATE);
    this.#refilled = now;
    while (this.#queue.length && this.#allowance >= 1) {
      this.#allowance--;
      this.#socket.send(this.#queue.shift());
    }
    if (!this.#queue.length) return;
    this.#pacing = setTimeout(() => {
      this.#pacing = undefined;
      this.#drain();
    }, 1000 / RATE);
  }

  #become(state, error = null) {
    this.state = state;
    this.error = error;
    this.#hooks.changed();
  }
}

/** The address of a WebSocket at a server. */
export function socketUrl(server, path) {
  const url = new URL(path, server);
  url.protocol = url.protocol.replace('http', 'ws');
  return url;
}

/** A new `ref`. It does not use `randomUUID`, which pages over plain HTTP don't have. */
export function randomRef() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Why a close is final (PROTOCOL section 9), as an error; `null` if another attempt may help. */
function farewell(code, reason) {
  if (code === 1008 ? PASSING_CLOSES.test(reason) : reason !== 'room_deleted') return null;
  const message = FAREWELLS[reason] ?? 'The server has shut this room to you.';
  return new ChatError(message, { code: reason, final: true });
}

const away = () => new ChatError('There is no connection at the moment.', { code: 'away' });

/** An interval that does not keep a Node program running. */
function every(time, work) {
  const timer = setInterval(work, time);
  timer.unref?.();
  return timer;
}

function parse(data) {
  try {
    const frame = JSON.parse(data);
    return frame && typeof frame === 'object' ? frame : null;
  } catch {
    return null; // not a frame of this protocol, such as the answer to `echo`
  }
}
