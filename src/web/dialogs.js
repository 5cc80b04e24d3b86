// Dialogs about a message: which emoji, and whether it shall really go.

import { el, setText, ui } from './dom.js';
import { EMOJI, QUICK, findEmoji } from './emoji.js';
import { namesOf } from './item.js';
import { snippet } from './message.js';

const OFFERED = 40; // emoji at once

let react = () => {};
let remove = () => {};

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
  remove = done;
  setText(ui.deleteText, snippet(message.text, 300));
  ui.deleteDialog.showModal();
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
ui.deleteForm.addEventListener('submit', (event) => {
  event.preventDefault();
  ui.deleteDialog.close();
  remove();
});
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('.cancel')?.addEventListener('click', () => dialog.close());
  // A click beside a dialog in which nothing is written closes it.
  if (dialog.matches('.light')) dialog.addEventListener('click', ({ target }) => target === dialog && dialog.close());
}
