// What is known of a room: its messages in order, what waits to be sent, who is here. Knows no DOM.

import { Changes } from './changes.js';
import { randomRef } from './client.js';
import { complete } from './message.js';
import { Stretch } from './stretch.js';

const OUTBOX_LIMIT = 500;
const FRAME_LIMIT = 16_384; // bytes of a frame, the server's default
const KEPT = 2_000; // messages kept in memory of a room that nobody scrolls back in
const TYPING = 5_000; // ms that a sign of typing lasts
export const TOO_LONG = 1009; // RFC 6455 §7.4.1

/**
 * A room of any door. Doors extend it with `open`, `close`, `frameOf`, `transmit`, `loadOlder`, and where one can jump far
 * back `loadNewer` and `loadAround(key)`.
 */
export class Room {
  /** The latest messages, which grow by themselves. */
  live = new Stretch();
  /** The messages that are read: the latest, or others far back. */
  view = this.live;
  #left = null; // what was read before that, so that answers to it can still show it
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
  /** The last message that was seen here; the server may not know yet. */
  seen = '';
  newLine = '';
  /** When something was said last, as the server tells of rooms that are not connected. */
  lastTold = 0;
  /** Whether the server has told how much is unread. */
  isTold = false;
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

  /** Takes in messages as they are said, or of the latest, in any order and any number of times. */
  take(messages) {
    const late = [];
    for (const message of messages) {
      this.#typing.delete(message.from);
      this.#meet(message);
      if (!this.live.append(message)) {
        late.push(message);
        continue;
      }
      if (!this.ready || message.own || message.event) continue;
      if (!this.watched()) this.unread++;
      this.heard(message);
    }
    for (const message of late) {
      const known = this.live.find(message.key);
      if (known) complete(known, message);
    }
    this.live.insert(late);
    this.#join();
    this.changed();
  }

  /** Takes in a page of history that belongs to `stretch`. */
  takeInto(stretch, messages) {
    for (const message of messages) this.#meet(message);
    stretch.insert(messages);
    if (stretch === this.view) this.#join();
    this.changed();
  }

  /** Reads on in `stretch`. */
  readIn(stretch) {
    if (this.view !== this.live) this.#left = this.view;
    this.view = stretch;
    this.#join();
    this.changed();
  }

  /** Goes back to the latest messages, if others are read. */
  toLatest() {
    if (this.view !== this.live) this.readIn(this.live);
  }

  /** Forgets the messages, as they can't be continued without a gap. */
  forget() {
    this.view = this.live = new Stretch();
    this.#left = null;
    this.changes.forget();
    this.ready = false;
    this.loading = false;
    this.changed();
  }

  /** Drops the oldest messages of a long session; they can be loaded again. */
  trim() {
    const surplus = this.live.messages.length - KEPT;
    if (this.view === this.live && surplus >= KEPT / 4) this.live.drop(surplus);
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

  /** How many bytes of the server's limit a text leaves, as what it would be sent as now. */
  spare(text) {
    const [ref, { editing, answering }] = [randomRef(), this];
    const frame = editing ? { type: 'edit', id: editing.message.key, text, ref } : this.frameOf({ ref, text, answers: answering?.key });
    return FRAME_LIMIT - new TextEncoder().encode(JSON.stringify(frame)).length;
  }

  /** Puts a text back to where new messages are written, before what is there. */
  giveBack(text) {
    this.draft = [text, this.draft].filter(Boolean).join('\n');
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

  /** Sends all that waits and was not sent by this connection yet, in order. */
  flush() {
    for (const entry of this.outbox) if (!entry.failed && !entry.sentAt) this.transmit(entry);
    this.changes.flush();
  }

  /** When something was said here last, as far as it is known; 0 if never. */
  get lastSaid() {
    return this.live.messages.findLast(({ event }) => !event)?.time ?? this.lastTold;
  }

  /** The message with this key, if it is in memory. */
  find(key) {
    return this.view.find(key) ?? this.live.find(key) ?? this.#left?.find(key);
  }

  /**
   * Brings what is read to where this message is, or was if it is gone; whether it is there. Throws if that can't be told
   * now.
   */
  async reach(key) {
    while (!this.ready && ['open', 'connecting'].includes(this.connection.state)) {
      if (this.find(key)) break;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    if (this.view.find(key)) return true;
    if (this.live.first?.key <= key || !this.live.older) this.toLatest();
    else await this.loadAround(key);
    return Boolean(this.view.find(key));
  }

  /** All that was said before has come. What came meanwhile is counted now, if it is known how far one has read. */
  arrive() {
    this.ready = true;
    if (this.isTold) this.readTo('');
    this.changed();
  }

  /** One has read up to this message, perhaps on another device; `told` is how many are new since, if that is known. */
  readTo(key, told) {
    this.isTold ||= told !== undefined;
    if (key > this.read) this.read = key;
    const { first, older, messages } = this.live;
    // Counted here if all that may be unread is here; the server may have counted before the last of them came.
    if (this.ready && first && (first.key <= this.read || !older)) {
      this.unread = messages.filter(({ key, own, event, deleted }) => key > this.read && key > this.seen && !own && !event && !deleted).length;
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

  #meet(message) {
    if (message.name) this.names.set(message.from, message.name);
    this.changes.apply(message);
  }

  /** What is read has come to where the latest messages begin: from there on it is those. */
  #join() {
    const { view, live } = this;
    if (view === live || (view.newer && !(view.last.key >= live.first?.key))) return;
    for (const message of live.messages) view.append(message);
    view.newer = false;
    this.live = view;
  }
}
