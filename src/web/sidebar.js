// The list of rooms with what is unread in them, the account, and its token.

import { copyText, el, icon, setText, sync, ui } from './dom.js';

export class Sidebar {
  #page;

  constructor(page) {
    this.#page = page;
    ui.logout.onclick = () => page.logOut();
    ui.copyToken.onclick = () => copy(ui.token);
    ui.newToken.onclick = () => this.#newToken();
    ui.findName.addEventListener('input', () => page.paint());
    ui.rooms.addEventListener('keydown', (event) => this.#key(event));
    ui.rooms.addEventListener('focusin', ({ target }) => target.matches('.room-link') && rove(target));
  }

  /** The links to rooms that are shown, from top to bottom. */
  get links() {
    return [...ui.rooms.querySelectorAll('.room-link')];
  }

  /** The first room that is found by what was typed. */
  get firstFound() {
    this.paint(); // what was typed may be newer than what is shown
    return ui.findName.value.trim() ? this.links[0] : null;
  }

  /** Opens the room that is so many further down the list. */
  next(step) {
    const { links } = this;
    const at = links.findIndex((link) => link.ariaCurrent);
    const link = at < 0 ? links.at(step > 0 ? 0 : -1) : links[at + step];
    if (link) location.hash = new URL(link.href).hash;
  }

  paint() {
    const { session, rooms, listed, current } = this.#page;
    const wanted = ui.findName.value.trim().toLowerCase();
    const fits = (room) => !wanted || `${room.title}\n${room.about}`.toLowerCase().includes(wanted);
    const focused = document.activeElement;
    const all = [...rooms.values()].filter(fits).sort((a, b) => b.lastSaid - a.lastSaid);
    this.#list(ui.chats, all.filter((room) => room.key.startsWith('chat/')));
    const known = new Set(listed.map((info) => `open/${info.id}`));
    // A room that is not listed any more stays for as long as one is in it.
    this.#list(ui.openList, all.filter((room) => known.has(room.key) || room.entered));
    const { links } = this;
    if (!links.includes(focused)) rove(links.find((link) => link.ariaCurrent) ?? links[0]);
    if (focused !== document.activeElement && focused?.isConnected) focused.focus(); // it was moved
    const elsewhere = [...rooms.values()].reduce((sum, room) => (room === current ? sum : sum + room.unread), 0);
    paintBadge(ui.elsewhere, elsewhere);
    setText(ui.me, session.email);
    this.#paintToken(session);
  }

  #list(list, rooms) {
    sync(list, rooms, (room) => room.key, roomItem, (item, room) => {
      const link = item.firstChild;
      const [names, lock, count] = link.children;
      lock.hidden = !room.closed;
      setText(names.firstChild, room.title);
      setText(names.lastChild, room.about);
      link.title = room.about ? `${room.title}\n${room.about}` : room.title;
      if (room === this.#page.current) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
      link.classList.toggle('unread', room.unread > 0);
      paintBadge(count, room.unread);
    });
  }

  #key(event) {
    const { links } = this;
    const at = links.indexOf(event.target);
    if (at < 0 && !(event.target === ui.findName && event.key === 'ArrowDown')) return;
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    (to < 0 ? ui.findName : links[to])?.focus();
  }

  #paintToken({ token, tokenExpires }) {
    if (ui.token.value === token) return;
    ui.token.value = token;
    setText(ui.tokenUntil, new Date(tokenExpires * 1000).toLocaleTimeString());
  }

  async #newToken() {
    try {
      await this.#page.session.refresh();
      setText(ui.tokenSaid, 'Here it is.');
    } catch (error) {
      setText(ui.tokenSaid, error.message);
    }
    this.#page.paint();
  }
}

function roomItem(room) {
  const lines = ['name', 'about muted'].map((className) => el('bdi', { className }));
  const names = el('span', { className: 'names' }, ...lines);
  const lock = el('span', { className: 'lock' }, icon('lock'), el('span', { className: 'hidden' }, 'closed'));
  const link = el('a', { className: 'room-link', tabIndex: -1 }, names, lock, el('span', { className: 'badge' }));
  link.href = `#${encodeURIComponent(room.key)}`;
  return el('li', {}, link);
}

/** Makes a link the one of all rooms that Tab reaches. */
function rove(link) {
  for (const other of ui.rooms.querySelectorAll('.room-link[tabindex="0"]')) other.tabIndex = -1;
  if (link) link.tabIndex = 0;
}

function paintBadge(badge, count) {
  badge.hidden = !count;
  if (badge.dataset.count === String(count)) return;
  badge.dataset.count = count;
  badge.replaceChildren(count > 999 ? '999+' : String(count), el('span', { className: 'hidden' }, ' unread'));
}

async function copy(field) {
  if (await copyText(field.value)) return setText(ui.tokenSaid, 'Copied.');
  field.select();
  setText(ui.tokenSaid, 'Selected: copy it with your keyboard.');
}
