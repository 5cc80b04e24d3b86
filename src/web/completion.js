// What is offered while one writes `@na` or `:na`: people and emoji.

import { el } from './dom.js';
import { findEmoji } from './emoji.js';
import { nameable } from './mentions.js';

const OFFERED = 8;
const BEGUN = /(?:^|[\s(>*_~])(@[^\s@:]{0,30}|:[\w+-]{2,30})$/u;

export class Completion {
  #text;
  #list;
  #offers = []; // [what is put in, what is shown]
  #chosen = 0;
  #begun = '';

  /** Offers in `list`, a listbox, what completes the word at the cursor of `text`. */
  constructor(text, list) {
    this.#text = text;
    this.#list = list;
    text.addEventListener('blur', () => this.close());
    // With the pointer down, not up: the field would have lost the focus by then.
    list.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      const at = [...list.children].indexOf(event.target.closest('li'));
      if (at >= 0) this.#take(at);
    });
  }

  /** Looks at what stands before the cursor. */
  update(room) {
    const { value, selectionStart, selectionEnd } = this.#text;
    const [, begun] = (selectionStart === selectionEnd && value.slice(0, selectionStart).match(BEGUN)) || [];
    this.#begun = begun ?? '';
    this.#offers = begun ? offersFor(begun, room) : [];
    this.#chosen = 0;
    this.#paint();
  }

  close() {
    this.#offers = [];
    this.#paint();
  }

  /** Whether a key was meant for what is offered; then it is done. */
  key({ key, shiftKey }) {
    const { length } = this.#offers;
    if (!length) return false;
    if (key === 'ArrowDown' || key === 'ArrowUp') {
      this.#chosen = (this.#chosen + (key === 'ArrowDown' ? 1 : length - 1)) % length;
      this.#paint();
    } else if ((key === 'Enter' || key === 'Tab') && !shiftKey) {
      this.#take(this.#chosen);
    } else if (key === 'Escape') {
      this.close();
    } else {
      return false;
    }
    return true;
  }

  #take(at) {
    const end = this.#text.selectionStart;
    this.#text.setRangeText(`${this.#offers[at][0]} `, end - this.#begun.length, end, 'end');
    this.close();
    this.#text.dispatchEvent(new Event('input'));
  }

  #paint() {
    const items = this.#offers.map(([, label], i) => {
      const item = el('li', { id: `offer${i}`, role: 'option' }, el('bdi', {}, label));
      item.ariaSelected = String(i === this.#chosen);
      return item;
    });
    this.#list.hidden = !items.length;
    this.#list.replaceChildren(...items);
    if (items.length) this.#text.setAttribute('aria-activedescendant', `offer${this.#chosen}`);
    else this.#text.removeAttribute('aria-activedescendant');
  }
}

function offersFor(begun, room) {
  const part = begun.slice(1).toLowerCase();
  if (begun[0] === ':') return findEmoji(part, OFFERED).map(([name, emoji]) => [emoji, `${emoji} ${name}`]);
  const begins = (name) => name.toLowerCase().split(/[\s.]+/).some((word) => word.startsWith(part));
  const found = nameable(room).filter(([user, name]) => user !== room.me && (begins(user) || begins(name)));
  return found.slice(0, OFFERED).map(([user, name]) => [`@${name}`, name === user ? name : `${name} · ${user}`]);
}
