// An open room: anybody enters it with a name of their own (PROTOCOL section 7).

import { request, socketUrl } from './api.js';
import { Connection } from './connection.js';
import { Room } from './room.js';

const ECHOED = 10_000; // ms in which a sent message comes back, or the connection is taken for dead
const NAME_TAKEN = 202;

/** The listed rooms, or `null` where the server has no such door. */
export async function listOpenRooms() {
  try {
    return await request('GET', '/chats/all');
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** Makes a room of `{title, description, visibility, password}`. */
export const createOpenRoom = (room) => request('POST', '/chats', { body: room });

/** Finds a room by number or title, also one that is not listed. */
export const findOpenRoom = (id) => request('GET', `/chats/${encodeURIComponent(id)}`);

export class OpenRoom extends Room {
  #id;
  #token = '';
  #events = new Set(); // events carry no id: what was taken in is known by its contents, time included
  #count = 0;
  #held = null; // live frames, while the events before them are being read
  #entered = false;
  #watchdog;

  constructor(info) {
    super(`open/${info.id}`, info.title, info.description, '');
    this.#id = info.id;
    this.closed = info.visibility !== 'public';
    this.path = `/chats/${info.id}`;
    this.older = false;
    this.connection = new Connection({
      dial: () => this.#dial(),
      opened: () => this.#opened(),
      received: (frame) => this.#received(frame),
      closed: (code) => this.#closed(code),
      changed: () => this.changed(),
    });
  }

  /** Whether a name was chosen and, for a closed room, the passphrase was right. */
  get entered() {
    return this.#entered;
  }

  /** Enters under a name; throws an error with a sentence if the server won't have it. */
  async enter(name, secret) {
    if (this.closed) this.#token = await this.#tokenFor(name, secret);
    this.problem = '';
    this.me = name;
    this.ready = false;
    this.#entered = true;
    this.connection.open();
  }

  open() {
    if (this.#entered) this.connection.open();
  }

  close() {
    clearInterval(this.#watchdog);
    this.#held = null;
    this.connection.close();
  }

  /** Goes, and says so. */
  leave() {
    this.connection.send(this.#frame('leave', ''));
    this.close();
    this.#entered = false;
    this.#token = '';
    this.people = new Set();
    this.changed();
  }

  frameOf({ text }) {
    return this.#frame('send', text);
  }

  transmit(entry) {
    if (this.connection.send(this.frameOf(entry))) entry.sentAt = performance.now();
  }

  loadOlder() {} // the door keeps the last events only

  async #tokenFor(name, secret) {
    try {
      return (await request('POST', `${this.path}/token`, { body: { secret, name } })).token;
    } catch (error) {
      throw error.status === 401 ? new Error('That is not the passphrase of this room.') : error;
    }
  }

  async #dial() {
    if (this.#token) await this.#renewToken();
    return { url: socketUrl(`${this.path}/ws`), protocols: this.#token ? [this.#token] : [] };
  }

  // A page can't see why a WebSocket was refused; asking for a new token first tells.
  async #renewToken() {
    try {
      const answer = await request('GET', `${this.path}/token/renew`, { bearer: this.#token });
      this.#token = answer.token ?? this.#token;
    } catch (error) {
      if (error.status < 400 || error.status >= 500 || error.status === 429) throw error;
      this.#turnedOut('Enter the passphrase again: your way in has expired, or the passphrase was changed.');
      error.final = true;
      throw error;
    }
  }

  async #opened() {
    const live = (this.#held = []);
    this.connection.send(this.#frame('join', ''));
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => this.#checkEchoes(), ECHOED / 2);
    const bearer = this.#token || undefined;
    const [events, room] = await Promise.all([
      request('GET', `/chats/events/${this.#id}`, { bearer }).catch(() => []),
      request('GET', this.path, { bearer }).catch(() => null),
    ]);
    if (this.#held !== live) return; // left, or lost, in the meantime
    this.#held = null;
    for (const { username } of room?.users ?? []) this.people.add(username);
    for (const event of [...events, ...live]) if (!this.#events.has(markOf(event))) this.#arrived([event]);
    this.ready = true;
    // What the events show was said before the connection broke; only the rest is said again.
    this.flush();
    this.changed();
  }

  #closed(code) {
    if (code === 1009) this.failLongest();
    clearInterval(this.#watchdog);
    this.#held = null;
    this.people = new Set();
    for (const entry of this.outbox) entry.sentAt = 0;
  }

  #received(frame) {
    if (frame.event_type === 'error') return this.#refused(frame);
    if (this.#held) this.#held.push(frame);
    else this.#arrived([frame]);
  }

  #arrived(frames) {
    const messages = [];
    for (const frame of frames) {
      const { event_type: type, name, msg, time } = frame;
      this.#events.add(markOf(frame));
      if (type === 'join') this.people.add(name);
      if (type === 'leave') this.people.delete(name);
      const own = type === 'send' && name === this.me;
      if (own) this.#echoed(msg, Date.parse(time));
      messages.push({
        key: String(++this.#count).padStart(12, '0'),
        from: String(name),
        text: String(msg),
        time: Date.parse(time),
        own,
        event: type !== 'send',
      });
    }
    this.take(messages);
  }

  #echoed(text, time) {
    // A minute of grace: the clocks of page and server may differ.
    const entry = this.outbox.find((other) => !other.failed && other.text === text && time > other.time - 60_000);
    if (entry) this.drop(entry);
  }

  #refused({ code, error, field }) {
    if (code === NAME_TAKEN && !this.ready) {
      this.#turnedOut(`The name “${this.me}” is taken. Choose another.`);
      return;
    }
    if (code === NAME_TAKEN) {
      // The server has not noticed yet that the earlier connection is gone: try again, later.
      this.connection.renew(true);
      return;
    }
    this.problem = field ? `${error} (${field})` : error;
    const flying = this.outbox.filter((entry) => entry.sentAt && !entry.failed);
    if (flying.length === 1) this.fail(flying[0], this.problem);
    this.changed();
  }

  #turnedOut(why) {
    this.problem = why;
    this.#entered = false;
    this.#token = '';
    this.close();
    this.changed();
  }

  #checkEchoes() {
    const now = performance.now();
    const lost = this.outbox.some((entry) => entry.sentAt && !entry.failed && now - entry.sentAt > ECHOED);
    if (lost && !this.connection.queued) this.connection.renew();
  }

  #frame(event_type, msg) {
    return { event_type, name: this.me, color: '#3b6fd4', msg, room_id: this.#id, time: new Date().toISOString() };
  }
}

const markOf = ({ event_type, name, msg, time }) => JSON.stringify([event_type, name, msg, time]);
