// The page: who is logged in, which rooms there are, which one is open. Everything else paints that.

import { Alerts } from './alerts.js';
import { Channel } from './channel.js';
import { OpenRoom, findOpenRoom, listOpenRooms } from './chitchat.js';
import { ask } from './dialogs.js';
import { ui } from './dom.js';
import { Drafts } from './drafts.js';
import { listenToForms } from './forms.js';
import { listenToKeys } from './keyboard.js';
import { Reads } from './reads.js';
import { Session } from './session.js';
import { Heard } from './heard.js';
import { Sidebar } from './sidebar.js';
import { Talk } from './talk.js';

const LISTENED = 8; // rooms that are connected from the start, so that they count what is unread
const RELIST = 30_000; // ms
const RETRY = 3_000; // ms
const NEWS = 100; // ms between paints of what rooms tell

const page = {
  session: null,
  /** Whether the login form is shown; a session that has expired stays, with its drafts. */
  locked: true,
  rooms: new Map(),
  /** The listed open rooms. */
  listed: [],
  current: null,
  /** Why there is no room where the address names one: `{title, why}`. */
  missing: null,
  paint,
  paintNow,
  enter,
  logOut,
  relist,
  firstFound: () => sidebar.firstFound,
  made,
};
page.drafts = new Drafts(page.rooms);
page.reads = new Reads(page.rooms, (message, room, named) => alerts.take(message, room, named), tell);

let painting = 0; // the request for a paint that is still to come
let last = 0; // when the last one was
let shown = 0; // how many unread messages the badge of the app tells
let news = 0; // the timer of one that waits for more to paint
let listings = 0; // how often the rooms were listed: an answer that is overtaken is old
let routes = 0; // how often a room was looked for
let again = 0; // the timer of looking for one again
let typed = false; // whether somebody logs in by hand; a browser fills in fields by itself

const sidebar = new Sidebar(page);
const talk = new Talk(page);
const heard = new Heard(ui.heard);
const alerts = new Alerts();
listenToKeys({
  rooms: () => {
    if (!ui.rooms.checkVisibility()) location.hash = ''; // a phone shows the rooms or the room
    ui.app.classList.remove('in-room');
    ui.findName.focus();
    ui.findName.select();
  },
  next: (step) => sidebar.next(step),
  search: () => talk.search(),
  write: () => talk.write(),
});
listenToForms(page);

addEventListener('hashchange', () => route());
addEventListener('online', () => Session.untold && restore());
ui.loginForm.addEventListener('input', () => (typed = true));
ui.notice.lastChild.onclick = () => ui.notice.classList.remove('shown');
document.addEventListener('visibilitychange', () => {
  painting = 0; // a frame may never come, and a timer is too late
  if (document.hidden) talk.away();
  paint();
});
addEventListener('beforeunload', (event) => {
  if ([...page.rooms.values()].some((room) => room.outbox.length || room.changes.waiting)) event.preventDefault();
});
setInterval(() => document.hidden || relist(), RELIST);
restore();
// Keeps the files of the page, so that an installed one opens without a connection, too.
navigator.serviceWorker?.register('/assets/worker.js', { scope: '/' }).catch(() => {});

/** Goes on where an earlier visit ended, if its session is not over; asks to log in if it is. */
async function restore() {
  try {
    const session = await Session.restore();
    // Who logs in by hand meanwhile is not disturbed.
    if (page.session || typed) return;
    await begin(session);
  } catch ({ status, retryAfter = 0 }) {
    if (!page.locked) return;
    if (ui.login.hidden) lock('email');
    paint();
    // Not reached yet: a laptop wakes before its network does.
    const away = status === 0 || status === 429 || status >= 500;
    if (away && !typed && !page.session) setTimeout(() => page.locked && !typed && restore(), Math.max(RETRY, retryAfter));
  }
}

async function enter(email, password) {
  await begin(await Session.start(email, password));
}

async function begin(session) {
  if (page.session?.email === session.email) {
    page.session.resume(session);
  } else {
    forget();
    page.session = session;
    // Requests of a session that is over may still be refused, one after the other, while somebody logs in.
    session.expired = () => page.session === session && !page.locked && lock('password');
    session.renewed = () => {
      if (page.session !== session || !adoptChats()) return;
      page.reads.listen(session); // an inbox tells of the chats that there were when it opened
      if (page.missing) route(true);
    };
  }
  page.drafts.begin(page.session.email);
  adoptChats();
  page.locked = false;
  paintNow();
  const channels = [...page.rooms.values()].filter((room) => room instanceof Channel);
  channels.slice(0, LISTENED).forEach((room) => room.open());
  for (const room of page.rooms.values()) room.connection.retryNow();
  page.reads.listen(page.session);
  const before = routes;
  await relist();
  // Who has gone to a room meanwhile, or writes something, is not disturbed.
  if (routes === before) await route(ui.app.contains(document.activeElement));
}

function logOut() {
  const rooms = [...page.rooms.values()].filter((room) => room.outbox.length || room.changes.waiting || room.draft.trim());
  if (!rooms.length) return end();
  const where = new Intl.ListFormat('en').format(rooms.map((room) => `\u2068${room.title}\u2069`));
  const why = 'What you have written there and not sent is lost when you log out.';
  ask({ title: 'Log out?', text: where, why, yes: 'Log out', no: 'Stay' }, end);
}

function end() {
  page.session.end().then(paint, restore); // which tells the server later
  page.drafts.end();
  forget();
  history.replaceState(null, '', location.pathname);
  lock('email');
}

/** Shows the login form, with the focus in one of its fields. */
function lock(field) {
  page.locked = true;
  typed = false;
  clearTimeout(again);
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close(); // nothing else could be used
  paintNow(); // what is hidden can't take the focus
  ui[field].focus();
}

function forget() {
  page.reads.close();
  for (const room of page.rooms.values()) room.close();
  page.rooms.clear();
  page.session = null;
  page.current = null;
  page.missing = null;
}

/** Takes in the chats that the account has now; whether there are new ones. */
function adoptChats() {
  const before = page.rooms.size;
  for (const chat of page.session.chats) {
    const room = new Channel(chat, page.session);
    if (!page.rooms.has(room.key)) adopt(room);
  }
  paint();
  return page.rooms.size > before;
}

function adopt(room) {
  room.changed = paintNews;
  room.told = (notice) => tell(notice);
  room.heard = (message) => {
    if (room === page.current) heard.take(message, room);
    if (!room.watched()) alerts.take(message, room);
  };
  room.watched = () => room === page.current && talk.atEnd && !document.hidden && !page.locked;
  page.rooms.set(room.key, room);
  page.drafts.restore(room);
  return room;
}

async function relist() {
  if (page.locked) return;
  const turn = ++listings;
  const news = page.reads.live || page.reads.load(page.session);
  const [listed] = await Promise.all([listOpenRooms().catch(() => null), news]);
  if (!listed || page.locked || turn !== listings) return;
  page.listed = listed;
  page.listed.forEach(known);
  paint();
}

/** An open room was made here: who made it needs no passphrase to enter, and may change it. */
function made(info, secret) {
  Object.assign(known(info), { secret, changeKey: info.key });
}

/** The open room that the server describes like this. */
function known(info) {
  const room = page.rooms.get(`open/${info.id}`);
  room?.update(info);
  return room ?? adopt(new OpenRoom(info));
}

/**
 * Opens the room that the address names: `#chat/HASH`, `#open/ID` or `#open/TITLE`, at a message with `?m=ID`. `quietly` leaves
 * the focus where it is.
 */
async function route(quietly = false) {
  routes++;
  clearTimeout(again);
  const { hash } = location;
  const [, address, message] = hash.match(/^#?(.*?)(?:\?m=([\w-]+))?$/);
  let error = null;
  const room = await find(address).catch((why) => void (error = why));
  if (page.locked || hash !== location.hash) return;
  const isAway = error?.status === 0 || error?.status === 429 || error?.status >= 500;
  if (isAway) again = setTimeout(() => route(!ui.empty.contains(document.activeElement)), RETRY);
  if (page.current && page.current !== room) page.reads.tell(page.current, true);
  page.current = room ?? null;
  if (!hash || room) page.missing = null;
  else if (isAway) page.missing = { title: 'This room can’t be opened now', why: error.message };
  else page.missing = { title: 'No such room', why: 'There is no such room, or you have no access to it.' };
  room?.open();
  talk.show(page.current, quietly);
  paint();
  if (message && room) await talk.jump(message, quietly);
}

async function find(address) {
  const key = decodeURIComponent(address);
  return page.rooms.get(key) ?? (/^open\/./.test(key) ? known(await findOpenRoom(key.slice(5))) : null);
}

/** Shows what the operators tell everybody, which each connection hears. */
function tell({ text, timestamp }) {
  const date = new Date(timestamp);
  if (ui.notice.dataset.told === text + timestamp) return;
  ui.notice.dataset.told = text + timestamp;
  ui.notice.classList.add('shown');
  ui.notice.firstChild.textContent = `From the operators, at ${date.toLocaleTimeString()}: ${text}`;
}

/** Paints soon, and once however often it is asked. While the page is hidden, only its title matters. */
function paint() {
  painting ||= document.hidden ? setTimeout(paintNow, 500) : requestAnimationFrame(paintNow);
}

/** Paints what came by itself: at once too, unless it comes in crowds. */
function paintNews() {
  news ||= setTimeout(paint, last + NEWS - performance.now());
}

function paintNow() {
  clearTimeout(news);
  painting = news = 0;
  last = performance.now();
  ui.login.hidden = !page.locked;
  ui.app.hidden = page.locked;
  ui.expired.hidden = !page.session;
  ui.untold.hidden = !Session.untold;
  let unread = 0;
  for (const room of page.rooms.values()) {
    if (room.watched()) page.reads.seen(room);
    else page.reads.tell(room);
    if (room !== page.current) room.trim();
    unread += room.unread;
  }
  if (!page.locked) {
    sidebar.paint();
    talk.paint();
  }
  const title = page.current ? `${page.current.title} · Propromo chat` : 'Propromo chat';
  paintIcon(page.locked ? 0 : unread);
  document.title = page.locked ? 'Log in · Propromo chat' : unread ? `(${unread}) ${title}` : title;
}

/** What tabs, task bars and home screens show: whether something is unread, and how much. */
function paintIcon(unread) {
  const href = unread ? '/assets/icon-unread.svg' : '/assets/icon.svg';
  if (ui.icon.getAttribute('href') !== href) ui.icon.href = href;
  if (unread === shown) return;
  shown = unread;
  if (unread) navigator.setAppBadge?.(unread).catch(() => {});
  else navigator.clearAppBadge?.().catch(() => {});
}
