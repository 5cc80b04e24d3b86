// The open room: its head, its messages, what is being written, who is here, and whether it is connected.

import { Composer } from './composer.js';
import { askDeletion, askReaction } from './dialogs.js';
import { avatar, el, setText, sync, ui } from './dom.js';
import { waitingItem } from './item.js';
import { Search } from './search.js';
import { Timeline } from './timeline.js';
import { Tools, say } from './tools.js';

const NAMED = 200; // people listed by name
const NEVER = '0'; // below the id of any message: nothing has been read here yet
const FEW = 8; // new messages that one sees anyway
const FLASH = 2_000; // ms that a message is marked to which one has jumped

const coarse = matchMedia('(pointer: coarse)');
const wide = matchMedia('(min-width: 70rem)');
const single = matchMedia('(max-width: 44rem)'); // one sees one thing at a time

export class Talk {
  #page;
  #room = null;
  #timeline;
  #waiting = ''; // what the outbox on screen shows
  #composer;
  #tools;
  #search;
  #newCount = 0; // messages that were unread when the room was opened
  #newDone = false; // whether one has gone to them
  #peopleOpen = wide.matches;

  constructor(page) {
    this.#page = page;
    this.#timeline = new Timeline(ui.log, ui.messages, () => page.paint());
    this.#composer = new Composer(page, {
      sent: () => this.#toEnd(),
      remove: (message) => this.#act('delete', message),
    });
    this.#tools = new Tools(ui.messages, {
      room: () => this.#room,
      can: (message) => this.#can(message),
      act: (action, message) => this.#act(action, message),
      jump: (key) => this.jump(key),
      react: (message, emoji) => this.#react(message, emoji),
      leave: () => this.#composer.focus(),
    });
    this.#search = new Search({
      jump: (key) => this.#toFound(key),
      leave: () => (coarse.matches ? ui.searchButton.focus() : this.#composer.focus()),
      changed: (atOnce) => (atOnce ? this.paint() : page.paint()),
    });
    ui.newJump.onclick = () => this.#toNew();
    ui.newRead.onclick = () => {
      this.#newDone = true;
      this.#toEnd();
      this.#composer.focus();
    };
    ui.latest.onclick = () => {
      ui.log.focus();
      this.#toEnd();
    };
    ui.peopleButton.onclick = () => {
      this.#peopleOpen = this.#search.open || !this.#peopleOpen;
      this.#search.open = false; // it stands where people do
      page.paint();
    };
    ui.people.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      this.#peopleOpen = false;
      ui.peopleButton.focus();
      page.paint();
    });
    document.addEventListener('click', ({ target }) => {
      // Where it stands in the way of the messages, it goes when one turns to them. Not before: what moves away under a finger
      // that is still down is not pressed.
      if (wide.matches || !this.#peopleOpen || target.closest('#people, #peopleButton, dialog')) return;
      this.#peopleOpen = false;
      page.paint();
    });
    ui.offline.lastChild.onclick = () => this.#room?.connection.retryNow();
    ui.problem.lastChild.onclick = () => {
      this.#room.problem = '';
      this.#composer.focus();
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

  /** Shows a room, or that none is chosen, and puts the focus where one goes on, unless that shall be done `quietly`. */
  show(room, quietly = false) {
    if (room !== this.#room) {
      this.#room?.toLatest();
      this.#room = room;
      ui.enterSecret.value = '';
      this.#tools.hide();
      this.#composer.show(room);
      this.#newCount = room?.unread ?? 0;
      this.#newDone = false;
      if (room) room.newLine = room.unread ? room.read || NEVER : '';
      this.#timeline.show(room);
      this.#search.show(room);
      this.#waiting = '';
      this.#peopleOpen &&= wide.matches; // elsewhere it takes the messages' room
    }
    this.paint();
    if (room?.entered === false) {
      ui.enterName.value ||= this.#page.session.email.split('@')[0];
      setText(ui.enterError, '');
    }
    if (quietly) return;
    if (!room) {
      if (this.#page.missing || !wide.matches) ui.emptyTitle.focus();
    } else if (room.entered === false) {
      (room.closed && !room.secret ? ui.enterSecret : ui.enterName).focus();
    } else if (coarse.matches) {
      ui.roomTitle.focus(); // not the text field: it would open the keyboard over the messages
    } else {
      this.#composer.focus();
    }
  }

  /** Nobody looks any more: what comes from now on is new. */
  away() {
    const room = this.#room;
    if (!room || !this.atEnd) return;
    room.newLine = room.live.last?.key ?? '';
    for (const line of ui.messages.querySelectorAll('.new')) line.remove();
  }

  /** Puts the focus where one writes. */
  write() {
    if (this.#room && this.#room.entered !== false) this.#composer.focus();
  }

  /** Lets one say what the open room shall be searched for. */
  search() {
    this.#search.start();
  }

  /** Goes to a message of the open room, however far back it is. `quietly` leaves the focus where it is. */
  async jump(key, quietly = false) {
    const room = this.#room;
    this.#timeline.pinned = false;
    if (!room.find(key)) say('Looking for that message…');
    const found = await room.reach(key).catch((error) => error);
    if (room !== this.#room) return;
    if (found instanceof Error) return say(found.message);
    if (!found || room.find(key).deleted) return say('That message is not there any more.');
    this.paint();
    const item = this.#timeline.reveal(key);
    say('');
    if (!quietly) item.focus({ preventScroll: true });
    item.classList.add('found');
    setTimeout(() => item.classList.remove('found'), FLASH);
    this.#page.paint();
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
    ui.people.hidden = !talking || !this.#peopleOpen || this.#search.open;
    this.#search.paint(room);
    if (!room) {
      setText(ui.emptyTitle, missing ? missing.title : 'Choose a room');
      setText(ui.emptyWhy, missing ? missing.why : 'Pick one from the list to read and talk.');
      return;
    }
    this.#paintHead(room);
    if (entering) {
      ui.enterClosed.hidden = !room.closed || Boolean(room.secret); // who made it knows it
      if (room.problem) setText(ui.enterError, room.problem);
      return;
    }
    this.#paintPeople(room);
    this.#paintBanners(room);
    this.#composer.paint(room);
    setText(ui.typing, typingLine(room.typing.map((user) => room.nameOf(user))));
    this.#timeline.paint((atEnd) => this.#paintRest(room, atEnd));
    this.#tools.rove();
    ui.newBar.hidden = this.#newDone || !room.newLine || this.#newCount < FEW;
    setText(ui.newBar.firstChild, `${this.#newCount} new messages`);
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
    ui.leave.hidden = ui.roomChange.hidden = !room.entered;
    setText(ui.peopleButton, room.connection.state === 'open' ? `${room.crowd || room.people.size} here` : 'People');
    ui.peopleButton.ariaExpanded = String(this.#peopleOpen && !this.#search.open);
  }

  #paintPeople(room) {
    const { me, people } = room;
    const named = [...people].map((user) => [user, room.nameOf(user)]);
    named.sort(([a, nameA], [b, nameB]) => (b === me) - (a === me) || nameA.localeCompare(nameB));
    const more = Math.max(room.crowd, people.size) - Math.min(named.length, NAMED);
    sync(ui.peopleList, named.slice(0, NAMED), ([user, name]) => `${user} ${name}`, personItem, (item, [user]) => {
      item.classList.toggle('me', user === me);
    });
    setText(ui.peopleTitle, more > 0 ? `Who is here (and ${more} more)` : 'Who is here');
  }

  #paintBanners(room) {
    const { state, error } = room.connection;
    const opening = state === 'connecting' && !error && !room.ready;
    banner(ui.offline, opening || state === 'open' ? '' : lostLine(room), state === 'waiting' || state === 'stopped');
    banner(ui.problem, room.problem, true);
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
        waitingItem(entry, entry === entries.at(-1) ? state : '', () => room.retry(entry), () => this.#takeBack(entry)),
      ),
    );
  }

  /** Goes to the first message that was unread when the room was opened. */
  async #toNew() {
    const room = this.#room;
    this.#newDone = true;
    this.#timeline.pinned = false;
    // It may be gone; what follows it is here then.
    if (room.newLine !== NEVER) await room.reach(room.newLine).catch(({ message }) => say(message));
    const first = room.view.messages.find(({ key, own, event, deleted }) => key > room.newLine && !own && !event && !deleted);
    if (first && room === this.#room) await this.jump(first.key);
  }

  /** Goes to a message that was found; on a phone, what was found has covered it. */
  #toFound(key) {
    if (single.matches) this.#search.open = false;
    this.paint();
    return this.jump(key);
  }

  #takeBack(entry) {
    this.#room.drop(entry);
    this.#composer.takeBack(entry.text);
  }

  /** What may be done with a message, as far as the page knows. */
  #can({ own, bot }) {
    if (!this.#room.changeable) return ['copy'];
    const mine = own && !bot;
    return ['react', 'answer', 'copy', 'link', ...(mine ? ['edit'] : []), ...(mine || this.#room.moderated ? ['delete'] : [])];
  }

  #act(action, message) {
    const room = this.#room;
    if (action === 'answer') this.#composer.answer(message);
    else if (action === 'edit') this.#composer.edit(message);
    else if (action === 'react') askReaction(message, room, (emoji) => this.#react(message, emoji));
    else if (action === 'delete') {
      askDeletion(message, () => {
        room.changes.ask({ type: 'delete', id: message.key });
        if (room.editing?.message === message) this.#composer.cancel();
        else this.#composer.focus();
      });
    }
  }

  #react({ key, reactions }, emoji) {
    const room = this.#room;
    room.changes.ask({ type: 'react', id: key, emoji, on: !reactions.get(emoji)?.has(room.me) });
  }

  // At once: a scroll event that comes first would take the reader for staying where they were.
  #toEnd() {
    this.#room.toLatest();
    this.#timeline.pinned = true;
    this.paint();
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
  const { older, messages } = room.view;
  if (!messages.length) return older ? '' : 'Nothing has been said here yet. Say something!';
  return older || room.key.startsWith('open/') ? '' : 'This is where the room begins.';
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

const personItem = ([user, name]) => el('li', { title: user }, avatar(name, user), el('bdi', {}, name));
