// Forms: log in, enter an open room, make one, find one.

import { createOpenRoom, findOpenRoom } from './chitchat.js';
import { setText, ui } from './dom.js';

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
      throw wrong(room.closed ? enterSecret : enterName, error.message);
    }
    enterSecret.value = '';
    page.paint();
    ui.text.focus();
  });

  submit(ui.find, async () => {
    const name = ui.findName.value.trim();
    if (!name) return;
    const exact = [...page.rooms.values()].find((room) => room.title.toLowerCase() === name.toLowerCase());
    const first = page.firstFound();
    // The server knows rooms that are not listed.
    if (exact) location.hash = encodeURIComponent(exact.key);
    else await findOpenRoom(name).then(go, (error) => {
      if (!first) throw error.status === 404 ? wrong(ui.findName, 'There is no room of this name.') : error;
      location.hash = new URL(first.href).hash;
    });
    ui.findName.value = '';
    page.paint();
  });

  ui.newRoom.onclick = () => {
    ui.newForm.reset();
    ui.roomClosed.hidden = true;
    setText(ui.newForm.querySelector('.error'), '');
    ui.newDialog.showModal();
  };
  ui.newCancel.onclick = () => ui.newDialog.close();
  ui.roomKind.onchange = () => (ui.roomClosed.hidden = ui.roomKind.value === 'public');
  submit(ui.newForm, async () => {
    const { roomName, roomText, roomKind, roomSecret } = ui;
    const password = roomKind.value === 'public' ? undefined : roomSecret.value;
    if (roomName.value.trim().length < 2) throw wrong(roomName, 'A name has 2 characters or more.');
    if (password?.length < 8) throw wrong(roomSecret, 'A passphrase has 8 characters or more.');
    const room = await createOpenRoom({
      title: roomName.value.trim(),
      description: roomText.value.trim(),
      visibility: roomKind.value,
      password,
    });
    await page.relist();
    go(room);
    ui.newDialog.close();
  });
}

const go = (room) => (location.hash = `#${encodeURIComponent(`open/${room.id}`)}`);

/** An error that belongs to a field, which is marked and gets the focus. */
const wrong = (field, message) => Object.assign(new Error(message), { field });

/** Does `work` when the form is sent, once at a time, and shows what went wrong. */
function submit(form, work) {
  const line = form.querySelector('.error');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.ariaBusy === 'true') return;
    form.ariaBusy = 'true';
    setText(line, '');
    for (const field of form.querySelectorAll('[aria-invalid]')) field.ariaInvalid = null;
    try {
      await work();
    } catch ({ field, message }) {
      setText(line, message);
      if (field) field.ariaInvalid = 'true';
      field?.focus();
      field?.select();
    } finally {
      form.ariaBusy = 'false';
    }
  });
}
