// An open room: anybody enters it with a name of their own (PROTOCOL section 7).

import { request } from './api.js';
import { Connection, GONE, socketUrl } from './client.js';
import { messageOf } from './message.js';
import { Room } from './room.js';
import { sentence } from './sentences.js';

const ECHOED = 10_000; // ms in which a sent message comes back, or the connection is taken for dead
const RENEWED = 300_000; // ms between two tokens while one is connected; one lives an hour by default
const MARKS = 10_000; // events that are recognized when they come again; the door shows fewer
const NAME_TAKEN = 202;
const CHANGED = 'The passphrase of this room has been changed, or your way in has expired. Enter it again.';

/** All rooms but the hidden ones. */
export const listOpenRooms = () => request('GET', '/chats/all');

/** Makes a room of `{title, description, visibility, password}`; its `key`, if there is one, allows to change it. */
export async function createOpenRoom(room) {
  let key = '';
  const headers = (them) => (key = them.get('X-Room-Key') ?? '');
  return { ...(await request('POST', '/chats', { body: room, headers })), key };
}

/** Finds a room by number or title, also one that is not listed. */
export const findOpenRoom = (id) => request('GET', `/chats/${encodeURIComponent(id)}`);

export class OpenRoom extends Room {
  #id;
  #token = '';
  #events = new Set(); // events carry no id: what was taken in is known by its contents, time included
  #count = 0;
  #held = null; // live frames, while the events before them are being read
  #entered = false;
  #answered = () => {}; // the server has answered what one entered with: one is in, or refused
  #watchdog;
  #renewal;
  /** The passphrase and the key to change the room, of who made it; kept as long as the page. */
  secret = '';
  changeKey = '';

  constructor(info) {
    super(`open/${info.id}`, info.title, info.description, '');
    this.#id = info.id;
    this.path = `/chats/${info.id}`;
    this.update(info);
    this.live.older = false;
    this.connection = new Connection({
      dial: () => this.#dial(),
      opened: () => this.#opened(),
      received: (frame) => this.#received(frame),
      closed: (how) => this.#closed(how),
      changed: () => this.changed(),
    });
  }

  /** Takes over what the server says of the room now. */
  update({ title, description, visibility }) {
    this.title = title;
    this.about = description;
    this.visibility = visibility;
    this.closed = visibility !== 'public';
  }

  /** Whether a name was chosen and, for a closed room, the passphrase was right. */
  get entered() {
    return this.#entered;
  }

  /** Enters under a name; throws an error with a sentence if the server won't have it. */
  async enter(name, typed) {
    this.me = name;
    if (this.closed) {
      await this.#admit(this.secret || typed).catch((error) => {
        // Perhaps it has been changed: the next one is typed.
        if (this.secret && [401, 404].includes(error.status)) this.secret = '';
        refused(error);
      });
    }
    this.problem = '';
    this.ready = false;
    this.#entered = true;
    this.connection.open();
  }

  /** Gives the room other properties. */
  async change(fields) {
    const { secret } = this;
    // Before the answer: the server may close the connection first, and one enters again by the new passphrase.
    if (fields.password) this.secret = fields.password;
    try {
      this.update(await request('PUT', this.path, { body: fields, bearer: this.#token || this.changeKey || undefined }));
    } catch (error) {
      this.secret = secret;
      throw error;
    }
    this.changed();
  }

  /** Deletes the room, for everybody. */
  async remove() {
    await request('DELETE', this.path, { bearer: this.#token || this.changeKey || undefined });
  }

  open() {
    if (this.#entered) this.connection.open();
  }

  close() {
    this.#rest();
    this.#held = null;
    this.connection.close();
    this.interrupted({});
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
    if (!this.connection.send(this.frameOf(entry))) return;
    entry.sentAt = performance.now();
    entry.tried = true;
  }

  loadOlder() {} // the door keeps the last events only

  async #dial() {
    await this.#ask();
    return { url: socketUrl(location.origin, `${this.path}/ws`), protocols: this.#token ? [this.#token] : [] };
  }

  // A page can't see why a WebSocket is refused; asking for the room, or for a new token, tells.
  async #ask() {
    try {
      if (this.#token) {
        await this.#renew();
      } else if (this.closed && this.secret) {
        await this.#admit(this.secret);
      } else {
        this.update(await request('GET', this.path));
        if (this.closed) this.#turnedOut(CHANGED);
      }
    } catch (error) {
      error.final = error.status >= 400 && error.status < 500 && error.status !== 429;
      // A hidden room is told from none only to who may enter it.
      if (error.status === 404 && this.visibility !== 'hidden') error.message = GONE;
      else if (error.final) this.#turnedOut(CHANGED);
      throw error;
    }
  }

  /** Gets a token by the passphrase; there is none for a room that is open to everybody by now. */
  async #admit(secret) {
    const { token = '' } = await request('POST', `${this.path}/token`, { body: { secret, name: this.me } });
    this.#token = token;
    this.closed = Boolean(token);
  }

  async #renew() {
    try {
      const answer = await request('GET', `${this.path}/token/renew`, { bearer: this.#token });
      if (this.#token) this.#token = answer.token ?? this.#token; // one may have left meanwhile
    } catch (error) {
      if (!this.secret || ![401, 403, 404].includes(error.status)) throw error;
      await this.#admit(this.secret);
    }
  }

  async #opened() {
    const live = (this.#held = []);
    const answered = new Promise((resolve) => (this.#answered = resolve));
    this.connection.send(this.#frame('join', ''));
    this.#rest();
    this.#watchdog = setInterval(() => this.#checkEchoes(), ECHOED / 2);
    // The way back in must not expire meanwhile.
    this.#renewal = setInterval(() => this.#token && this.#renew().catch(() => {}), RENEWED);
    const bearer = this.#token || undefined;
    const [events, room] = await Promise.all([
      request('GET', `/chats/events/${this.#id}`, { bearer }).catch(() => null),
      request('GET', this.path, { bearer }).catch(() => null),
      answered,
    ]);
    if (this.#held !== live) return; // left, or lost, in the meantime
    // Without the events, what was stored before the connection broke would be said again.
    if (!events) return this.connection.renew(true);
    this.#held = null;
    for (const { username } of room?.users ?? []) this.people.add(username);
    for (const event of [...events, ...live]) if (!this.#events.has(markOf(event))) this.#arrived([event]);
    this.ready = true;
    this.problem = '';
    // What the events show was said before the connection broke; only the rest is said again.
    this.flush();
    this.changed();
  }

  #rest() {
    clearInterval(this.#watchdog);
    clearInterval(this.#renewal);
  }

  #closed(how) {
    this.#rest();
    this.#held = null;
    this.interrupted(how);
    if (how.reason) this.problem = ''; // the same in other words
    if (how.reason === 'room_changed') {
      // Who knows the passphrase, or needs none any more, stays where they write, and enters again.
      this.#token = '';
      this.ready = false;
      this.connection.close();
      this.connection.open();
    }
  }

  #received(frame) {
    if (frame.event_type === 'error' || (frame.event_type === 'join' && frame.name === this.me)) this.#answered();
    if (frame.event_type === 'error') return this.#refused(frame);
    if (this.#held) this.#held.push(frame);
    else this.#arrived([frame]);
  }

  #arrived(frames) {
    const messages = [];
    for (const frame of frames) {
      const { event_type: type, name, msg, time } = frame;
      this.#events.add(markOf(frame));
      if (this.#events.size > MARKS) this.#events.delete(this.#events.values().next().value);
      if (type === 'join') this.people.add(name);
      if (type === 'leave') this.people.delete(name);
      const own = type === 'send' && name === this.me;
      if (own) this.#echoed(msg);
      const id = String(++this.#count).padStart(12, '0');
      const message = messageOf({ id, user: name, text: msg, timestamp: time }, this.me);
      messages.push({ ...message, own, event: type === 'send' ? '' : type });
    }
    this.take(messages);
  }

  #echoed(text) {
    // Not by the time: the clocks of page and server may differ by hours.
    const entry = this.outbox.find((other) => other.tried && !other.failed && other.text === text);
    if (entry) this.drop(entry);
  }

  #refused({ code, error, field }) {
    if (code === NAME_TAKEN && !this.ready) {
      this.#turnedOut(`The name “${this.me}” is taken. Choose another.`);
      return;
    }
    if (code === NAME_TAKEN) {
      // Perhaps the server has not noticed yet that the earlier connection is gone.
      this.connection.renew(true);
      this.problem = `The name “${this.me}” is still taken; it is tried again.`;
      return;
    }
    this.problem = sentence({ code, error, field });
    const flying = this.outbox.filter((entry) => entry.sentAt && !entry.failed);
    if (flying.length === 1) this.fail(flying[0], this.problem);
    this.changed();
  }

  #turnedOut(why) {
    this.problem = why;
    this.#entered = false;
    this.#token = this.secret = '';
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

function refused(error) {
  if (error.status === 401) error.message = 'That is not the passphrase of this room.';
  throw error;
}

const markOf = ({ event_type, name, msg, time }) => JSON.stringify([event_type, name, msg, time]);
