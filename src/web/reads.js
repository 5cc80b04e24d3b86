// What is unread: by the marks that the server keeps of how far an account has read, on whichever device.

import { Connection, socketUrl } from './client.js';

const APART = 1_000; // ms between two marks of a room

export class Reads {
  #rooms;
  #timers = new Map();
  /** What tells of rooms that have no connection of their own. */
  #inbox = null;
  /** Whether the server keeps marks. */
  #kept = false;

  /** `rooms` by their keys. */
  constructor(rooms) {
    this.#rooms = rooms;
  }

  /** Whether what is new comes by itself. */
  get live() {
    return this.#inbox?.state === 'open';
  }

  /** Hears from now on what is new in the account's rooms. */
  listen(session) {
    this.close();
    this.#inbox = new Connection({
      dial: async () => ({ url: socketUrl(location.origin, '/inbox'), protocols: [await session.ticket()] }),
      opened: () => this.load(session), // the marks, which the inbox tells only when they move
      received: (frame) => this.#received(frame),
      closed() {},
      changed() {},
      probe: { type: 'ping' },
    });
    this.#inbox.open();
  }

  close() {
    this.#inbox?.close();
    this.#inbox = null;
  }

  #received({ type, room: name, id, timestamp, unread, mentions }) {
    const room = this.#rooms.get(name?.replace(/^monitor:/, 'chat/'));
    if (!room || room.connection.state === 'open') return; // which counts by itself
    if (type === 'news') {
      room.mentions = mentions;
      room.lastTold = Date.parse(timestamp);
      room.readTo('', unread);
    } else if (type === 'read') {
      room.readTo(id ?? '', unread);
    }
  }

  /** Asks how far one has read, and how much is new since. */
  async load(session) {
    const answer = await session.rooms().catch(() => null);
    if (!answer) return;
    this.#kept = true;
    for (const { monitor_hash: hash, moderator, unread, mentions, read, last } of answer.rooms) {
      const room = this.#rooms.get(`chat/${hash}`);
      if (!room) continue;
      room.moderated = moderator;
      room.mentions = mentions;
      room.lastTold = last ? Date.parse(last.timestamp) : 0;
      room.readTo(read ?? '', unread);
    }
  }

  /** Everything of a room has been seen. */
  seen(room) {
    room.unread = room.mentions = 0;
    const last = room.live.messages.findLast(({ event }) => !event)?.key;
    if (this.#kept && room.changeable && last > room.read) room.read = room.untold = last;
  }

  /** Tells the server how far a room has been read, at most once in a while, and without a connection as soon as there is one. */
  tell(room) {
    if (!room.untold || this.#timers.has(room) || !room.connection.send({ type: 'read', id: room.untold })) return;
    room.untold = '';
    this.#timers.set(room, setTimeout(() => {
      this.#timers.delete(room);
      this.tell(room); // even if one has left the room since
    }, APART));
  }
}
