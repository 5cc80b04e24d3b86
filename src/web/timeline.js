// The list of messages on screen: a window of a few hundred that moves over a stretch of any length.

import { collapse, dress, messageItem, refresh } from './item.js';

const STEP = 60; // messages by which the window moves
const MOST = 400; // messages in the document
const NEAR = 900; // px from an end of what is shown at which more is put there
const AT_END = 40; // px from the bottom that count as the bottom

export class Timeline {
  /** Whether the latest message is in view, and stays so as others arrive; set it to go there with the next paint. */
  pinned = true;

  #log;
  #list;
  #room = null;
  #stretch = null; // what of the room is shown
  #edition = 0;
  // What is in the document: messages from..to, on the stretch's scale, and where that ended then.
  #from = 0;
  #to = 0;
  #end = 0;
  // Where the log stood when it was last looked at.
  #top = 0;

  /** `log` scrolls, `list` in it takes the messages; `changed()` asks for a paint. */
  constructor(log, list, changed) {
    this.#log = log;
    this.#list = list;
    log.addEventListener('scroll', () => {
      const { pinned } = this;
      // The event comes later than what it tells of, and more may stand below by then: only who goes up leaves the end.
      const isUp = log.scrollTop < this.#top;
      this.#top = log.scrollTop;
      this.pinned = this.#isAtEnd() || (pinned && !isUp);
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

  /** Brings a message into the middle of what is in view, and gives its item; nothing if the room has it not. */
  reveal(key) {
    const { view } = this.#room;
    const index = view.indexOf(key);
    if (index < 0) return undefined;
    const at = view.base + index;
    if (at < this.#from || at >= this.#to) {
      const from = Math.max(view.base, at - STEP);
      this.#fill(from, Math.min(view.base + view.messages.length, at + STEP), true);
    }
    const item = this.#list.children[at - this.#from];
    item.scrollIntoView({ block: 'center' });
    this.#top = this.#log.scrollTop;
    this.pinned = this.#isAtEnd();
    return item;
  }

  /** Brings the document in line with the room; `also()` may change what else the log holds. */
  paint(also) {
    const room = this.#room;
    if (!room) return;
    if (this.pinned) room.trim();
    const { view } = room;
    const start = view.base;
    const end = start + view.messages.length;

    const isOther = this.#stretch !== view;
    const afresh = isOther || this.#edition !== view.edition || this.#from < start || this.#to > end;
    let from = afresh ? end : this.#from;
    let to = afresh ? end : this.#to;
    // Where the reader is not at the end, a new edition shows what it showed before, as far as it can.
    if (afresh && !isOther && !this.pinned && this.#to > start) {
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

    const anchor = this.pinned ? null : this.#anchor(from, to);
    const anchored = anchor?.getBoundingClientRect().top;
    this.#fill(from, to, afresh);
    this.#refresh();
    this.#stretch = view;
    this.#edition = view.edition;
    this.#end = end;
    also(to === end && !view.newer);
    if (this.pinned) this.#log.scrollTop = this.#log.scrollHeight;
    else if (anchor?.isConnected) this.#log.scrollTop += anchor.getBoundingClientRect().top - anchored;
    this.#top = this.#log.scrollTop;

    if (view.older && this.#from - start < STEP && this.#log.scrollTop < 2 * NEAR) room.loadOlder();
    else if (view.newer && end - this.#to < STEP && this.#below() < 2 * NEAR) room.loadNewer();
  }

  #isAtEnd() {
    return this.#to === this.#end && !this.#room?.view.newer && this.#below() < AT_END;
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
        dress(first, ...this.#pair(this.#from), this.#room.newLine);
      }
      if (to > this.#to) list.append(this.#items(this.#to, to));
    }
    const changed = afresh || from !== this.#from || to !== this.#to;
    this.#from = from;
    this.#to = to;
    if (changed) collapse(list, (item) => this.#room.find(item.dataset.key));
  }

  #items(from, to) {
    const nodes = document.createDocumentFragment();
    for (let i = from; i < to; i++) {
      const [message, before] = this.#pair(i);
      const item = messageItem(message, this.#room);
      dress(item, message, before, this.#room.newLine);
      nodes.append(item);
    }
    return nodes;
  }

  /** The message with this index, and the one before it. */
  #pair(index) {
    const { messages, base } = this.#room.view;
    return [messages[index - base], messages[index - base - 1]];
  }

  /** Brings what is shown in line with changes of messages. */
  #refresh() {
    let i = this.#from;
    for (const item of this.#list.children) {
      const [message] = this.#pair(i++);
      if (message.event) continue;
      // What it answers may have been loaded by now.
      if (item.unknown && this.#room.find(message.answers)) message.version++;
      refresh(item, message, this.#room);
    }
  }
}
