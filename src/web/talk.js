// The open room: its head, its messages, what is being written, who is here, and whether it is connected.

import { avatar, el, setText, sync, ui } from './dom.js';
import { Timeline, waitingItem } from './timeline.js';

const NAMED = 200; // people listed by name
const TALLEST = 200; // px that the text field grows to

const coarse = matchMedia('(pointer: coarse)');
const wide = matchMedia('(min-width: 70rem)');

export class Talk {
  #page;
  #room = null;
  #timeline;
  #waiting = ''; // what the outbox on screen shows
  #text = ui.text;
  #peopleOpen = wide.matches;

  constructor(page) {
    this.#page = page;
    this.#timeline = new Timeline(ui.log, ui.messages, () => page.paint());
    ui.composer.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener('keydown', (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener('input', () => this.#typed());
    ui.latest.onclick = () => {
      ui.log.focus();
      this.#toEnd();
    };
    ui.peopleButton.onclick = () => {
      this.#peopleOpen = !this.#peopleOpen;
      page.paint();
    };
    ui.people.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      this.#peopleOpen = false;
      ui.peopleButton.focus();
      page.paint();
    });
    ui.offline.lastChild.onclick = () => this.#room?.connection.retryNow();
    ui.problem.lastChild.onclick = () => {
      this.#room.problem = '';
      this.#text.focus();
      page.paint();
    };
    ui.leave.onclick = () => {
      this.#room.leave();
      location.hash = '';
    };
  }

  /** Whether the latest message is in view. */
  get atEnd() {
    return this.#timeline.pinned;
  }

  /** Shows a room, or that none is chosen, and puts the focus where one goes on. */
  show(room) {
    if (room !== this.#room) {
      this.#room = room;
      this.#text.value = room?.draft ?? '';
      this.#timeline.show(room);
      this.#waiting = '';
      this.#peopleOpen &&= wide.matches; // elsewhere it covers the messages
    }
    this.paint();
    if (!room) {
      if (this.#page.missing || !wide.matches) ui.emptyTitle.focus();
    } else if (room.entered === false) {
      ui.enterName.value ||= this.#page.session.email.split('@')[0];
      setText(ui.enterError, '');
      (room.closed ? ui.enterSecret : ui.enterName).focus();
    } else if (coarse.matches) {
      ui.roomTitle.focus(); // not the text field: it would open the keyboard over the messages
    } else {
      this.#text.focus();
    }
    this.#grow();
  }

  paint() {
    const room = this.#room;
    const { missing } = this.#page;
    const entering = room?.entered === false;
    const talking = Boolean(room) && !entering;
    ui.app.classList.toggle('in-room', Boolean(room || missing));
    ui.empty.hidden = Boolean(room);
    ui.roomHead.hidden = !room;
    ui.enter.hidden = !entering;
    ui.talk.hidden = ui.peopleButton.hidden = !talking;
    ui.people.hidden = !talking || !this.#peopleOpen;
    if (!room) {
      setText(ui.emptyTitle, missing ? 'No such room' : 'Choose a room');
      setText(ui.emptyWhy, missing || 'Pick one from the list to read and talk.');
      return;
    }
    this.#paintHead(room);
    if (entering) {
      ui.enterClosed.hidden = !room.closed;
      if (room.problem) setText(ui.enterError, room.problem);
      return;
    }
    this.#paintPeople(room);
    this.#paintBanners(room);
    this.#paintSize(room);
    setText(ui.typing, typingLine(room.typing));
    this.#timeline.paint((atEnd) => this.#paintRest(room, atEnd));
    ui.latest.hidden = this.atEnd;
    setText(ui.latest, room.unread ? `${room.unread} new below ↓` : 'Latest messages ↓');
  }

  #paintHead(room) {
    setText(ui.roomTitle, room.title);
    const [about, link] = ui.roomAbout.children;
    setText(about, room.about);
    const isLink = /^https?:\/\//i.test(room.link ?? '');
    link.hidden = !isLink;
    if (isLink) link.href = room.link;
    ui.leave.hidden = !room.entered;
    setText(ui.peopleButton, room.connection.state === 'open' ? `${room.people.size} here` : 'People');
    ui.peopleButton.ariaExpanded = String(this.#peopleOpen);
  }

  #paintPeople(room) {
    const names = [...room.people].sort((a, b) => (b === room.me) - (a === room.me) || a.localeCompare(b));
    const more = names.length - NAMED;
    sync(ui.peopleList, names.slice(0, NAMED), (name) => name, personItem, (item, name) => {
      item.classList.toggle('me', name === room.me);
    });
    setText(ui.peopleTitle, more > 0 ? `Who is here (and ${more} more)` : 'Who is here');
  }

  #paintBanners(room) {
    const { state, error } = room.connection;
    const opening = state === 'connecting' && !error && !room.ready;
    banner(ui.offline, opening || state === 'open' ? '' : lostLine(room), state === 'waiting' || state === 'stopped');
    banner(ui.problem, room.problem, true);
    this.#text.disabled = ui.send.disabled = state === 'over';
  }

  #paintSize(room) {
    const spare = room.spare(this.#text.value);
    const line = spare < 0 ? `${-spare} bytes too long` : spare < 2_000 ? `${spare} bytes left` : '';
    setText(ui.textSize, line);
    ui.textSize.classList.toggle('error', spare < 0);
    this.#text.ariaInvalid = String(spare < 0);
  }

  #paintRest(room, atEnd) {
    setText(ui.older, olderLine(room));
    const entries = atEnd ? room.outbox.filter((entry) => !entry.shownAs) : [];
    const state = room.connection.state === 'open' ? 'Sending…' : 'Waits for the connection';
    const waiting = JSON.stringify([entries.map((entry) => [entry.ref, entry.failed]), state]);
    if (waiting === this.#waiting) return;
    this.#waiting = waiting;
    ui.outbox.replaceChildren(
      ...entries.map((entry) =>
        waitingItem(entry, entry === entries.at(-1) ? state : '', () => room.retry(entry), () => this.#edit(entry)),
      ),
    );
  }

  #typed() {
    this.#room.draft = this.#text.value;
    if (this.#text.value.trim()) this.#room.tellTyping();
    this.#grow();
    this.#page.paint();
  }

  #send() {
    const text = this.#text.value.trim() ? this.#text.value.replace(/^\s*\n|\s+$/g, '') : '';
    const room = this.#room;
    if (!text || room.spare(text) < 0 || !room.say(text)) return;
    this.#text.value = room.draft = '';
    this.#grow();
    this.#toEnd();
  }

  /** Puts a message that could not be sent back to where it was written, before what is there. */
  #edit(entry) {
    const room = this.#room;
    room.drop(entry);
    this.#text.value = room.draft = [entry.text, room.draft].filter(Boolean).join('\n');
    this.#text.focus();
    this.#grow();
  }

  // At once: a scroll event that comes first would take the reader for staying where they were.
  #toEnd() {
    this.#timeline.pinned = true;
    this.paint();
  }

  #grow() {
    this.#text.style.height = 'auto';
    this.#text.style.height = `${Math.min(this.#text.scrollHeight + 2, TALLEST)}px`;
  }
}

function banner(node, line, button) {
  node.classList.toggle('shown', Boolean(line));
  setText(node.firstChild, line);
  node.lastChild.hidden = !line || !button;
}

function olderLine(room) {
  if (room.loading) return 'Loading earlier messages…';
  if (!room.ready) return ['connecting', 'open'].includes(room.connection.state) ? 'Opening the room…' : '';
  if (!room.messages.length) return room.older ? '' : 'Nothing has been said here yet. Say something!';
  return room.older || room.key.startsWith('open/') ? '' : 'This is where the room begins.';
}

function lostLine(room) {
  const { state, error } = room.connection;
  if (state !== 'waiting' && state !== 'connecting') return error?.message ?? 'Not connected.';
  return `Offline. ${error?.message ?? 'The connection is lost.'} What you send waits here.`;
}

function typingLine(names) {
  if (!names.length) return '';
  if (names.length > 3) return `${names.length} people are writing…`;
  // Isolated, as a name's direction marks must not turn the rest of the line around.
  const isolated = names.map((name) => `\u2068${name}\u2069`);
  return `${isolated.join(', ')} ${names.length === 1 ? 'is' : 'are'} writing…`;
}

const personItem = (name) => el('li', {}, avatar(name), el('bdi', {}, name));
