// What is unread: by the marks that the server keeps of how far an account has read, on whichever device.

import { Connection, socketUrl } from './client.js';
import { messageOf } from './message.js';

const APART = 1_000; // ms between two marks of a room

export class Reads {
  #rooms;
  #timers = new Map();
  /** What tells of rooms that have no connection of their own. */
  #inbox = null;
  #session = null; // whose marks these are
  #loaded = false; // whether they have come since the inbox opened
  #heard;
  #told;
  /** Whether the server keeps marks. */
  #kept = false;

  /**
   * `rooms` by their keys; `heard(message, room, named)` is told what is said where there is no connection, `told(notice)`
   * what the operators say.
   */
  constructor(rooms, heard, told) {
    this.#rooms = rooms;
    this.#heard = heard;
    this.#told = told;
    addEventListener('pagehide', () => rooms.forEach((room) => this.tell(room, true)));
  }

  /** Whether what is new comes by itself, and what was before is known. */
  get live() {
    return this.#inbox?.state === 'open' && this.#loaded;
  }

  /** Hears from now on what is new in the account's rooms. */
  listen(session) {
    this.close();
    this.#session = session;
    this.#inbox = new Connection({
      dial: async () => ({ url: socketUrl(location.origin, '/inbox'), protocols: [await session.ticket()] }),
      opened: () => {
        this.#loaded = false;
        this.load(session); // the marks, which the inbox tells only when they move
      },
      received: (frame) => this.#received(frame),
      closed() {},
      changed() {},
      probe: { type: 'ping' },
    });
    this.#inbox.open();
  }

  close() {
    this.#inbox?.close();
    this.#inbox = this.#session = null;
  }

  #received(frame) {
    const { type, room: name, id, timestamp, unread, mentions } = frame;
    if (type === 'notice') return this.#told(frame); // which names no room
    const room = this.#rooms.get(name?.replace(/^monitor:/, 'chat/'));
    if (!room || room.connection.state === 'open') return; // which counts by itself
    if (type === 'news') {
      const time = Date.parse(timestamp);
      // What was unread from the start is no news. A lost connection tells of it itself when it is back.
      const isNew = room.isTold && time > room.lastTold && room.connection.state === 'idle';
      room.mentions = mentions;
      room.lastTold = time;
      room.readTo('', unread);
      if (isNew) this.#heard(messageOf(frame, room.me), room, frame.mention);
    } else if (type === 'read') {
      room.readTo(id ?? '', unread);
    }
  }

  /** Asks how far one has read, and how much is new since. */
  async load(session) {
    const answer = await session.rooms().catch(() => null);
    if (!answer || session !== this.#session) return;
    this.#kept = this.#loaded = true;
    for (const { monitor_hash: hash, moderator, unread, mentions, read, last } of answer.rooms) {
      const room = this.#rooms.get(`chat/${hash}`);
      if (!room) continue;
      room.moderated = moderator;
      room.mentions = mentions;
      room.lastTold = last ? Date.parse(last.timestamp) : 0;
      room.readTo(read ?? '', unread);
    }
  }

  /** Everything of a room has been seen: says so, soon and once. */
  seen(room) {
    room.unread = room.mentions = 0;
    room.seen = room.live.messages.findLast(({ event }) => !event)?.key ?? '';
    this.tell(room);
  }

  /** Says how far one has seen a room, if that is not said yet. What was said a moment ago makes it wait, unless it is `urgent`. */
  tell(room, urgent = false) {
    if (!this.#kept || !room.changeable || room.seen <= room.read || (this.#timers.has(room) && !urgent)) return;
    // Without a connection it is said with the next one.
    if (!room.mark(room.seen)) return;
    clearTimeout(this.#timers.get(room));
    this.#timers.set(room, setTimeout(() => {
      this.#timers.delete(room);
      this.tell(room);
    }, APART));
  }
}
