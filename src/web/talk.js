// The open room: its head, its messages, what is being written, who is here, and whether it is connected.

import { breakable, byId, el, hueOf, setText, sync } from './dom.js';
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
  #text = byId('text');
  #peopleOpen = wide.matches;
  #deviceOffline = false;

  constructor(page) {
    this.#page = page;
    this.#timeline = new Timeline(byId('log'), byId('messages'), () => page.paint());
    byId('composer').addEventListener('submit', (event) => {
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
    byId('latest').onclick = () => {
      byId('log').focus();
      this.#toEnd();
    };
    byId('people-button').onclick = () => {
      this.#peopleOpen = !this.#peopleOpen;
      page.paint();
    };
    byId('people').addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      this.#peopleOpen = false;
      byId('people-button').focus();
      page.paint();
    });
    byId('offline').lastChild.onclick = () => this.#room?.connection.retryNow();
    byId('problem').lastChild.onclick = () => {
      this.#room.problem = '';
      this.#text.focus();
      page.paint();
    };
    byId('leave').onclick = () => {
      this.#room.leave();
      location.hash = '';
    };
    // Not `navigator.onLine` alone: a machine without any network still reaches a server of its own.
    for (const name of ['offline', 'online']) {
      addEventListener(name, () => {
        this.#deviceOffline = name === 'offline';
        page.paint();
      });
    }
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
      if (this.#page.missing || !wide.matches) byId('empty').querySelector('h1').focus();
    } else if (room.entered === false) {
      byId('enter-name').value ||= this.#page.session.email.split('@')[0];
      setText(byId('enter-error'), '');
      byId(room.closed ? 'enter-secret' : 'enter-name').focus();
    } else if (coarse.matches) {
      byId('room-title').focus(); // not the text field: it would open the keyboard over the messages
    } else {
      this.#text.focus();
    }
    this.#grow();
  }

  paint() {
    const room = this.#room;
    byId('app').classList.toggle('in-room', Boolean(room || this.#page.missing));
    byId('empty').hidden = Boolean(room);
    byId('room-head').hidden = !room;
    const entering = room?.entered === false;
    byId('enter').hidden = !entering;
    byId('talk').hidden = !room || entering;
    const people = Boolean(room) && !entering && this.#peopleOpen;
    byId('people').hidden = !people;
    byId('people-button').hidden = !room || entering;
    if (!room) return this.#paintEmpty();
    this.#paintHead(room);
    if (entering) {
      byId('enter-closed').hidden = !room.closed;
      if (room.problem) setText(byId('enter-error'), room.problem);
      return;
    }
    if (people) this.#paintPeople(room);
    this.#paintBanners(room);
    setText(byId('typing'), typingLine(room.typing));
    this.#paintSize(room);
    this.#timeline.paint((atEnd) => this.#paintRest(room, atEnd));
    const latest = byId('latest');
    latest.hidden = this.atEnd;
    const noun = room.unread === 1 ? 'message' : 'messages';
    setText(latest, room.unread ? `${room.unread} new ${noun} ↓` : 'Latest messages ↓');
  }

  #paintEmpty() {
    const { missing, session } = this.#page;
    const title = missing ? 'No such room' : session.chats.length ? 'Choose a room' : 'No chats yet';
    setText(byId('empty').querySelector('h1'), title);
    setText(byId('empty-why'), missing || 'Pick one from the list to read and talk.');
  }

  #paintHead(room) {
    setText(byId('room-title'), room.title);
    const [about, link] = byId('room-about').children;
    setText(about, room.about);
    const isLink = /^https?:\/\//i.test(room.link ?? '');
    link.hidden = !isLink;
    if (isLink) link.href = room.link;
    byId('leave').hidden = !room.entered;
    setText(byId('people-count'), String(room.people.size));
    byId('people-button').setAttribute('aria-expanded', String(this.#peopleOpen));
  }

  #paintPeople(room) {
    const names = [...room.people].sort((a, b) => (b === room.me) - (a === room.me) || a.localeCompare(b));
    const more = names.length - NAMED;
    const shown = names.slice(0, NAMED);
    sync(byId('people-list'), shown, (name) => name, personItem, (item, name) => {
      item.classList.toggle('me', name === room.me);
    });
    setText(byId('people-title'), more > 0 ? `Who is here (and ${more} more)` : 'Who is here');
  }

  #paintBanners(room) {
    const { state, error } = room.connection;
    const offline = byId('offline');
    const first = state === 'connecting' && !error && !room.ready;
    const lost = !first && state !== 'open';
    offline.classList.toggle('shown', lost || this.#deviceOffline);
    setText(offline.firstChild, lost ? lostLine(room, this.#deviceOffline) : this.#deviceOffline ? DEVICE_OFFLINE : '');
    offline.lastChild.hidden = state !== 'waiting' && state !== 'stopped';
    const problem = byId('problem');
    problem.classList.toggle('shown', Boolean(room.problem));
    setText(problem.firstChild, room.problem);
    problem.lastChild.hidden = !room.problem;
  }

  #paintSize(room) {
    const spare = room.spare(this.#text.value);
    const line = spare < 0 ? `${-spare} bytes too long` : spare < 2_000 ? `${spare} bytes left` : '';
    setText(byId('text-size'), line);
    byId('text-size').classList.toggle('error', spare < 0);
    this.#text.setAttribute('aria-invalid', String(spare < 0));
  }

  #paintRest(room, atEnd) {
    const older = room.loading
      ? 'Loading earlier messages…'
      : !room.ready
        ? room.connection.state === 'stopped' ? '' : 'Opening the room…'
        : !room.messages.length
          ? room.older ? '' : 'Nothing has been said here yet. Say something!'
          : room.older || room.key.startsWith('open/') ? '' : 'This is where the room begins.';
    setText(byId('older'), older);
    const online = room.connection.state === 'open';
    const entries = atEnd ? room.outbox.filter((entry) => !entry.shownAs) : [];
    const state = online ? 'Sending…' : 'Waits for the connection';
    const waiting = JSON.stringify([entries.map((entry) => [entry.ref, entry.failed]), state]);
    if (waiting === this.#waiting) return;
    this.#waiting = waiting;
    byId('outbox').replaceChildren(
      ...entries.map((entry) =>
        waitingItem(entry, entry === entries.at(-1) ? state : '', () => room.retry(entry), () => room.drop(entry)),
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

const DEVICE_OFFLINE = 'Offline. This device has no network. What you send waits here.';

function lostLine(room, deviceOffline) {
  const { state, error } = room.connection;
  if (state === 'stopped' || state === 'idle') return error?.message ?? 'Not connected.';
  if (deviceOffline) return DEVICE_OFFLINE;
  const why = error?.message ?? 'The connection is lost.';
  return `Offline. ${why} What you send waits here.`;
}

function typingLine(names) {
  if (!names.length) return '';
  if (names.length > 3) return `${names.length} people are writing…`;
  // Isolated, as a name's direction marks must not turn the rest of the line around.
  const isolated = names.map((name) => `\u2068${name}\u2069`);
  return `${isolated.join(', ')} ${names.length === 1 ? 'is' : 'are'} writing…`;
}

function personItem(name) {
  const avatar = el('span', { className: `avatar hue-${hueOf(name)}` }, [...name][0]?.toUpperCase() ?? '?');
  avatar.setAttribute('aria-hidden', 'true');
  return el('li', {}, avatar, el('bdi', {}, ...breakable(name)));
}
