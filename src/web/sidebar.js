// The list of rooms with what is unread in them, the account, and its token.

import { breakable, byId, el, setText, sync } from './dom.js';

export class Sidebar {
  #page;
  #shown = ''; // the token in the box

  constructor(page) {
    this.#page = page;
    byId('logout').onclick = () => page.logOut();
    byId('copy-token').onclick = () => copy(byId('token'));
    byId('copy-wscat').onclick = () => copy(byId('wscat'));
    byId('new-token').onclick = () => this.#newToken();
  }

  paint() {
    const { session, rooms, listed, current } = this.#page;
    const all = [...rooms.values()];
    this.#list(byId('chats'), all.filter((room) => room.key.startsWith('chat/')));
    byId('open-rooms').hidden = !listed;
    if (listed) {
      const known = new Set(listed.map((info) => `open/${info.id}`));
      // A room that is not listed any more stays for as long as one is in it.
      const open = all.filter((room) => room.key.startsWith('open/') && (known.has(room.key) || room.entered));
      this.#list(byId('open-list'), open);
    }
    const elsewhere = all.reduce((sum, room) => (room === current ? sum : sum + room.unread), 0);
    byId('elsewhere').hidden = !elsewhere;
    byId('elsewhere').replaceChildren(...badge(elsewhere));
    if (byId('me').textContent !== session.email) byId('me').replaceChildren(...breakable(session.email));
    this.#token(session, current);
  }

  #list(list, rooms) {
    sync(list, rooms, (room) => room.key, roomItem, (item, room) => {
      const link = item.firstChild;
      const [names, count] = link.children;
      setText(names.firstChild, room.title);
      setText(names.lastChild, room.about);
      names.lastChild.hidden = !room.about;
      if (room === this.#page.current) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
      link.classList.toggle('unread', room.unread > 0);
      count.hidden = !room.unread;
      if (count.dataset.count !== String(room.unread)) {
        count.dataset.count = room.unread;
        count.replaceChildren(...badge(room.unread));
      }
    });
  }

  #token(session, current) {
    const room = current?.key.startsWith('chat/') ? current : [...this.#page.rooms.values()][0];
    const shown = `${session.token} ${room?.key}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    byId('token').value = session.token;
    const until = new Date(session.tokenExpires * 1000);
    setText(byId('token-until'), until.toLocaleTimeString());
    byId('token-until').dateTime = until.toISOString();
    const id = encodeURIComponent(room?.key.slice('chat/'.length) ?? '');
    const socket = location.origin.replace('http', 'ws');
    byId('wscat').value = session.fromLogin
      ? `wscat -c '${socket}/chat/${id}?auth=${session.token}'`
      : `wscat -c '${socket}/channel/${id}?ticket=${session.token}'`;
  }

  async #newToken() {
    try {
      await this.#page.session.refresh();
      setText(byId('token-said'), 'Here is a new token.');
    } catch (error) {
      setText(byId('token-said'), error.message);
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

const badge = (count) => [count > 999 ? '999+' : String(count), el('span', { className: 'hidden' }, ' unread')];

async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    setText(byId('token-said'), 'Copied.');
  } catch {
    // Plain HTTP pages have no clipboard, except those of this machine.
    field.focus();
    field.select();
    setText(byId('token-said'), 'Selected: copy it with your keyboard.');
  }
}
