// What can be done with a message: a row of buttons on the one that is pointed at, has the focus, or was pressed long.

import { copyText, el, icon, ui } from './dom.js';
import { saidAt } from './item.js';

const HELD = 500; // ms that a long press takes
const STRAYED = 10; // px that a finger may move meanwhile

const ACTIONS = [
  ['react', 'React'],
  ['answer', 'Answer'],
  ['copy', 'Copy text'],
  ['link', 'Copy link'],
  ['edit', 'Edit'],
  ['delete', 'Delete'],
];

export class Tools {
  #list;
  #hooks;
  #bar = el('div', { className: 'message-tools', role: 'toolbar' });
  #buttons = new Map();
  #time = el('span', { className: 'muted' });
  #item = null; // where the bar is
  #held = 0; // the timer of a long press
  #start = null;
  #pointed = []; // where the pointer was last
  #wasHeld = false; // whether a long press has put the bar there
  #lifting = false; // whether the finger of one is still down

  /** `hooks`: `room()`, `act(action, message)`, `jump(key)`, `react(message, emoji)`, `leave()`. */
  constructor(list, hooks) {
    this.#list = list;
    this.#hooks = hooks;
    for (const [action, label] of ACTIONS) {
      const button = el('button', { type: 'button', title: label, ariaLabel: label, tabIndex: -1 }, icon(action));
      button.onclick = () => this.#act(action);
      this.#buttons.set(action, button);
    }
    this.#bar.append(this.#time, ...this.#buttons.values());
    // A pointer that rests, over messages that move, means none of them: a click must not meet another one's buttons.
    // The first that it hears of when it moves again is a move within one.
    for (const kind of ['pointerover', 'pointermove']) {
      list.addEventListener(kind, ({ pointerType, clientX, clientY, target }) => {
        const rests = this.#pointed[0] === clientX && this.#pointed[1] === clientY;
        this.#pointed = [clientX, clientY];
        if (pointerType === 'mouse' && !rests) this.#show(itemOf(target));
      });
    }
    list.addEventListener('pointerleave', ({ pointerType }) => {
      if (pointerType === 'mouse' && !list.contains(document.activeElement)) this.hide();
    });
    list.addEventListener('focusin', ({ target }) => this.#focused(target));
    list.addEventListener('focusout', ({ relatedTarget }) => list.contains(relatedTarget) || this.hide());
    list.addEventListener('keydown', (event) => this.#key(event));
    list.addEventListener('click', (event) => this.#clicked(event));
    list.addEventListener('copy', (event) => this.#copied(event));
    this.#listenForLongPress();
  }

  hide() {
    this.#bar.remove();
    this.#item = null;
  }

  /** Leaves exactly one message of the list to be reached by Tab: the one that had the focus last, or the last. */
  rove() {
    const kept = this.#list.querySelector(':scope > .message[tabindex="0"]');
    const last = [...this.#list.querySelectorAll(':scope > .message')].at(-1);
    if (kept && (kept === last || kept.contains(document.activeElement))) return;
    if (kept) kept.tabIndex = -1;
    if (last) last.tabIndex = 0;
  }

  #show(item) {
    if (item === this.#item) return;
    const message = item && this.#hooks.room().find(item.dataset.key);
    if (!message || message.deleted) return;
    const can = this.#hooks.can(message);
    for (const [action, button] of this.#buttons) button.hidden = !can.includes(action);
    [...this.#buttons.values()].forEach((button, i) => (button.tabIndex = i === this.#first() ? 0 : -1));
    this.#time.textContent = saidAt(message);
    this.#bar.ariaLabel = `Message of ${saidAt(message)}`;
    this.#item = item;
    item.append(this.#bar);
    // At an end of the list a part of it would be out of view, where nobody gets at it.
    this.#bar.style.translate = 'none';
    const [bar, log] = [this.#bar, this.#list.parentElement].map((node) => node.getBoundingClientRect());
    const shift = Math.max(log.top - bar.top, Math.min(0, log.bottom - bar.bottom));
    this.#bar.style.translate = `0 ${shift}px`;
  }

  #first() {
    return [...this.#buttons.values()].findIndex((button) => !button.hidden);
  }

  #focused(target) {
    const item = itemOf(target);
    if (!item) return;
    for (const other of this.#list.querySelectorAll(':scope > [tabindex="0"]')) other.tabIndex = -1;
    item.tabIndex = 0;
    if (target.matches(':focus-visible')) this.#show(item);
  }

  async #act(action) {
    const item = this.#item;
    const room = this.#hooks.room();
    const message = room.find(item?.dataset.key);
    if (!message) return;
    if (action === 'copy') say((await copyText(message.text)) ? 'Copied.' : 'This browser does not let pages copy.');
    else if (action === 'link') say((await copyText(linkOf(room, message))) ? 'Link copied.' : linkOf(room, message));
    else this.#hooks.act(action, message);
    if (this.#wasHeld) this.hide();
  }

  #clicked(event) {
    const { does } = event.target.closest('[data-does]')?.dataset ?? {};
    if (!does) return;
    const [what, which] = does.split(' ');
    if (what === 'jump') return this.#hooks.jump(which);
    const message = this.#hooks.room().find(itemOf(event.target).dataset.key);
    if (message) this.#hooks.react(message, which);
  }

  #key(event) {
    const { key, target } = event;
    const item = itemOf(target);
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target === item) {
      const messages = [...this.#list.querySelectorAll(':scope > .message')];
      const at = messages.indexOf(item);
      const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: messages.length - 1 }[key];
      if (to !== undefined) {
        event.preventDefault();
        messages[to]?.focus();
        if (key === 'ArrowDown' && !messages[to]) this.#hooks.leave();
      } else if (key === 'Enter') {
        event.preventDefault();
        this.#show(item);
        [...this.#buttons.values()][this.#first()]?.focus();
      } else if (key === 'Escape') {
        this.#hooks.leave();
      }
    } else if (this.#bar.contains(target)) {
      const shown = [...this.#buttons.values()].filter((button) => !button.hidden);
      const at = shown.indexOf(target);
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: shown.length - 1 }[key];
      if (to !== undefined) {
        event.preventDefault();
        const next = shown.at(to % shown.length);
        target.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      } else if (key === 'Escape') {
        event.stopPropagation();
        item.focus();
      }
    }
  }

  /** What is selected over several messages is copied with who said what when. */
  #copied(event) {
    const selection = getSelection();
    const range = selection.rangeCount && selection.getRangeAt(0);
    const items = [...this.#list.children].filter((item) => range && range.intersectsNode(item));
    if (items.length < 2) return;
    event.preventDefault();
    const lines = items.map((item) => {
      const text = item.querySelector('.text') ?? item;
      // Begins below the text, or ends above it.
      if (range.comparePoint(text, text.childNodes.length) < 0 || range.comparePoint(text, 0) > 0) return null;
      const part = document.createRange();
      part.selectNodeContents(text);
      if (text.contains(range.startContainer)) part.setStart(range.startContainer, range.startOffset);
      if (text.contains(range.endContainer)) part.setEnd(range.endContainer, range.endOffset);
      const message = this.#hooks.room().find(item.dataset.key);
      if (!message) return part.toString();
      const name = item.querySelector('.who')?.textContent ?? message.from;
      return `[${item.querySelector('time')?.textContent}] ${name}: ${part}`;
    });
    event.clipboardData.setData('text/plain', lines.filter(Boolean).join('\n'));
  }

  #listenForLongPress() {
    const list = this.#list;
    const stop = () => clearTimeout(this.#held);
    list.addEventListener('pointerdown', (event) => {
      stop();
      this.#lifting = false;
      if (this.#bar.contains(event.target)) return;
      this.#wasHeld = false;
      if (event.pointerType === 'mouse') return;
      const item = itemOf(event.target);
      this.hide();
      this.#start = [event.clientX, event.clientY];
      this.#held = setTimeout(() => {
        this.#wasHeld = this.#lifting = true;
        this.#show(item);
      }, HELD);
    });
    list.addEventListener('pointermove', ({ clientX, clientY }) => {
      if (this.#start && Math.hypot(clientX - this.#start[0], clientY - this.#start[1]) > STRAYED) stop();
    });
    for (const end of ['pointerup', 'pointercancel', 'pointerleave']) list.addEventListener(end, stop);
    // The browser's own menu would cover the buttons; a mouse keeps it.
    list.addEventListener('contextmenu', (event) => {
      if (this.#item && this.#wasHeld && event.pointerType !== 'mouse') event.preventDefault();
    });
    // The finger that is lifted after a long press means none of what lies below it, such as the buttons that came up.
    list.addEventListener('click', (event) => {
      if (!this.#lifting) return;
      this.#lifting = false;
      event.preventDefault();
      event.stopPropagation();
    }, { capture: true });
  }
}

/** Tells everybody, screen readers too, for a while. */
export function say(sentence) {
  ui.said.textContent = sentence;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (ui.said.textContent = ''), 4_000);
}

/** The address of a message, for who may enter its room. */
export const linkOf = (room, { key }) => `${location.origin}${location.pathname}#${encodeURIComponent(room.key)}?m=${key}`;

const itemOf = (node) => node.closest?.('#messages > .message');
