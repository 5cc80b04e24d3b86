// Keys that work everywhere: to the rooms, to the next one, and to where one writes.

import { ui } from './dom.js';

/** `to`: `rooms()` to the field that finds rooms, `next(step)` to a room further down or up, `search()` the room, `write()`. */
export function listenToKeys(to) {
  ui.skipText.onclick = to.write;
  ui.skipLog.onclick = () => ui.log.focus();
  document.addEventListener('keydown', (event) => {
    const { key, altKey, ctrlKey, metaKey, shiftKey } = event;
    if (ui.app.hidden || document.querySelector('dialog[open]')) return;
    const step = { ArrowUp: -1, ArrowDown: 1 }[key];
    if ((ctrlKey || metaKey) && !altKey && !shiftKey && key.toLowerCase() === 'k') to.rooms();
    else if ((ctrlKey || metaKey) && shiftKey && !altKey && key.toLowerCase() === 'f' && ui.searchButton.checkVisibility()) to.search();
    else if (altKey && !ctrlKey && !metaKey && step) to.next(step);
    else if (key === 'Escape' && !event.defaultPrevented && event.target.closest('#rooms, #log')) to.write();
    else if (isStray(event)) return to.write(); // and the letter goes where the focus is then
    else return;
    event.preventDefault();
  });
}

/** Whether a letter was typed where nothing takes it. */
function isStray({ key, target, ctrlKey, metaKey, altKey }) {
  if (key.length !== 1 || key === ' ' || ctrlKey || metaKey || altKey || ui.talk.hidden) return false;
  return !target.closest('input, textarea, select, dialog, summary');
}
