// Forms: log in, enter an open room, make one, find one.

import { createOpenRoom, findOpenRoom } from './chitchat.js';
import { byId, setText } from './dom.js';

export class Forms {
  constructor(page) {
    logIn(page);
    enterRoom(page);
    dialog('new-room', 'new-dialog', async () => {
      const kind = byId('room-kind').value;
      const [name, secret] = [byId('room-name'), byId('room-secret')];
      if (name.value.trim().length < 2) throw new Missing('A name has 2 characters or more.', name);
      if (kind !== 'public' && secret.value.length < 8) {
        throw new Missing('A passphrase has 8 characters or more.', secret);
      }
      const room = await createOpenRoom({
        title: name.value.trim(),
        description: byId('room-text').value.trim(),
        visibility: kind,
        ...(kind !== 'public' && { password: secret.value }),
      });
      await page.relist();
      location.hash = `#${encodeURIComponent(`open/${room.id}`)}`;
    });
    byId('room-kind').onchange = ({ target }) => (byId('room-closed').hidden = target.value === 'public');
    dialog('find-room', 'find-dialog', async () => {
      const room = await findOpenRoom(byId('find-name').value.trim());
      location.hash = `#${encodeURIComponent(`open/${room.id}`)}`;
    });
  }
}

function logIn(page) {
  const [email, password] = [byId('email'), byId('password')];
  submit(byId('login-form'), byId('login-error'), async () => {
    const [first] = [email, password].filter((field) => !field.value);
    mark([email, password], first);
    if (first) throw new Missing('Enter your email and your password.', first);
    try {
      await page.enter(email.value.trim(), password.value);
      password.value = '';
    } catch (error) {
      if (error.status === 401) mark([email, password], password);
      throw new Missing(error.message, password);
    }
  });
}

function enterRoom(page) {
  const [name, secret] = [byId('enter-name'), byId('enter-secret')];
  submit(byId('enter'), byId('enter-error'), async () => {
    const room = page.current;
    if (!name.value.trim()) throw new Missing('Choose a name.', name);
    room.problem = '';
    try {
      await room.enter(name.value.trim(), secret.value);
    } catch (error) {
      throw new Missing(error.message, room.closed ? secret : name);
    }
    secret.value = '';
    page.paint();
    byId('text').focus();
  });
}

function dialog(opener, id, work) {
  const box = byId(id);
  const form = box.querySelector('form');
  byId(opener).onclick = () => {
    form.reset();
    for (const select of form.querySelectorAll('select')) select.dispatchEvent(new Event('change'));
    setText(form.querySelector('.error'), '');
    box.showModal();
  };
  form.querySelector('.cancel').onclick = () => box.close();
  submit(form, form.querySelector('.error'), async () => {
    await work();
    box.close();
  });
}

/** An error that belongs to a field, which gets the focus. */
class Missing extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** Does `work` when the form is sent, once at a time, and shows what went wrong. */
function submit(form, errorLine, work) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.ariaBusy === 'true') return;
    form.ariaBusy = 'true';
    setText(errorLine, '');
    try {
      await work();
    } catch (error) {
      setText(errorLine, error.message);
      error.field?.focus();
      error.field?.select();
    } finally {
      form.ariaBusy = 'false';
    }
  });
}

function mark(fields, wrong) {
  for (const field of fields) field.setAttribute('aria-invalid', String(field === wrong));
}
