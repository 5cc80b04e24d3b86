// Logging in, rooms, and talking in them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HASH, here, unique } from './setting.mjs';
import { PATIENCE } from './visitor.mjs';

test('after logging in one sees the own chats and the token', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.page.getByRole('heading', { name: 'Choose a room' }).waitFor();
  assert.equal(await alice.page.locator('#chats a').count(), 2);
  await alice.page.getByText('Your token').click();
  const token = alice.page.getByRole('textbox', { name: 'Opens one WebSocket' });
  const first = await token.inputValue();
  assert.match(first, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  await alice.audit('no room chosen');
  await alice.page.getByRole('button', { name: 'New token' }).click();
  await alice.page.getByText('Here it is.').waitFor();
  await alice.page.waitForFunction((first) => document.querySelector('#token').value !== first, first);
  await alice.leave();
});

test('a wrong password is answered by a sentence, and the form stays', async () => {
  const alice = await here.stranger();
  await alice.logIn('alice', 'not the password');
  await alice.page.getByRole('alert').filter({ hasText: 'Email or password is wrong' }).waitFor();
  assert.equal(await alice.focus(), 'password');
  await alice.audit('login refused');
  await alice.leave();
});

test('an account without any chat gets a clear error', async () => {
  const carol = await here.stranger();
  await carol.logIn('carol');
  await carol.page.getByRole('alert').filter({ hasText: /\w+ \w+/ }).waitFor();
  assert.equal(await carol.page.locator('#app').isVisible(), false);
  await carol.leave();
});

test('two people talk, and see each other and that the other writes', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const [question, answer] = [unique('How are you?'), unique('Very well!')];
  await alice.say(question);
  await bob.message(question).waitFor();
  await bob.field.pressSequentially('Ve');
  await alice.page.getByText(/Bob Demo.* is writing/).waitFor();
  await bob.say(answer);
  await alice.message(answer).waitFor();
  await alice.page.locator('#people').getByText('Bob Demo').waitFor();
  await bob.leave();
  await alice.page.locator('#people').getByText('Bob Demo').waitFor({ state: 'detached' });
  await alice.leave();
});

test('a room whose name holds slashes and dollars opens', async () => {
  const alice = await here.visitor('alice', { room: HASH });
  const text = unique('behind a hash');
  await alice.say(text);
  await alice.message(text).waitFor();
  await alice.leave();
});

test('what is said in another room is counted there', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  await alice.enter(HASH);
  await bob.say(unique('over here'));
  await alice.page.getByRole('link', { name: /1 unread/ }).waitFor();
  await alice.enter('demo');
  await alice.page.getByRole('link', { name: /unread/ }).waitFor({ state: 'detached' });
  await Promise.all([alice.leave(), bob.leave()]);
});

test('the history is there after a reload, in the same room', async () => {
  const alice = await here.visitor('alice');
  const text = unique('remember this');
  await alice.say(text);
  await alice.message(text).waitFor();
  await alice.reload();
  await alice.message(text).waitFor(); // the address still names the room
  await alice.leave();
});

test('Enter sends, Shift+Enter makes a line, a draft stays with its room', async () => {
  const alice = await here.visitor('alice');
  const [first, second] = [unique('first'), unique('second')];
  await alice.field.fill(first);
  await alice.field.press('Shift+Enter');
  await alice.field.pressSequentially(second);
  await alice.enter(HASH);
  assert.equal(await alice.field.inputValue(), '');
  await alice.enter('demo');
  assert.equal(await alice.field.inputValue(), `${first}\n${second}`);
  await alice.field.press('Enter');
  await alice.sees(first, [`${first}\n${second}`]);
  await alice.leave();
});

test('everything can be done with the keyboard alone', async () => {
  const alice = await here.stranger();
  const { keyboard } = alice.page;
  const tabTo = async (wanted) => {
    for (let i = 0; i < 30; i++) {
      if (await alice.page.evaluate((selector) => document.activeElement.matches(selector), wanted)) return;
      await keyboard.press('Tab');
    }
    assert.fail(`Tab never reaches ${wanted}`);
  };
  await tabTo('#email');
  await keyboard.type('alice@propromo.example');
  await tabTo('#password');
  await keyboard.type('alice-password');
  await keyboard.press('Enter');
  await alice.page.locator('#chats a').first().waitFor();
  await tabTo('#chats a');
  await keyboard.press('Enter');
  await alice.connected();
  await tabTo('#text');
  const text = unique('typed blind');
  await keyboard.type(text);
  await keyboard.press('Enter');
  await alice.message(text).waitFor();
  assert.equal(await alice.focus(), 'text', 'the focus stays where one writes');
  await keyboard.press('Shift+Tab');
  await tabTo('#log, #log *');
  await tabTo('#logout');
  await keyboard.press('Enter');
  await alice.page.getByRole('button', { name: 'Log in' }).waitFor();
  assert.equal(await alice.focus(), 'email');
  await alice.leave();
});

test('an open room is made, entered with its passphrase, and talked in', async () => {
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => here.visitor(name, { room: null })));
  const title = unique('Attic');
  await alice.page.getByRole('button', { name: 'New room' }).click();
  await alice.page.getByRole('button', { name: 'Create' }).click();
  await alice.page.getByText('A room needs a name of 2 to 70 characters').waitFor();
  await alice.audit('the form of a new room');
  await alice.makeRoom(title, 'a good passphrase');
  await bob.page.getByRole('textbox', { name: 'Find a room, or enter one by its name' }).fill(title);
  await bob.page.keyboard.press('Enter');
  await bob.page.getByRole('heading', { name: title }).waitFor();
  await bob.enterAs('Bob', 'not the passphrase');
  await bob.page.getByText('That is not the passphrase').waitFor();
  await bob.audit('a wrong passphrase');
  await alice.enterAs('Alice'); // who made it has said the passphrase already
  await bob.enterAs('Bob', 'a good passphrase');
  await Promise.all([alice.connected(), bob.connected()]);
  const text = unique('up here');
  await alice.say(text);
  await Promise.all([alice.sees(text, [text]), bob.sees(text, [text])]);
  await alice.page.locator('#people').getByText('Bob').waitFor();
  await bob.page.getByRole('button', { name: 'Leave' }).click();
  await alice.page.getByText('Bob has left the room.').waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a name that somebody has in an open room is refused, and another works', async () => {
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => here.visitor(name, { room: 'open/1' })));
  await alice.enterAs('Robin');
  await alice.connected();
  await bob.enterAs('Robin');
  await bob.page.getByText('The name “Robin” is taken.').waitFor();
  await bob.enterAs('Robin Two');
  await bob.connected();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a name is refused also if that is said long after all else', async () => {
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => here.visitor(name)));
  let held = [];
  await bob.page.routeWebSocket(/\/chats\/1\/ws/, (socket) => {
    socket.connectToServer().onMessage((message) => (held ? held.push(message) : socket.send(message)));
    bob.says = socket;
  });
  await bob.reload();
  await Promise.all([alice, bob].map((visitor) => visitor.page.evaluate(() => (location.hash = '#open/1'))));
  await alice.enterAs('Wren');
  await alice.connected();
  const told = [];
  bob.page.on('requestfinished', (request) => told.push(new URL(request.url()).pathname));
  await bob.enterAs('Wren');
  const isTold = () => held.length && told.includes('/chats/events/1') && told.filter((path) => path === '/chats/1').length > 1;
  for (let tries = 0; !isTold(); tries += 1) {
    assert.ok(tries < PATIENCE / 50, `the page has asked: ${told}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await bob.page.evaluate(() => new Promise(requestAnimationFrame)); // the page has taken in what it was told
  for (const message of held) bob.says.send(message);
  held = null;
  await bob.page.getByText('The name “Wren” is taken.').waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a room that does not exist is said not to', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.page.evaluate(() => (location.hash = '#open/nowhere'));
  await alice.page.getByRole('heading', { name: 'No such room' }).waitFor();
  await alice.leave();
});

test('what grows below before one has scrolled leaves one at the end', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const first = unique('before it grew');
  await alice.say(first);
  await alice.message(first).waitFor();
  // The event of the list's own scrolling comes when something else has grown below already.
  await alice.page.evaluate(() => {
    const last = document.querySelector('#messages > .message:last-child');
    last.style.minHeight = '2000px';
    document.querySelector('#log').dispatchEvent(new Event('scroll'));
  });
  const second = unique('after it grew');
  await bob.say(second);
  await alice.message(second).waitFor();
  await alice.page.waitForFunction(() => {
    const log = document.querySelector('#log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });
  await Promise.all([alice.leave(), bob.leave()]);
});
