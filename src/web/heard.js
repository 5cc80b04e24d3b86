// Reads new messages out: each once, politely, and not all of a crowd.

import { snippet } from './message.js';

const AT_ONCE = 10; // messages within a while; of more it is only said how many
const WHILE = 10_000; // ms

export class Heard {
  #region;
  #recent = 0;
  #more = 0;

  /** `region` is what screen readers watch. */
  constructor(region) {
    this.#region = region;
  }

  take(message, room) {
    if (++this.#recent > AT_ONCE) {
      this.#more++;
      return;
    }
    if (this.#recent === 1) setTimeout(() => this.#rest(), WHILE);
    this.#read(`${message.name || room.nameOf(message.from)}: ${snippet(message.text, 500)}`);
  }

  #rest() {
    if (this.#more) this.#read(`And ${this.#more} more messages.`);
    this.#recent = this.#more = 0;
  }

  #read(line) {
    const node = document.createElement('p');
    node.textContent = line;
    this.#region.append(node);
    // Read by now; what stays would be found again by who walks through the page.
    setTimeout(() => node.remove(), WHILE);
  }
}
