// What is known of a room: its messages in order, what waits to be sent, who is here. Knows no DOM.

import { Changes } from './changes.js';
import { randomRef } from './client.js';
import { complete } from './message.js';

const OUTBOX_LIMIT = 500;
const FRAME_LIMIT = 16_384; // bytes of a frame, the server's default
const KEPT = 2_000; // messages kept in memory of a room that nobody scrolls back in
const TYPING = 5_000; // ms that a sign of typing lasts
const TOO_LONG = 1009; // RFC 6455 §7.4.1

/** A room of any door. Doors extend it with `open`, `close`, `frameOf`, `transmit` and `loadOlder`. */
export class Room {
  /** Oldest first, without gaps, as `messageOf` makes them; keys grow. */
  messages = [];
  /** The index of `messages[0]` on a scale that stays when older messages are put in front. */
  base = 0;
  /** Grows when messages changed other than by appending, prepending or dropping the oldest. */
  edition = 0;
  /** Whether there may be messages before the first. */
  older = true;
  /** Whether the first messages, if there are any, have arrived. */
  ready = false;
  loading = false;
  /** Not yet confirmed: `{ref, text, answers, sentAt, shownAs, failed}`. */
  outbox = [];
  changes = new Changes(this);
  /** What a search found, newest first, by key. Doors that can search have a `search(query, page)`. */
  found = new Map();
  /** Whether messages can be answered, reacted to, edited and taken back here. */
  changeable = false;
  people = new Set();
  /** How many people are here, where they are too many to be told one by one. */
  crowd = 0;
  /** The names of accounts, as far as they were told. */
  names = new Map();
  unread = 0;
  /** Whether one may delete what others say, as far as the server said. */
  moderated = false;
  /** How many of the unread messages name oneself, as far as the server said. */
  mentions = 0;
  /** The last message that was read, on any device; and where the line above what is new stands. */
  read = '';
  newLine = '';
  /** When something was said last, as the server tells of rooms that are not connected. */
  lastTold = 0;
  draft = '';
  /** What is being edited, `{message, text}`, and which message is being answered. */
  editing = null;
  answering = null;
  problem = '';
  /** Whether somebody is looking at the latest messages at this moment. */
  watched = () => false;
  /** Called with each message of somebody else that comes while the room is open. */
  heard = () => {};
  /** Called with what the operators tell everybody. */
  told = () => {};
  changed = () => {};
  connection = null;

  #typing = new Map();

  constructor(key, title, about, me) {
    this.key = key;
    this.title = title;
    this.about = about;
    this.me = me;
  }

  /** Takes in messages, in any order and any number of times. */
  take(messages) {
    const late = [];
    for (const message of messages) {
      this.#typing.delete(message.from);
      if (message.name) this.names.set(message.from, message.name);
      this.changes.apply(message);
      if (this.messages.length && message.key <= this.messages.at(-1).key) {
        late.push(message);
        continue;
      }
      this.messages.push(message);
      if (!this.ready || message.own || message.event) continue;
      if (!this.watched()) this.unread++;
      this.heard(message);
    }
    if (late.length) this.#insert(late);
    this.changed();
  }

  /** Forgets the messages, as they can't be continued without a gap. */
  forget() {
    this.messages = [];
    this.base = 0;
    this.edition++;
    this.older = true;
    this.ready = false;
    this.loading = false;
    this.changed();
  }

  /** Drops the oldest messages of a long session; they can be loaded again. */
  trim() {
    const surplus = this.messages.length - KEPT;
    if (surplus < KEPT / 4) return;
    this.messages.splice(0, surplus);
    this.base += surplus;
    this.older = true;
  }

  /** Queues a text; it stays in the outbox until the server has confirmed it. */
  say(text, answers = '') {
    if (this.outbox.length >= OUTBOX_LIMIT) {
      this.problem = `${OUTBOX_LIMIT} messages wait to be sent already; this one was not queued.`;
      this.changed();
      return false;
    }
    const entry = { ref: randomRef(), text, answers, time: Date.now(), sentAt: 0, shownAs: null, failed: '' };
    this.outbox.push(entry);
    this.transmit(entry);
    this.changed();
    return true;
  }

  /** How many bytes of the server's limit a text leaves. */
  spare(text) {
    const frame = this.frameOf({ ref: randomRef(), text });
    return FRAME_LIMIT - new TextEncoder().encode(JSON.stringify(frame)).length;
  }

  /** Sends a failed message again. */
  retry(entry) {
    entry.failed = '';
    this.transmit(entry);
    this.changed();
  }

  /** Takes a message out of the outbox: it is confirmed, or its author gave it up. */
  drop(entry) {
    this.outbox = this.outbox.filter((other) => other !== entry);
    this.changed();
  }

  fail(entry, why) {
    entry.failed = why;
    this.changed();
  }

  /** The connection is gone, and with it the news of who is here and what was stored. */
  interrupted({ code }) {
    this.people = new Set();
    this.crowd = 0;
    for (const entry of this.outbox) {
      // Not to be sent for ever: the server doesn't say which one it means.
      if (code === TOO_LONG && entry.sentAt) entry.failed ||= 'The server may have found this message too long.';
      entry.sentAt = 0;
    }
  }

  /** Sends all that waits, in order. */
  flush() {
    for (const entry of this.outbox) if (!entry.failed) this.transmit(entry);
    this.changes.flush();
  }

  /** Where the message with this key is in memory; -1 if it is not. */
  indexOf(key) {
    let [low, high] = [0, this.messages.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].key < key) low = middle + 1;
      else high = middle;
    }
    return this.messages[low]?.key === key ? low : -1;
  }

  /** When something was said here last, as far as it is known; 0 if never. */
  get lastSaid() {
    return this.messages.findLast(({ event }) => !event)?.time ?? this.lastTold;
  }

  /** The message with this key, if it is in memory. */
  find(key) {
    return this.messages[this.indexOf(key)];
  }

  /** Loads older messages until this one is among them; whether it is. */
  async reach(key) {
    while (!this.find(key)) {
      const [first] = this.messages;
      const { state } = this.connection;
      if (!['open', 'connecting'].includes(state) || (this.ready && (!this.older || first?.key < key))) return false;
      this.loadOlder();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    return true;
  }

  /** One has read up to this message, perhaps on another device; `told` is how many are new since, if that is known. */
  readTo(key, told) {
    if (key > this.read) this.read = key;
    const [first] = this.messages;
    // Counted here if all that may be unread is here; the server may have counted before the last of them came.
    if (this.ready && first && (first.key <= this.read || !this.older)) {
      this.unread = this.messages.filter(({ key, own, event, deleted }) => key > this.read && !own && !event && !deleted).length;
    } else if (told !== undefined) {
      this.unread = told;
    }
    if (!this.unread) this.mentions = 0;
    this.changed();
  }

  /** Whether a name or an address is one's own here. */
  isMe(name) {
    const wanted = name.toLowerCase();
    return [this.me, this.me.split('@')[0], this.nameOf(this.me)].some((own) => own.toLowerCase() === wanted);
  }

  /** What somebody is called here. */
  nameOf(user) {
    return this.names.get(user) ?? user;
  }

  /** The names of those who write at this moment. */
  get typing() {
    const now = performance.now();
    return [...this.#typing].filter(([, until]) => until > now).map(([name]) => name);
  }

  sawTyping(name) {
    if (name === this.me) return;
    this.#typing.set(name, performance.now() + TYPING);
    setTimeout(() => this.changed(), TYPING + 50);
    this.changed();
  }

  left(name) {
    this.#typing.delete(name);
    this.people.delete(name);
    this.changed();
  }

  /** Only doors that can tell others do. */
  tellTyping() {}

  #insert(late) {
    const [first] = this.messages;
    const fresh = [];
    for (const message of late) {
      const known = this.find(message.key);
      if (known) complete(known, message);
      else fresh.push(message);
    }
    fresh.sort(byKey);
    if (!fresh.length) return;
    if (fresh.at(-1).key < first.key) this.base -= fresh.length;
    else this.edition++;
    this.messages = fresh.concat(this.messages);
    if (fresh.at(-1).key >= first.key) this.messages.sort(byKey);
  }
}

const byKey = (a, b) => (a.key < b.key ? -1 : 1);
