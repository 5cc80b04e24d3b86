// Searching a room for what was said in it: the panel, what was found, and the way to it.

import { el, icon, setText, sync, ui } from './dom.js';
import { saidAt } from './item.js';
import { excerpt, wordsOf } from './words.js';

const PAGE = 30; // messages asked for at once

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export class Search {
  open = false;

  #to;
  #room = null;
  #query = '';
  #next = ''; // where the search goes on, if there may be more
  #turn = 0; // tells an answer to what is asked now from one to what was asked before

  /** `to`: `jump(key)` to a message, `leave()` when the panel closes, `changed()` to ask for a paint. */
  constructor(to) {
    this.#to = to;
    ui.searchButton.append(icon('search'));
    ui.searchButton.onclick = () => (this.open ? this.close() : this.start());
    ui.searchClose.onclick = () => this.close();
    ui.searchForm.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#begin(ui.searchText.value.trim());
    });
    ui.searchMore.onclick = () => this.#goOn();
    ui.searchPanel.addEventListener('keydown', (event) => this.#key(event));
  }

  /** Whether this room can be searched. */
  static canSearch(room) {
    return Boolean(room?.search) && room.entered !== false;
  }

  /** Opens the panel, or comes back to it, where one says what is looked for. */
  start() {
    this.open = true;
    this.#to.changed(true);
    ui.searchText.focus();
    ui.searchText.select();
  }

  close() {
    this.open = false;
    this.#to.changed(true);
    this.#to.leave();
  }

  /** Another room: what was looked for in the one before is forgotten. */
  show(room) {
    this.open = false;
    this.#room?.found.clear();
    this.#room = room;
    this.#forget();
    ui.searchText.value = '';
  }

  paint(room) {
    ui.searchButton.hidden = !Search.canSearch(room);
    ui.searchButton.ariaExpanded = String(this.open);
    ui.searchPanel.hidden = !this.open;
    ui.app.classList.toggle('searching', this.open);
    if (!this.open) return;
    const wanted = wordsOf(this.#query);
    const messages = [...room.found.values()].filter(({ deleted }) => !deleted);
    sync(ui.searchFound, messages, ({ key, version }) => `${key} ${version}`, (message) => this.#result(message, wanted), () => {});
    const { links } = this;
    if (!links.some((link) => link.tabIndex === 0)) rove(links[0]);
  }

  /** What was found, from top to bottom. */
  get links() {
    return [...ui.searchFound.querySelectorAll('button')];
  }

  #forget() {
    this.#turn++;
    this.#query = this.#next = '';
    ui.searchMore.hidden = true;
    ui.searchPanel.ariaBusy = 'false';
    for (const line of [ui.searchSaid, ui.searchError]) setText(line, '');
    ui.searchText.ariaInvalid = null;
  }

  #begin(query) {
    this.#room.found.clear();
    this.#forget();
    this.#to.changed();
    if (!wordsOf(query).length) return this.#refused('Write one or more words that the message has.');
    this.#query = query;
    return this.#ask();
  }

  async #goOn() {
    const known = this.#room.found.size;
    await this.#ask(this.#next);
    // The button may be gone, and with it the focus; one reads on with the first that is new.
    if (this.open && this.#room.found.size > known) this.links[known]?.focus();
    else if (ui.searchMore.hidden && this.open) ui.searchText.focus();
  }

  async #ask(before) {
    const turn = ++this.#turn;
    const room = this.#room;
    ui.searchPanel.ariaBusy = 'true';
    setText(ui.searchError, '');
    setText(ui.searchSaid, 'Searching…');
    const answer = await room.search(this.#query, { before, limit: PAGE }).catch((error) => error);
    if (turn !== this.#turn) return;
    ui.searchPanel.ariaBusy = 'false';
    if (answer instanceof Error) {
      setText(ui.searchSaid, '');
      return this.#refused(answer.message);
    }
    for (const message of answer.messages) room.found.set(message.key, message);
    this.#next = answer.next;
    setText(ui.searchMore, room.found.size ? 'Show more' : 'Search further back');
    ui.searchMore.hidden = !this.#next;
    setText(ui.searchSaid, told(room.found.size, Boolean(this.#next)));
    this.#to.changed(true);
  }

  #refused(sentence) {
    setText(ui.searchError, sentence);
    ui.searchText.ariaInvalid = 'true';
    ui.searchText.focus();
  }

  #result(message, wanted) {
    const name = message.name || this.#room.nameOf(message.from);
    const date = new Date(message.time || 0);
    const time = el('time', { dateTime: date.toISOString(), title: saidAt(message) }, moment.format(date));
    const text = el('span', { className: 'excerpt', dir: 'auto' }, ...excerpt(message.text, wanted));
    const button = el('button', { type: 'button', className: 'result', tabIndex: -1 }, el('bdi', { className: 'who' }, name), ' ', time, text);
    button.onclick = () => {
      for (const link of this.links) link.ariaCurrent = String(link === button);
      rove(button);
      this.#to.jump(message.key);
    };
    button.onfocus = () => rove(button);
    return el('li', {}, button);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    const { links } = this;
    const at = links.indexOf(event.target);
    const inText = event.target === ui.searchText;
    if (event.key === 'Escape') this.close();
    else if (inText && event.key === 'ArrowDown' && links.length) links.find((link) => link.tabIndex === 0).focus();
    else if (at < 0) return;
    else if (event.key === 'ArrowUp' && at === 0) ui.searchText.focus();
    else {
      const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: links.length - 1 }[event.key];
      if (to === undefined) return;
      links[to]?.focus();
    }
    event.preventDefault();
  }
}

function told(count, more) {
  if (!count) return more ? 'Nothing found so far; there is more to look through.' : 'No message here has all of these words.';
  const messages = count === 1 ? '1 message' : `${count} messages`;
  if (more) return `The latest ${messages} that were found.`;
  return count === 1 ? '1 message found.' : `${messages} found, the latest first.`;
}

/** Makes a result the one of all that Tab reaches. */
function rove(link) {
  for (const other of ui.searchFound.querySelectorAll('button[tabindex="0"]')) other.tabIndex = -1;
  if (link) link.tabIndex = 0;
}
