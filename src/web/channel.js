// A room of one's monitors, by the channel protocol (PROTOCOL section 5).

import { socketUrl } from './api.js';
import { Connection } from './connection.js';
import { messageOf } from './message.js';
import { Room } from './room.js';

const PAGE = 200; // messages a request of history
const CONFIRMED = 10_000; // ms after which an unconfirmed message is sent again, under the same ref
const TYPING_EVERY = 3_000;
const PASSING = ['rate_limited', 'unavailable', 'overloaded']; // errors that trying again may cure

export class Channel extends Room {
  #seen = ''; // the last id that came in room order: what a new connection continues from
  #toldTyping = -TYPING_EVERY;
  #again;

  /** `chat` as `/login` lists it; `session.ticket()` gives a connection token. */
  constructor(chat, session) {
    const about = [chat.organization_name, chat.short_description].filter(Boolean).join(' · ');
    super(`chat/${chat.monitor_hash}`, chat.title || chat.monitor_hash, about, session.email);
    this.link = chat.project_url ?? '';
    this.path = `/channel/${encodeURIComponent(chat.monitor_hash)}`;
    this.changeable = true;
    this.connection = new Connection({
      dial: async () => {
        const token = await session.ticket();
        const url = socketUrl(this.path);
        if (this.#seen) url.searchParams.set('since', this.#seen);
        return { url, protocols: [token] };
      },
      opened: () => this.#opened(),
      received: (frame) => this.#received(frame),
      closed: (how) => this.#closed(how),
      changed: () => this.changed(),
      probe: { type: 'ping' },
    });
  }

  open() {
    this.connection.open();
    this.#again ??= setInterval(() => this.#sendAgain(), CONFIRMED / 2);
  }

  close() {
    clearInterval(this.#again);
    this.#again = undefined;
    this.connection.close();
  }

  frameOf({ ref, text, answers }) {
    return { type: 'message', text, ref, reply_to: answers || undefined };
  }

  transmit(entry) {
    if (!this.connection.send(this.frameOf(entry))) return;
    entry.sentAt = performance.now();
    this.#toldTyping = -TYPING_EVERY; // a message ends the sign of typing for those who see it
  }

  loadOlder() {
    if (this.loading || !this.ready || !this.older) return;
    this.loading = this.connection.send({ type: 'history', before: this.messages[0]?.key, limit: PAGE });
    this.changed();
  }

  tellTyping() {
    if (performance.now() - this.#toldTyping < TYPING_EVERY) return;
    if (this.connection.send({ type: 'typing' })) this.#toldTyping = performance.now();
  }

  #opened() {
    // Without an id to continue from, the latest messages follow, whatever was here.
    if (!this.#seen) this.forget();
    // The answer comes behind the replay, and so also says that the replay is over.
    this.connection.send({ type: 'presence' });
    this.flush();
  }

  #closed(how) {
    this.loading = false;
    this.interrupted(how);
  }

  #received(frame) {
    switch (frame.type) {
      case 'message':
        return this.#arrived([frame]);
      case 'history':
        return this.#history(frame);
      case 'ack':
        return this.#confirmed(frame);
      case 'presence':
        this.people = new Set(frame.users);
        this.crowd = 0;
        for (const [user, name] of Object.entries(frame.names ?? {})) this.names.set(user, name);
        this.ready = true;
        return this.changed();
      case 'join':
        this.people.add(frame.user);
        if (frame.name) this.names.set(frame.user, frame.name);
        return this.changed();
      case 'members':
        this.crowd = frame.count;
        return this.changed();
      case 'edited':
      case 'deleted':
      case 'reacted':
        if (frame.change > this.#seen) this.#seen = frame.change;
        return this.changes.take(frame);
      case 'notice':
        return this.told(frame);
      case 'leave':
        return this.left(frame.user);
      case 'typing':
        return this.sawTyping(frame.user);
      case 'error':
        return this.#refused(frame);
    }
  }

  #arrived(frames) {
    for (const frame of frames) {
      if (frame.id > this.#seen) this.#seen = frame.id;
      // Shown in its place from now on; it leaves the outbox when the ack names it.
      const mine = frame.user === this.me && this.outbox.find((e) => !e.shownAs && e.sentAt && e.text === frame.text);
      if (mine) mine.shownAs = frame.id;
    }
    this.take(frames.map((frame) => messageOf(frame, this.me)));
  }

  #history({ messages, more }) {
    this.loading = false;
    this.older = messages.length > 0 && more;
    this.#arrived(messages);
  }

  #confirmed({ ref, id, timestamp }) {
    const entry = this.outbox.find((other) => other.ref === ref);
    if (!entry) return;
    this.problem = '';
    this.drop(entry);
    // Not `#seen`: an ack may overtake messages that came before it.
    const { text, answers } = entry;
    this.take([messageOf({ id, timestamp, user: this.me, text, reply_to: answers }, this.me)]);
  }

  #refused(frame) {
    const { code, message, ref } = frame;
    // What we continued from is not kept any more; the latest messages follow.
    if (code === 'reload') {
      this.#seen = '';
      return this.forget();
    }
    this.loading = false;
    this.problem = this.changes.refused(frame) ?? message;
    const meant = this.outbox.find((entry) => entry.ref === ref);
    if (meant && PASSING.includes(code)) this.problem = 'Your message could not be stored yet; it is sent again.';
    else if (meant) this.fail(meant, message);
    this.changed();
  }

  #sendAgain() {
    if (this.connection.state !== 'open' || this.connection.queued) return;
    const now = performance.now();
    for (const entry of this.outbox) {
      if (!entry.failed && now - entry.sentAt > CONFIRMED) this.transmit(entry);
    }
  }
}
