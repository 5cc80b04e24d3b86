// A room of one's monitors, as the client of the channel protocol has it (`clients/js`).

import { messageOf } from './message.js';
import { Room, TOO_LONG } from './room.js';
import { Stretch } from './stretch.js';

const PAGE = 200; // messages a request of history
const AROUND = 100; // messages before and after one to which one jumps
const BEFORE_ALL = '00000000-0000-7000-8000-000000000000'; // an id before that of any message
const TYPING_EVERY = 3_000;
const UNNOTICED = 60_000; // ms in which it is noticed that a connection is dead, at the latest

export class Channel extends Room {
  #line;
  #toldTyping = -TYPING_EVERY;
  #marked = -UNNOTICED; // when it was said last how far one has read
  #unsure = false; // whether that may have been lost with the connection: nothing confirms it

  /** `chat` as `/login` lists it; `session.chat` makes rooms. */
  constructor(chat, session) {
    const about = [chat.organization_name, chat.short_description].filter(Boolean).join(' · ');
    super(`chat/${chat.monitor_hash}`, chat.title || chat.monitor_hash, about, session.email);
    this.link = chat.project_url ?? '';
    this.changeable = true;
    this.#line = session.chat.room(chat.monitor_hash);
    this.connection = this.#line.connection;
    this.#listen({
      state: (state) => this.#changed(state),
      lost: (code) => this.#lost(code),
      reset: () => this.forget(),
      ready: () => this.arrive(),
      message: (frame) => this.#arrived(frame),
      edited: (frame) => this.changes.take(frame),
      deleted: (frame) => this.changes.take(frame),
      reacted: (frame) => this.changes.take(frame),
      read: ({ id }) => this.readTo(id),
      notice: (frame) => this.told(frame),
      presence: (frame) => this.#counted(frame),
      members: ({ count }) => this.#crowded(count),
      join: (frame) => this.#joined(frame),
      leave: ({ user }) => this.left(user),
      typing: ({ user }) => this.sawTyping(user),
      problem: (error, ref) => this.#problem(error, ref),
    });
  }

  open() {
    this.#line.open();
  }

  close() {
    this.#line.close();
  }

  frameOf({ ref, text, answers }) {
    return { type: 'message', text, ref, reply_to: answers || undefined };
  }

  /** Hands a message to the client, which sends it until it is confirmed. */
  transmit(entry) {
    const stored = this.#line.send(entry.text, { ref: entry.ref, replyTo: entry.answers || undefined });
    if (entry.stored !== stored) {
      entry.stored = stored;
      stored.then((place) => this.#confirmed(entry, place), (error) => this.fail(entry, error.message));
    }
    if (this.connection.state !== 'open') return;
    entry.sentAt = performance.now();
    this.#toldTyping = -TYPING_EVERY; // a message ends the sign of typing for those who see it
  }

  /** Says that one has read up to this message; `false` without a connection. */
  mark(key) {
    if (!this.connection.send({ type: 'read', id: key })) return false;
    this.read = key;
    this.#marked = performance.now();
    return true;
  }

  loadOlder() {
    const { view } = this;
    if (view.older) this.#load(view, { before: view.first?.key }, (more) => (view.older = more));
  }

  loadNewer() {
    const { view } = this;
    if (view.newer) this.#load(view, { after: view.last.key }, (more) => (view.newer = more));
  }

  /** Reads on from now at this message, with some before and some after it. */
  async loadAround(key) {
    const before = await this.#line.history({ before: key, limit: AROUND });
    const after = await this.#line.history({ after: before.messages.at(-1)?.id ?? BEFORE_ALL, limit: AROUND });
    const stretch = Object.assign(new Stretch(), { older: before.more, newer: after.more });
    this.takeInto(stretch, [...before.messages, ...after.messages].map((frame) => messageOf(frame, this.me)));
    if (stretch.first) this.readIn(stretch);
  }

  /** `{messages, next}`: those that have all words of `query`, newest first, and where the search goes on. */
  async search(query, page) {
    const { messages, more, next } = await this.#line.search(query, page);
    const found = messages.map((frame) => messageOf(frame, this.me));
    for (const message of found) {
      if (message.name) this.names.set(message.from, message.name);
      this.changes.apply(message);
    }
    return { messages: found, next: more && next ? next : '' };
  }

  tellTyping() {
    if (performance.now() - this.#toldTyping < TYPING_EVERY) return;
    if (this.#line.typing()) this.#toldTyping = performance.now();
  }

  #listen(listeners) {
    for (const [name, listener] of Object.entries(listeners)) this.#line.on(name, listener);
  }

  #changed(state) {
    if (state === 'open') {
      if (this.#unsure) this.#unsure = !this.mark(this.read);
      this.flush();
    }
    this.changed();
  }

  #lost(code) {
    this.loading = false;
    if (code === TOO_LONG) this.changes.tooLong();
    this.#unsure ||= performance.now() - this.#marked < UNNOTICED;
    this.interrupted({});
  }

  #joined({ user, name }) {
    this.people.add(user);
    if (name) this.names.set(user, name);
    this.changed();
  }

  #counted({ users, names }) {
    this.people = new Set(users);
    this.crowd = 0;
    for (const [user, name] of Object.entries(names ?? {})) this.names.set(user, name);
    this.changed();
  }

  #crowded(count) {
    this.crowd = count;
    this.changed();
  }

  #arrived(frame) {
    // Shown in its place from now on; it leaves the outbox when it is confirmed.
    const mine = frame.user === this.me && this.outbox.find((e) => !e.shownAs && e.sentAt && e.text === frame.text);
    if (mine) mine.shownAs = frame.id;
    this.take([messageOf(frame, this.me)]);
  }

  /** Loads a page of history at an end of `stretch`; `told` hears whether there is more in that direction. */
  #load(stretch, from, told) {
    if (this.loading || !this.ready || this.connection.state !== 'open') return;
    this.loading = true;
    this.#line.history({ ...from, limit: PAGE }).then(({ messages, more }) => {
      this.loading = false;
      told(messages.length > 0 && more);
      this.takeInto(stretch, messages.map((frame) => messageOf(frame, this.me)));
    }, () => this.#loaded());
    this.changed();
  }

  #loaded() {
    this.loading = false;
    this.changed();
  }

  #confirmed(entry, { id, timestamp }) {
    this.problem = '';
    this.drop(entry);
    const { text, answers } = entry;
    this.take([messageOf({ id, timestamp, user: this.me, text, reply_to: answers }, this.me)]);
  }

  #problem(error, ref) {
    const mine = this.outbox.some((entry) => entry.ref === ref && !entry.failed);
    const later = mine && 'Your message could not be stored yet; it is sent again.';
    this.problem = this.changes.refused({ code: error.code, message: error.message, ref }) ?? (later || error.message);
    this.changed();
  }
}
