// Changes of a room's messages: those that come, and those that are asked for and not answered yet. Knows no DOM.

import { randomRef } from './client.js';
import { amend } from './message.js';

const REMEMBERED = 500; // changes, for messages that are loaded after them
const AGAIN = 5_000; // ms after which one that the server could not take yet is asked for again
const PASSING = ['rate_limited', 'unavailable', 'overloaded', 'unknown'];

const ANSWERS = { edit: 'edited', delete: 'deleted', react: 'reacted' };

const SENTENCES = {
  no_such_message: 'That message is not there any more.',
  not_yours: 'Only who said a message can change it.',
  too_late: 'That message is too old to be edited.',
  bad_emoji: 'That is no emoji, or this message has all the reactions that it may have.',
};

export class Changes {
  #room;
  #came = []; // the latest, oldest first
  #asked = new Map(); // by ref
  #again = 0; // a timer
  #done = new Set(); // refs of what was made; who asked again, since a connection was lost, is refused

  constructor(room) {
    this.#room = room;
  }

  /** Takes in a frame `edited`, `deleted` or `reacted`. */
  take(frame) {
    this.#came.push(frame);
    if (this.#came.length > REMEMBERED) this.#came.shift();
    const message = this.#room.find(frame.id);
    const found = this.#room.found.get(frame.id);
    if (found) amend(found, frame);
    if (message) {
      amend(message, frame);
      if (frame.type !== 'reacted') this.#repaintAnswers(frame.id);
    }
    if (frame.user === this.#room.me) this.#settle(frame);
    this.#room.changed();
  }

  /** Brings a message that is loaded now up to date with changes that came before it. */
  apply(message) {
    for (const frame of this.#came) if (frame.id === message.key) amend(message, frame);
  }

  /** Forgets what came: others may have come since that nobody told. */
  forget() {
    this.#came = [];
  }

  /** Asks for a change, `{type, id, …}`, now or as soon as there is a connection. */
  ask(change) {
    const ref = randomRef();
    this.#asked.set(ref, change);
    this.#room.connection.send({ ...change, ref });
    this.#room.changed();
  }

  /** Asks again for all that was not answered. */
  flush() {
    for (const [ref, change] of this.#asked) this.#room.connection.send({ ...change, ref });
  }

  /** How many changes are not answered yet. */
  get waiting() {
    return this.#asked.size;
  }

  /** Takes an error frame if it belongs to a change, and gives the sentence to show, perhaps an empty one. */
  refused({ code, message, ref }) {
    if (this.#done.delete(ref)) return this.#room.problem;
    const change = this.#asked.get(ref);
    if (!change) return null;
    if (PASSING.includes(code)) {
      // One for all of them: each would ask for all.
      this.#again ||= setTimeout(() => {
        this.#again = 0;
        this.flush();
      }, AGAIN);
      return 'Your change could not be stored yet; it is tried again.';
    }
    this.#asked.delete(ref);
    // It is as it was wished to be: by an earlier attempt, or by another device.
    if (code === 'unchanged' || (change.type === 'delete' && code === 'no_such_message')) return '';
    return this.#failed(change, SENTENCES[code] ?? message);
  }

  /** The server has closed the connection because of a frame that was too long: no edit is to be sent for ever. */
  tooLong() {
    for (const [ref, change] of this.#asked) {
      if (change.type !== 'edit') continue;
      this.#asked.delete(ref);
      this.#room.problem = this.#failed(change, 'The server may have found this text too long.');
    }
  }

  /** Gives the sentence to show. What was written is not lost. */
  #failed(change, why) {
    if (change.type !== 'edit') return why;
    this.#room.giveBack(change.text);
    return `${why} What you wrote is where you write new messages.`;
  }

  #repaintAnswers(id) {
    for (const other of this.#room.view.messages) if (other.answers === id) other.version++;
  }

  #settle({ type, id, emoji, on, text }) {
    for (const [ref, change] of this.#asked) {
      const same = change.id === id && ANSWERS[change.type] === type && change.emoji === emoji && change.on === on;
      if (!same || (type === 'edited' && change.text !== text)) continue;
      this.#asked.delete(ref);
      this.#done.add(ref);
      if (this.#done.size > REMEMBERED) this.#done.delete(this.#done.values().next().value);
      return;
    }
  }
}
