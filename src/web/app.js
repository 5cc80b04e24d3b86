// The page: who is logged in, which rooms there are, which one is open. Everything else paints that.

import { Channel } from './channel.js';
import { OpenRoom, findOpenRoom, listOpenRooms } from './chitchat.js';
import { byId, setText } from './dom.js';
import { Forms } from './forms.js';
import { Session } from './session.js';
import { Sidebar } from './sidebar.js';
import { Talk } from './talk.js';

const LISTENED = 8; // rooms that are connected from the start, so that they count what is unread
const RELIST = 30_000; // ms

const page = {
  session: null,
  /** Whether the login form is shown; a session that has expired stays, with its drafts. */
  locked: true,
  rooms: new Map(),
  /** The listed open rooms; `null` where the server has none. */
  listed: null,
  current: null,
  missing: '',
  paint,
  enter,
  logOut,
  relist,
};

// Requests for a paint that is still to come: in the next frame, or by a timer.
let painting = 0;
let hiddenPaint;

const sidebar = new Sidebar(page);
const talk = new Talk(page);
new Forms(page);

addEventListener('hashchange', route);
document.addEventListener('visibilitychange', () => paint());
setInterval(() => document.hidden || relist(), RELIST);
lock('email');

async function enter(email, password) {
  const session = await Session.start(email, password);
  if (page.session?.email === session.email) {
    page.session.resume(session);
  } else {
    forget();
    page.session = session;
    session.expired = () => lock('password');
  }
  page.locked = false;
  paintNow();
  for (const chat of page.session.chats) {
    const room = new Channel(chat, page.session);
    if (!page.rooms.has(room.key)) adopt(room);
  }
  const channels = [...page.rooms.values()].filter((room) => room instanceof Channel);
  channels.slice(0, LISTENED).forEach((room) => room.open());
  for (const room of page.rooms.values()) room.connection.retryNow();
  await relist();
  await route();
}

function logOut() {
  forget();
  history.replaceState(null, '', location.pathname);
  lock('email');
}

/** Shows the login form, with the focus in one of its fields. */
function lock(field) {
  page.locked = true;
  paintNow(); // what is hidden can't take the focus
  byId(field).focus();
}

function forget() {
  for (const room of page.rooms.values()) room.close();
  page.rooms.clear();
  page.session = null;
  page.current = null;
  page.missing = '';
}

function adopt(room) {
  room.changed = paint;
  room.watched = () => room === page.current && talk.atEnd && !document.hidden && !page.locked;
  page.rooms.set(room.key, room);
  return room;
}

async function relist() {
  if (page.locked) return;
  page.listed = await listOpenRooms().catch(() => page.listed);
  for (const info of page.listed ?? []) {
    if (!page.rooms.has(`open/${info.id}`)) adopt(new OpenRoom(info));
  }
  paint();
}

/** Opens the room that the address names: `#chat/HASH`, `#open/ID` or `#open/TITLE`. */
async function route() {
  if (page.locked) return;
  const key = decode(location.hash.slice(1));
  page.current = page.rooms.get(key) ?? (key.startsWith('open/') ? await find(key.slice(5)) : null);
  page.missing = key && !page.current ? 'There is no such room, or you have no access to it.' : '';
  if (page.current) {
    page.current.unread = 0;
    page.current.open();
  }
  talk.show(page.current);
  paint();
}

async function find(id) {
  try {
    const info = await findOpenRoom(id);
    return page.rooms.get(`open/${info.id}`) ?? adopt(new OpenRoom(info));
  } catch {
    return null;
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** Paints soon, and once however often it is asked: per frame, or now and then while nobody looks. */
function paint() {
  // Frames stop while the page is hidden; the title should go on counting.
  if (painting && !document.hidden) return;
  cancelAnimationFrame(painting);
  if (document.hidden) {
    painting = 0;
    hiddenPaint ??= setTimeout(paintNow, 500);
  } else {
    painting = requestAnimationFrame(paintNow);
  }
}

function paintNow() {
  painting = 0;
  clearTimeout(hiddenPaint);
  hiddenPaint = undefined;
  byId('login').hidden = !page.locked;
  byId('app').hidden = page.locked;
  setText(
    byId('login-why'),
    page.session && page.locked
      ? 'Your login has expired. Log in again to go on; what you wrote is kept.'
      : 'Log in with your Propromo account.',
  );
  let unread = 0;
  for (const room of page.rooms.values()) {
    if (room.watched()) room.unread = 0;
    if (room !== page.current) room.trim();
    unread += room.unread;
  }
  if (!page.locked) {
    sidebar.paint();
    talk.paint();
  }
  const title = page.current ? `${page.current.title} · Propromo chat` : 'Propromo chat';
  document.title = page.locked ? 'Log in · Propromo chat' : unread ? `(${unread}) ${title}` : title;
}
