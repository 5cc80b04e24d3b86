// Dialogs: which emoji, and whether something shall really go.

import { el, setText, ui } from './dom.js';
import { EMOJI, QUICK, findEmoji } from './emoji.js';
import { namesOf } from './item.js';
import { snippet } from './message.js';

const OFFERED = 40; // emoji at once

let react = () => {};
let agreed = () => {};

/** Asks for an emoji; `done(emoji)` is told. */
export function askReaction(message, room, done) {
  react = done;
  ui.emojiName.value = '';
  const lines = [...message.reactions].map(([emoji, users]) => el('li', {}, `${emoji} `, el('bdi', {}, namesOf(users, room))));
  ui.reactors.replaceChildren(...lines);
  offer();
  ui.reactDialog.showModal();
}

/** Asks whether a message shall be deleted. */
export function askDeletion(message, done) {
  const why = 'It is gone for everybody, and can’t be brought back.';
  ask({ title: 'Delete this message?', text: snippet(message.text, 300), why, yes: 'Delete' }, done);
}

/** Asks whether something shall really be done; `done()` is told if so. */
export function ask({ title, text, why, yes, no = 'Keep it' }, done) {
  agreed = done;
  setText(ui.askTitle, title);
  setText(ui.askText, text);
  setText(ui.askWhy, why);
  setText(ui.askYes, yes);
  setText(ui.askNo, no);
  ui.askDialog.showModal();
}

function offer() {
  const part = ui.emojiName.value.trim().toLowerCase().replaceAll(':', '');
  const names = new Map([...EMOJI].map(([name, emoji]) => [emoji, name]));
  const found = part ? findEmoji(part, OFFERED) : QUICK.map((emoji) => [names.get(emoji), emoji]);
  const typed = /^\p{RGI_Emoji}$/v.test(part) ? [[part, part]] : [];
  ui.emojiList.replaceChildren(
    ...[...typed, ...found].map(([name, emoji]) => {
      const label = name.replaceAll('_', ' ');
      return el('button', { type: 'button', title: label, ariaLabel: label, onclick: () => choose(emoji) }, emoji);
    }),
  );
  setText(ui.emojiNone, typed.length || found.length ? '' : 'There is no emoji of this name here.');
}

function choose(emoji) {
  ui.reactDialog.close();
  react(emoji);
}

ui.emojiName.addEventListener('input', offer);
ui.reactForm.addEventListener('submit', (event) => {
  event.preventDefault();
  ui.emojiList.firstElementChild?.click();
});
ui.askForm.addEventListener('submit', (event) => {
  event.preventDefault();
  ui.askDialog.close();
  agreed();
});
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('.cancel')?.addEventListener('click', () => dialog.close());
  // A click beside a dialog in which nothing is written closes it.
  if (dialog.matches('.light')) dialog.addEventListener('click', ({ target }) => target === dialog && dialog.close());
}
