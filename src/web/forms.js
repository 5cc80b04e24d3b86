// Forms: log in, enter an open room, make one, find one.

import { createOpenRoom, findOpenRoom } from './chitchat.js';
import { ask } from './dialogs.js';
import { setText, ui } from './dom.js';
import { FIELDS } from './sentences.js';

/** Lets the forms do their work; `page` is what they work on. */
export function listenToForms(page) {
  submit(ui.loginForm, async () => {
    const { email, password } = ui;
    const missing = [email, password].find((field) => !field.value);
    if (missing) throw wrong(missing, 'Enter your email and your password.');
    try {
      await page.enter(email.value.trim(), password.value);
      password.value = '';
    } catch (error) {
      throw wrong(password, error.message);
    }
  });

  submit(ui.enter, async () => {
    const { enterName, enterSecret } = ui;
    const room = page.current;
    if (!enterName.value.trim()) throw wrong(enterName, 'Choose a name.');
    room.problem = '';
    try {
      await room.enter(enterName.value.trim(), enterSecret.value);
    } catch (error) {
      if (room === page.current) throw wrong(room.closed ? enterSecret : enterName, error.message);
      room.problem = error.message;
    }
    // Who has gone elsewhere meanwhile is not disturbed.
    if (room !== page.current) return;
    enterSecret.value = '';
    page.paintNow(); // what is hidden can't take the focus
    ui.text.focus();
  }, () => page.current);

  submit(ui.find, async () => {
    const name = ui.findName.value.trim();
    if (!name) return;
    const exact = [...page.rooms.values()].find((room) => room.title.toLowerCase() === name.toLowerCase());
    const first = page.firstFound();
    // The server knows rooms that are not listed.
    if (exact) location.hash = encodeURIComponent(exact.key);
    else await findOpenRoom(name).then((room) => isElsewhere(ui.find) || go(room), (error) => {
      if (!first) throw error.status === 404 ? wrong(ui.findName, 'There is no room of this name.') : error;
      location.hash = new URL(first.href).hash;
    });
    ui.findName.value = '';
    page.paint();
  });

  let changing = null; // the room that the form is about, if it is no new one
  let opened = 0; // how often the form was
  const openForm = (room) => {
    changing = room;
    opened++;
    ui.newForm.reset();
    if (room) Object.assign(ui.roomName, { value: room.title });
    if (room) Object.assign(ui.roomText, { value: room.about });
    if (room) Object.assign(ui.roomKind, { value: room.visibility });
    setText(ui.newTitle, room ? 'Change this room' : 'New room');
    setText(ui.newSubmit, room ? 'Save' : 'Create');
    ui.roomDelete.hidden = !room;
    setText(ui.newForm.querySelector('.error'), '');
    kindChosen();
    ui.newDialog.showModal();
  };
  const kindChosen = () => {
    ui.roomClosed.hidden = ui.roomKind.value === 'public';
    const keeps = changing && changing.visibility !== 'public';
    setText(ui.roomSecretLabel, keeps ? 'New passphrase (empty: the one it has)' : 'Passphrase (8 characters or more)');
  };
  ui.newRoom.onclick = () => openForm(null);
  ui.roomChange.onclick = () => openForm(page.current);
  ui.newCancel.onclick = () => ui.newDialog.close();
  ui.roomKind.onchange = kindChosen;
  ui.roomDelete.onclick = () => {
    ui.newDialog.close();
    const room = changing;
    const question = { title: 'Delete this room?', text: room.title, why: 'It is gone for everybody, with all that was said in it.', yes: 'Delete' };
    ask(question, () => room.remove().catch((error) => {
      room.problem = error.message;
      page.paint();
    }));
  };
  submit(ui.newForm, async () => {
    const { roomName, roomText, roomKind, roomSecret } = ui;
    const closed = roomKind.value !== 'public';
    const keeps = changing && changing.visibility !== 'public' && !roomSecret.value;
    const password = closed && !keeps ? roomSecret.value : undefined;
    const fields = { title: roomName.value.trim(), description: roomText.value.trim(), visibility: roomKind.value, password };
    if (!isTitle(fields.title)) throw wrong(roomName, FIELDS.title);
    if (password?.length < 8) throw wrong(roomSecret, FIELDS.password);
    const turn = opened;
    const isThere = () => ui.newDialog.open && turn === opened;
    try {
      if (changing) await changing.change(fields);
      else await make(fields, isThere);
    } catch (error) {
      if (!isThere()) return;
      error.field ??= { title: roomName, description: roomText, password: roomSecret, visibility: roomKind }[error.named];
      throw error;
    }
    if (isThere()) ui.newDialog.close();
    page.paint();
  }, () => opened);

  async function make(fields, isThere) {
    const room = await createOpenRoom(fields);
    page.made(room, fields.password ?? '');
    if (isThere()) go(room);
    page.relist(); // which may take a while, and is not needed to enter
  }
}

const isTitle = (title) => [...title].length >= 2 && !/^\d+$/.test(title) && !/^(all|events)$/i.test(title);

const go = (room) => (location.hash = `#${encodeURIComponent(`open/${room.id}`)}`);

/** An error that belongs to a field, which is marked and gets the focus. */
const wrong = (field, message) => Object.assign(new Error(message), { field });

/** Whether somebody has turned to something else than this form. */
const isElsewhere = (form) => document.activeElement !== document.body && !form.contains(document.activeElement);

/** Does `work` when the form is sent, once at a time for what it is `about`, and shows what went wrong. */
function submit(form, work, about = () => form) {
  const line = form.querySelector('.error');
  let busy = null; // what it was about when it was sent
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const mine = about();
    if (busy === mine) return;
    busy = mine;
    form.ariaBusy = 'true';
    setText(line, '');
    for (const field of form.querySelectorAll('[aria-invalid]')) field.ariaInvalid = null;
    try {
      await work();
    } catch ({ field, message }) {
      setText(line, message);
      if (field) field.ariaInvalid = 'true';
      if (isElsewhere(form)) return;
      field?.focus();
      field?.select();
    } finally {
      if (busy === mine) {
        busy = null;
        form.ariaBusy = 'false';
      }
    }
  });
}
