// Where one writes: a new message, an answer to one, or another text for one of one's own.

import { Completion } from './completion.js';
import { setText, ui } from './dom.js';
import { snippet } from './message.js';

const TALLEST = 200; // px that the text field grows to
const COMPOSING = 229; // the key code of what an input method still works on, in browsers that don't say isComposing

export class Composer {
  #page;
  #room = null;
  #text = ui.text;
  #hooks;
  #completion = new Completion(ui.text, ui.offers);

  /** `hooks`: `sent()` when a message was queued, `remove(message)` when an edit leaves nothing. */
  constructor(page, hooks) {
    this.#page = page;
    this.#hooks = hooks;
    ui.composer.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener('keydown', (event) => this.#key(event));
    this.#text.addEventListener('input', () => this.#typed());
    ui.contextCancel.onclick = () => this.cancel();
  }

  show(room) {
    this.#room = room;
    this.#fill();
  }

  focus() {
    this.#text.focus();
  }

  paint(room) {
    // What was refused has been given back.
    if (!room.editing && this.#text.value !== room.draft) {
      this.#page.drafts.changed(room);
      this.#fill();
    }
    const over = room.connection.state === 'over';
    this.#text.disabled = ui.send.disabled = over;
    const spare = room.spare(this.#text.value);
    setText(ui.textSize, spare < 0 ? `${-spare} bytes too long` : spare < 2_000 ? `${spare} bytes left` : '');
    ui.textSize.classList.toggle('error', spare < 0);
    this.#text.ariaInvalid = String(spare < 0);
    const { editing, answering } = room;
    ui.context.hidden = !editing && !answering;
    if (editing) this.#context('Edit your message', '');
    else if (answering) this.#context(`Answer to ${answering.name || room.nameOf(answering.from)}`, snippet(answering.text));
    setText(ui.send, editing ? 'Save' : 'Send');
  }

  answer(message) {
    Object.assign(this.#room, { answering: message, editing: null });
    this.#fill();
    this.focus();
  }

  edit(message) {
    Object.assign(this.#room, { editing: { message, text: message.text }, answering: null });
    this.#fill();
    this.focus();
  }

  /** Goes back to writing a new message. */
  cancel() {
    Object.assign(this.#room, { editing: null, answering: null });
    this.#fill();
    this.focus();
  }

  /** Puts a text back to where it was written, before what is there. */
  takeBack(text) {
    const room = this.#room;
    room.editing = null;
    room.giveBack(text);
    this.#page.drafts.changed(room);
    this.#fill();
    this.focus();
  }

  #context(title, text) {
    setText(ui.contextTitle, title);
    setText(ui.contextText, text);
  }

  #fill() {
    const room = this.#room;
    this.#completion.close();
    this.#text.value = room?.editing ? room.editing.text : (room?.draft ?? '');
    if (room && !room.editing) room.draft = this.#text.value; // a text field has line ends of its own
    this.#grow();
    this.#page.paint();
  }

  #key(event) {
    // While an input method composes, Enter chooses a word.
    if (event.isComposing || event.keyCode === COMPOSING) return;
    const { key } = event;
    if (this.#completion.key(event)) {
      event.preventDefault();
    } else if (key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (key === 'ArrowUp' && !this.#text.value && !this.#room.editing) {
      const last = this.#room.changeable && this.#room.live.messages.findLast(({ own, deleted }) => own && !deleted);
      if (!last) return;
      event.preventDefault();
      this.edit(last);
    } else if (key === 'Escape' && (this.#room.editing || this.#room.answering)) {
      event.preventDefault();
      this.cancel();
    }
  }

  #typed() {
    const room = this.#room;
    if (room.editing) {
      room.editing.text = this.#text.value;
    } else {
      room.draft = this.#text.value;
      this.#page.drafts.changed(room);
      if (this.#text.value.trim()) room.tellTyping();
    }
    this.#completion.update(room);
    this.#grow();
    this.#page.paint();
  }

  #send() {
    const room = this.#room;
    const text = this.#text.value.trim() ? this.#text.value.replace(/^\s*\n|\s+$/g, '') : '';
    if (room.spare(text) < 0) return;
    if (room.editing) return this.#save(text);
    if (!text || !room.say(text, room.answering?.key)) return;
    Object.assign(room, { draft: '', answering: null });
    this.#page.drafts.changed(room);
    this.#fill();
    this.#hooks.sent();
  }

  #save(text) {
    const { message } = this.#room.editing;
    if (!text) return this.#hooks.remove(message);
    if (text !== message.text) this.#room.changes.ask({ type: 'edit', id: message.key, text });
    this.cancel();
  }

  #grow() {
    this.#text.style.height = 'auto';
    this.#text.style.height = `${Math.min(this.#text.scrollHeight + 2, TALLEST)}px`;
  }
}
