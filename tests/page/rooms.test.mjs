// Rooms that people make, change and leave; what is kept of what they write.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HASH, here, unique } from './setting.mjs';
import { comeAndGo } from './visitor.mjs';

test('a draft survives a reload, and goes with its account', async () => {
  const alice = await here.visitor('alice');
  const draft = unique('half a thought');
  await alice.field.fill(draft);
  await alice.enter(HASH);
  await alice.reload();
  await alice.enter('demo');
  assert.equal(await alice.field.inputValue(), draft);

  await alice.page.getByRole('button', { name: 'Log out' }).click();
  await alice.page.getByRole('heading', { name: 'Log out?' }).waitFor();
  await alice.audit('the question before one logs out');
  await alice.page.getByRole('button', { name: 'Stay' }).click();
  assert.equal(await alice.field.inputValue(), draft);
  await alice.page.getByRole('button', { name: 'Log out' }).click();
  await alice.page.locator('#askYes').click();
  await alice.page.getByRole('button', { name: 'Log in' }).waitFor();
  assert.equal(await alice.page.evaluate(() => localStorage.length), 0);
  await alice.logIn('bob');
  await alice.enter('demo');
  assert.equal(await alice.field.inputValue(), '');
  await alice.page.getByRole('button', { name: 'Log out' }).click();
  await alice.page.getByRole('button', { name: 'Log in' }).waitFor(); // nothing is unsent, nothing is asked
  await alice.leave();
});

test('many who come and go are one line, and who wants to sees each', async () => {
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => here.visitor(name, { room: null })));
  const title = unique('Station');
  await alice.page.getByRole('button', { name: 'New room' }).click();
  await alice.makeRoom(title);
  await alice.enterAs('Alice');
  await alice.connected();
  const text = unique('All aboard');
  await alice.say(text);
  await alice.message(text).waitFor();
  await comeAndGo(bob.page, title);
  const summary = alice.page.locator('#messages summary');
  await summary.getByText('12 people came, 9 left').waitFor();
  await alice.audit('a crowd');
  assert.equal(await alice.page.getByText('Guest 3 has left the room.', { exact: true }).isVisible(), false);
  await summary.click();
  await alice.page.getByText('Guest 3 has left the room.', { exact: true }).waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('who made a closed room enters without its passphrase, and changes it', async () => {
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => here.visitor(name, { room: null })));
  const [title, other] = [unique('Vault'), unique('Cellar')];
  await alice.page.getByRole('button', { name: 'New room' }).click();
  await alice.makeRoom(title, 'a good passphrase');
  assert.equal(await alice.page.locator('#enterSecret').isVisible(), false);
  await alice.enterAs('Alice');
  await alice.connected();
  await alice.page.locator('.room-link[aria-current]').getByText('closed').waitFor({ state: 'attached' });

  await bob.page.getByRole('textbox', { name: 'Find a room' }).fill(title);
  await bob.page.keyboard.press('Enter');
  await bob.page.getByRole('heading', { name: title }).waitFor();
  await bob.enterAs('Bob', 'a good passphrase');
  await bob.connected();

  await alice.page.getByRole('button', { name: 'Change' }).click();
  await alice.audit('the form of a room');
  await alice.page.locator('#roomName').fill(other);
  await alice.page.locator('#roomSecret').fill('a better passphrase');
  await alice.page.getByRole('button', { name: 'Save' }).click();
  await alice.page.getByRole('heading', { name: other }).waitFor();
  await bob.page.getByText('The passphrase of this room has been changed').waitFor();
  await alice.connected(); // by the new one, which it has just been given
  const text = unique('still here');
  await alice.say(text);
  await alice.message(text).waitFor();
  await bob.enterAs('Bob', 'a better passphrase');
  await bob.message(text).waitFor();

  await alice.page.getByRole('button', { name: 'Change' }).click();
  await alice.page.getByRole('button', { name: 'Delete the room…' }).click();
  await alice.page.getByRole('heading', { name: 'Delete this room?' }).waitFor();
  await alice.page.getByRole('button', { name: 'Delete', exact: true }).click();
  await bob.page.getByText('This room has been deleted.').waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('what is wrong with a room is said in sentences, at the field', async () => {
  const alice = await here.visitor('alice', { room: 'open/1' });
  const said = alice.page.locator('#newForm .error');
  await alice.page.getByRole('button', { name: 'New room' }).click();
  for (const name of ['1234', 'x', 'events']) {
    await alice.page.locator('#roomName').fill(name);
    await alice.page.getByRole('button', { name: 'Create' }).click();
    await said.getByText('A room needs a name of 2 to 70 characters that is not only digits').waitFor();
  }
  await alice.page.locator('#roomName').fill('public chat');
  await alice.page.getByRole('button', { name: 'Create' }).click();
  await said.getByText('There is a room of this name already.').waitFor();
  assert.equal(await alice.focus(), 'roomName');
  await alice.page.getByRole('button', { name: 'Cancel' }).last().click();
  await alice.enterAs('Alice');
  await alice.connected();
  await alice.page.getByRole('button', { name: 'Change' }).click();
  await alice.page.getByRole('button', { name: 'Save' }).click();
  await said.getByText('You may not change this room.').waitFor();
  await alice.leave();
});

test('the room in which something was said last is the first', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob', { room: HASH })]);
  const first = () => alice.page.locator('#chats a').first().getAttribute('href');
  const [demo, other] = ['demo', HASH].map((name) => `#${encodeURIComponent(`chat/${name}`)}`);
  for (const [room, link] of [[HASH, other], ['demo', demo]]) {
    await bob.enter(room);
    const text = unique('news');
    await bob.say(text);
    await bob.message(text).waitFor();
    await alice.page.waitForFunction((link) => document.querySelector('#chats a').getAttribute('href') === link, link);
    assert.equal(await first(), link);
  }
  await Promise.all([alice.leave(), bob.leave()]);
});
