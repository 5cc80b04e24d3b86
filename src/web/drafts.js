// What was written and not sent, kept over a reload until its account logs out.

import { keep, kept } from './kept.js';

const STORED = 'drafts';
const SOON = 300; // ms between a key and its being kept

export class Drafts {
  #rooms;
  #email = '';
  #texts = {}; // of rooms that are not known yet
  #timer = 0;
  #written = new Set(); // rooms in which something was written since it was kept

  /** Keeps the drafts of `rooms`, a map. */
  constructor(rooms) {
    this.#rooms = rooms;
    addEventListener('pagehide', () => this.#timer && this.#save());
  }

  /** Begins with what was kept of an account; nothing of another one's. */
  begin(email) {
    if (email === this.#email) return;
    const { email: owner, texts } = kept(STORED) ?? {};
    this.#email = email;
    this.#written.clear();
    this.#texts = owner === email ? { ...texts } : {};
    for (const room of this.#rooms.values()) this.restore(room);
  }

  /** Gives a room its draft, once. */
  restore(room) {
    const text = this.#texts[room.key];
    delete this.#texts[room.key];
    if (typeof text === 'string') room.draft ||= text;
  }

  /** Keeps what is written in a room now, soon. */
  changed(room) {
    this.#written.add(room);
    this.#timer ||= setTimeout(() => this.#save(), SOON);
  }

  /** Forgets all. */
  end() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#email = '';
    this.#texts = {};
    this.#written.clear();
    keep(STORED, null);
  }

  #save() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#email || !this.#written.size) return;
    // Other tabs keep drafts, too: only what was written here is put in the place of what is there.
    const { email: owner, texts: before } = kept(STORED) ?? {};
    const isOurs = owner === this.#email;
    const texts = isOurs ? { ...before } : { ...this.#texts };
    for (const { key, draft } of isOurs ? this.#written : this.#rooms.values()) {
      if (draft) texts[key] = draft;
      else delete texts[key];
    }
    this.#written.clear();
    keep(STORED, Object.keys(texts).length ? { email: this.#email, texts } : null);
  }
}
