// The list of rooms with what is unread in them, the account, and its token.

import { copyText, el, setText, sync, ui } from './dom.js';

export class Sidebar {
  #page;

  constructor(page) {
    this.#page = page;
    ui.logout.onclick = () => page.logOut();
    ui.copyToken.onclick = () => copy(ui.token);
    ui.newToken.onclick = () => this.#newToken();
  }

  paint() {
    const { session, rooms, listed, current } = this.#page;
    const all = [...rooms.values()];
    this.#list(ui.chats, all.filter((room) => room.key.startsWith('chat/')));
    const known = new Set(listed.map((info) => `open/${info.id}`));
    // A room that is not listed any more stays for as long as one is in it.
    this.#list(ui.openList, all.filter((room) => known.has(room.key) || room.entered));
    const elsewhere = all.reduce((sum, room) => (room === current ? sum : sum + room.unread), 0);
    paintBadge(ui.elsewhere, elsewhere);
    setText(ui.me, session.email);
    this.#paintToken(session);
  }

  #list(list, rooms) {
    sync(list, rooms, (room) => room.key, roomItem, (item, room) => {
      const link = item.firstChild;
      const [names, count] = link.children;
      setText(names.firstChild, room.title);
      setText(names.lastChild, room.about);
      link.title = room.about ? `${room.title}\n${room.about}` : room.title;
      if (room === this.#page.current) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
      link.classList.toggle('unread', room.unread > 0);
      paintBadge(count, room.unread);
    });
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
  const link = el('a', { className: 'room-link' }, names, el('span', { className: 'badge' }));
  link.href = `#${encodeURIComponent(room.key)}`;
  return el('li', {}, link);
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
