// The list of messages on screen: a window of a few hundred that moves over a room of any size.

import { avatar, el } from './dom.js';
import { isPictures, markup } from './markup.js';

const STEP = 100; // messages by which the window moves
const MOST = 400; // messages in the document
const NEAR = 900; // px from an end of what is shown at which more is put there
const AT_END = 40; // px from the bottom that count as the bottom
const TOGETHER = 5 * 60_000; // ms in which one author's messages stand under one name
const LONG = 1_600; // characters, or
const TALL = 24; // lines, beyond which a message is shown folded
const SPOKEN = 10; // messages at a time that a screen reader should read out

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });

export class Timeline {
  /** Whether the latest message is in view, and stays so as others arrive; set it to go there with the next paint. */
  pinned = true;

  #log;
  #list;
  #room = null;
  #edition = 0;
  // What is in the document: messages from..to, on the room's scale, and where the room ended then.
  #from = 0;
  #to = 0;
  #end = 0;

  /** `log` scrolls, `list` in it takes the messages; `changed()` asks for a paint. */
  constructor(log, list, changed) {
    this.#log = log;
    this.#list = list;
    log.addEventListener('scroll', () => {
      const { pinned } = this;
      this.pinned = this.#to === this.#end && this.#below() < AT_END;
      // Staying at the end is the list's own doing, and shows nothing new.
      if (!pinned || !this.pinned) changed();
    });
    new ResizeObserver(changed).observe(log);
  }

  show(room) {
    this.#room = room;
    this.#list.replaceChildren();
    this.pinned = true;
    this.#from = this.#to = this.#end = 0;
    this.#edition = -1;
  }

  /** Brings the document in line with the room; `also()` may change what else the log holds. */
  paint(also) {
    const room = this.#room;
    if (!room) return;
    if (this.pinned) room.trim();
    const start = room.base;
    const end = start + room.messages.length;

    const afresh = this.#edition !== room.edition || this.#from < start || this.#to > end;
    let from = afresh ? end : this.#from;
    let to = afresh ? end : this.#to;
    // Where the reader is not at the end, a new edition shows what it showed before, as far as it can.
    if (afresh && !this.pinned && this.#to > start) {
      from = Math.max(start, Math.min(this.#from, end));
      to = Math.min(this.#to, end);
    }
    const above = this.#log.scrollTop;
    if (this.pinned) {
      to = end;
      if (from === to || end - from > MOST) from = Math.max(start, end - (MOST - STEP));
      if (above < NEAR) from = Math.max(start, Math.min(from, Math.max(from - STEP, end - MOST)));
    } else if (above < NEAR && from > start) {
      from = Math.max(start, from - STEP);
      to = Math.min(to, from + MOST);
    } else if (this.#below() < NEAR && to < end) {
      to = Math.min(end, to + STEP);
      from = Math.max(from, to - MOST);
    }

    const spoken = this.pinned && !afresh && from >= this.#from && to - this.#to <= SPOKEN;
    this.#log.setAttribute('aria-live', spoken ? 'polite' : 'off');
    const anchor = this.pinned ? null : this.#anchor(from, to);
    const anchored = anchor?.getBoundingClientRect().top;
    this.#fill(from, to, afresh);
    this.#edition = room.edition;
    this.#end = end;
    also(to === end);
    if (this.pinned) this.#log.scrollTop = this.#log.scrollHeight;
    else if (anchor?.isConnected) this.#log.scrollTop += anchor.getBoundingClientRect().top - anchored;

    if (room.older && this.#from - room.base < STEP && this.#log.scrollTop < 2 * NEAR) room.loadOlder();
  }

  #below() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight;
  }

  /** The first message in view that stays, by which the view is held still. */
  #anchor(from, to) {
    const top = this.#log.getBoundingClientRect().top;
    const items = [...this.#list.children].slice(Math.max(0, from - this.#from), Math.max(0, to - this.#from));
    return items.find((item) => item.getBoundingClientRect().bottom > top) ?? items.at(-1);
  }

  #fill(from, to, afresh) {
    const list = this.#list;
    if (afresh || from >= this.#to || to <= this.#from) {
      list.replaceChildren(this.#items(from, to));
    } else {
      for (let i = this.#from; i < from; i++) list.firstChild.remove();
      for (let i = this.#to; i > to; i--) list.lastChild.remove();
      if (from < this.#from) {
        const first = list.firstChild;
        list.prepend(this.#items(from, this.#from));
        // It may have been the first of its day or author, and no longer is.
        this.#dress(first, this.#from);
      }
      if (to > this.#to) list.append(this.#items(this.#to, to));
    }
    this.#from = from;
    this.#to = to;
  }

  #items(from, to) {
    const nodes = document.createDocumentFragment();
    for (let i = from; i < to; i++) {
      const item = messageItem(this.#room.messages[i - this.#room.base]);
      this.#dress(item, i);
      nodes.append(item);
    }
    return nodes;
  }

  /** What a message shows because of the one before it: the day, or no name of its own. */
  #dress(item, index) {
    const { messages, base } = this.#room;
    const message = messages[index - base];
    const before = messages[index - base - 1];
    const sameDay = before && dayOf(before.time) === dayOf(message.time);
    item.querySelector('.day')?.remove();
    if (!sameDay) item.prepend(el('p', { className: 'day' }, el('span', {}, calendar.format(message.time || 0))));
    const sameAuthor = sameDay && !message.event && !before.event && before.from === message.from;
    const grouped = sameAuthor && message.time - before.time < TOGETHER;
    item.classList.toggle('grouped', Boolean(grouped));
  }
}

/** A message that is not confirmed yet, with what can be done about it. */
export function waitingItem(entry, state, retry, edit) {
  const body = el('div', { className: 'body' }, textOf(entry.text));
  if (entry.failed) {
    const buttons = [el('button', { onclick: retry }, 'Send again'), el('button', { onclick: edit }, 'Edit')];
    body.append(el('p', { className: 'state error' }, entry.failed, ...buttons));
  } else if (state) {
    body.append(el('p', { className: 'state muted' }, state));
  }
  return el('li', { className: 'message own waiting' }, body);
}

function messageItem(message) {
  const date = new Date(message.time || 0);
  const time = el('time', { title: date.toLocaleString(), dateTime: date.toISOString() }, clock.format(date));
  if (message.event) {
    return el('li', { className: 'event muted' }, el('p', { dir: 'auto' }, message.text, ' ', time));
  }
  const name = el('bdi', { className: 'who' }, message.from);
  return el(
    'li',
    { className: message.own ? 'message own' : 'message' },
    avatar(message.from),
    el('div', { className: 'body' }, el('p', { className: 'meta' }, name, ' ', time), textOf(message.text)),
  );
}

function textOf(text) {
  const node = el('div', { className: isPictures(text) ? 'text pictures' : 'text', dir: 'auto' }, markup(text));
  if (text.length <= LONG && text.split('\n', TALL + 1).length <= TALL) return node;
  node.classList.add('folded');
  const unfold = el('button', { className: 'unfold' }, 'Show the whole message');
  unfold.onclick = () => {
    node.classList.remove('folded');
    unfold.remove();
  };
  return el('div', {}, node, unfold);
}

const dayOf = (time) => new Date(time).toDateString();
