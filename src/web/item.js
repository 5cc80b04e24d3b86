// One message as a list item: who, when, what it answers, the text, and reactions to it.

import { avatar, el } from './dom.js';
import { isPictures, markup } from './markup.js';
import { mentionsIn } from './mentions.js';
import { snippet } from './message.js';

const LONG = 1_600; // characters, or
const TALL = 24; // lines, beyond which a message is shown folded
const TOGETHER = 5 * 60_000; // ms in which one author's messages stand under one name
const CROWD = 4; // people who come and go one after the other that are shown as one line
const NAMED = 20; // people named who reacted

const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });

/** The item of a message of `room`. */
export function messageItem(message, room) {
  if (message.event) {
    const happened = el('p', { className: 'happened', dir: 'auto' }, message.text, ' ', timeOf(message));
    const item = el('li', { className: 'event muted' }, happened);
    item.dataset.key = message.key;
    return item;
  }
  const name = message.name || room.nameOf(message.from);
  const item = el(
    'li',
    { className: message.own ? 'message own' : 'message', tabIndex: -1 },
    avatar(name, message.from),
    el('div', { className: 'body' }, metaOf(message, name)),
  );
  item.dataset.key = message.key;
  fill(item, message, room);
  return item;
}

/** Brings an item up to date with its message; what has the focus keeps it. */
export function refresh(item, message, room) {
  if (item.version === message.version) return;
  const focused = item.contains(document.activeElement) && document.activeElement.dataset.does;
  item.querySelector('.body').replaceChildren(metaOf(message, message.name || room.nameOf(message.from)));
  fill(item, message, room);
  if (focused) [...item.querySelectorAll('[data-does]')].find((node) => node.dataset.does === focused)?.focus();
}

/** What a message shows because of the one before it: the day, or no name of its own. */
export function dress(item, message, before, newLine) {
  const sameDay = before && dayOf(before.time) === dayOf(message.time);
  item.querySelector('.day')?.remove();
  if (!sameDay) item.prepend(el('p', { className: 'day' }, el('span', {}, calendar.format(message.time || 0))));
  item.querySelector('.new')?.remove();
  const isNew = Boolean(newLine) && message.key > newLine && !message.own && !(before?.key > newLine);
  if (isNew) item.prepend(el('p', { className: 'day new' }, el('span', {}, 'New')));
  const alike = !isNew && sameDay && !message.event && !before.event && before.from === message.from && before.name === message.name;
  item.classList.toggle('grouped', Boolean(alike && message.time - before.time < TOGETHER && !message.answers));
}

/** Shows a crowd that comes and goes as one line, with all of them behind it. */
export function collapse(list, messageOf) {
  let run = [];
  for (const item of [...list.children, null]) {
    if (item?.classList.contains('event') && (!run.length || !item.querySelector('.day'))) {
      run.push(item);
      continue;
    }
    if (run.length) gather(run, messageOf);
    run = item?.classList.contains('event') ? [item] : [];
  }
}

function gather(run, messageOf) {
  const last = run.at(-1);
  const many = run.length >= CROWD;
  for (const item of run) {
    item.hidden = many && item !== last && !item.querySelector('.day');
    if (item !== last || !many) item.querySelector('details')?.remove();
  }
  if (!many) return run.forEach((item) => (item.querySelector('.happened').hidden = false));
  const messages = run.map(messageOf);
  const count = (kind) => new Set(messages.filter(({ event }) => event === kind).map(({ from }) => from)).size;
  const [came, left] = [count('join'), count('leave')];
  const people = (n) => (n === 1 ? '1 person' : `${n} people`);
  const line = [came && `${people(came)} came`, left && (came ? `${left} left` : `${people(left)} left`)].filter(Boolean).join(', ');
  const lines = messages.map(({ text }) => el('p', { dir: 'auto' }, text));
  const open = last.querySelector('details')?.open ?? false;
  last.querySelector('details')?.remove();
  for (const item of run) item.querySelector('.happened').hidden = true;
  last.append(el('details', { open }, el('summary', {}, `${line} `, timeOf(messages.at(-1))), ...lines));
}

/** A message that is not confirmed yet, with what can be done about it. */
export function waitingItem(entry, state, retry, edit) {
  const body = el('div', { className: 'body' }, textOf(entry.text));
  if (entry.failed) {
    const buttons = [el('button', { onclick: retry }, 'Send again'), el('button', { onclick: edit }, 'Edit')];
    body.append(el('p', { className: 'state error' }, entry.failed, ...buttons));
  } else if (state) {
    body.append(el('p', { className: 'state muted' }, state));
  }
  return el('li', { className: 'message own waiting' }, body);
}

/** When a message was said, in full. */
export const saidAt = (message) => moment.format(message.time || 0);

function metaOf(message, name) {
  const who = el('bdi', { className: 'who', title: message.from }, name);
  const meta = el('p', { className: 'meta' }, who, ' ');
  if (message.bot) meta.append(el('span', { className: 'bot' }, 'bot'), ' ');
  meta.append(timeOf(message));
  return meta;
}

function timeOf({ time }) {
  const date = new Date(time || 0);
  return el('time', { title: moment.format(date), dateTime: date.toISOString() }, clock.format(date));
}

function fill(item, message, room) {
  const body = item.querySelector('.body');
  item.version = message.version;
  item.classList.toggle('gone', message.deleted);
  if (message.deleted) {
    body.append(el('p', { className: 'text muted' }, 'This message was deleted.'));
    return;
  }
  item.unknown = Boolean(message.answers && !room.find(message.answers));
  if (message.answers) body.append(quoteOf(message, room));
  body.append(textOf(message.text, mentionsIn(room)));
  for (const mention of body.querySelectorAll('.mention')) {
    if (room.isMe(mention.textContent.slice(1))) mention.classList.add('me');
  }
  item.classList.toggle('mentioned', Boolean(body.querySelector('.mention.me')));
  if (message.edited) {
    const when = `Edited ${moment.format(message.edited)}`;
    body.append(el('p', { className: 'edited muted', title: when }, '(edited)'));
  }
  if (message.reactions.size) body.append(reactionsOf(message, room));
}

/** What a message answers; it leads there. */
function quoteOf({ answers }, room) {
  const original = room.find(answers);
  const quote = el('button', { className: 'quote', type: 'button' });
  quote.dataset.does = `jump ${answers}`;
  if (original?.deleted) {
    quote.append('A message that was deleted');
  } else if (original) {
    const name = original.name || room.nameOf(original.from);
    quote.append(el('bdi', { className: 'who' }, name), ' ', el('bdi', {}, snippet(original.text)));
  } else {
    quote.append('An earlier message');
  }
  quote.prepend(el('span', { className: 'hidden' }, 'Answers '));
  return quote;
}

function reactionsOf(message, room) {
  const buttons = [...message.reactions].map(([emoji, users]) => {
    const names = namesOf(users, room);
    const own = users.has(room.me);
    const button = el('button', { className: 'reaction', type: 'button', title: names }, emoji, ' ', String(users.size));
    button.dataset.does = `react ${emoji}`;
    button.ariaPressed = String(own);
    button.ariaLabel = `${emoji} ${users.size}: ${names}`;
    return button;
  });
  return el('p', { className: 'reactions' }, ...buttons);
}

/** The names of those who reacted, oneself first. */
export function namesOf(users, room) {
  const all = [...users].sort((a, b) => (b === room.me) - (a === room.me));
  const names = all.slice(0, NAMED).map((user) => (user === room.me ? 'you' : room.nameOf(user)));
  if (all.length > NAMED) names.push(`${all.length - NAMED} more`);
  return new Intl.ListFormat('en').format(names);
}

function textOf(text, mention) {
  const node = el('div', { className: isPictures(text) ? 'text pictures' : 'text', dir: 'auto' }, markup(text, mention));
  if (text.length <= LONG && text.split('\n', TALL + 1).length <= TALL) return node;
  node.classList.add('folded');
  const fold = el('button', { className: 'unfold', type: 'button', ariaExpanded: 'false' }, 'Show the whole message');
  fold.onclick = () => {
    const folded = node.classList.toggle('folded');
    fold.ariaExpanded = String(!folded);
    fold.textContent = folded ? 'Show the whole message' : 'Show less';
    if (folded) fold.scrollIntoView({ block: 'nearest' });
  };
  return el('div', {}, node, fold);
}

const dayOf = (time) => new Date(time).toDateString();
