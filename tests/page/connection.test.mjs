// Connections that break, and what becomes of messages meanwhile.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { here, unique, until } from './setting.mjs';
import { MESSAGES, flood } from './visitor.mjs';

test('a server that dies and comes back costs no message and doubles none', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const prefix = unique('counted');
  const expected = Array.from({ length: 40 }, (_, i) => `${prefix}: ${i}`);
  const talking = (async () => {
    for (const text of expected) await alice.say(text);
  })();
  await bob.message(expected[5]).waitFor();
  await here.server.kill();
  await talking;
  await alice.page.getByText(/^Offline/).waitFor();
  await alice.page.locator('#outbox').getByText('Waits for the connection').first().waitFor();
  await alice.audit('offline');
  await here.server.restart();
  await Promise.all([alice.sees(prefix, expected), bob.sees(prefix, expected)]);
  await alice.page.locator('#outbox li').first().waitFor({ state: 'detached' });
  await alice.connected();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('what others said while one was away is there afterwards', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const prefix = unique('meanwhile');
  await alice.say(unique('See you later!'));
  await alice.page.locator(MESSAGES).first().waitFor();
  await alice.page.route('**/ws_ticket', (route) => route.abort());
  await here.server.kill();
  await here.server.restart();
  await bob.connected();
  const expected = Array.from({ length: 150 }, (_, i) => `${prefix} ${i}`);
  await flood(bob.page, { name: 'bob', count: 150, text: prefix });
  await bob.sees(prefix, expected);
  await alice.page.getByText(/^Offline/).waitFor();
  await alice.page.unroute('**/ws_ticket');
  // It may have come back by itself in this instant, and then there is nothing to click.
  await alice.page.getByRole('button', { name: 'Try now' }).click({ timeout: 1000 }).catch(() => {});
  await alice.sees(prefix, expected);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('an open room goes on after a restart, without losing or doubling', async () => {
  const alice = await here.visitor('alice', { room: 'open/1' });
  await alice.enterAs('Alice');
  await alice.connected();
  const prefix = unique('open');
  await alice.say(`${prefix} 0`);
  await alice.sees(prefix, [`${prefix} 0`]);
  await here.server.kill();
  await alice.page.getByText(/^Offline/).waitFor();
  await alice.say(`${prefix} 1`);
  await here.server.restart();
  await alice.sees(prefix, [`${prefix} 0`, `${prefix} 1`]);
  await alice.leave();
});

// Seen to fail where all that is not confirmed is sent when a room is open: it is said twice.
test('what one says in an open room while it is being opened is said once', async () => {
  const [bob, alice] = await Promise.all([here.visitor('bob', { room: null }), here.stranger()]);
  const prefix = unique('said early');
  const held = { events: null, echoes: [] };
  await alice.page.routeWebSocket(/\/chats\/\d+\/ws/, (socket) => {
    socket.connectToServer().onMessage((frame) => (frame.includes(prefix) && held.echoes ? held.echoes.push(() => socket.send(frame)) : socket.send(frame)));
  });
  await alice.page.route('**/chats/events/*', (route) => void (held.events = route));
  await alice.page.reload();
  await alice.logIn('alice');
  const title = unique('Early');
  await alice.makeRoom(title);
  await alice.enterAs('Alice');
  await until(() => held.events, 'the question what has been said');
  await alice.say(`${prefix} 0`);
  await until(() => held.echoes.length, 'what was said');
  await held.events.fulfill({ json: [] });
  await alice.connected();
  for (const echo of held.echoes) echo();
  held.echoes = null;
  await alice.say(`${prefix} 1`);
  await alice.sees(prefix, [`${prefix} 0`, `${prefix} 1`]);
  await bob.page.getByRole('textbox', { name: 'Find a room' }).fill(title);
  await bob.page.keyboard.press('Enter');
  await bob.enterAs('Bob');
  await bob.sees(prefix, [`${prefix} 0`, `${prefix} 1`]);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('an expired login asks to log in again, and keeps the draft', async () => {
  const alice = await here.visitor('alice');
  const draft = unique('half a sentence');
  await alice.field.fill(draft);
  const expired = { status: 401, json: { success: false, message: 'expired' } };
  await alice.page.route('**/ws_ticket', (route) => route.fulfill(expired));
  await here.server.kill();
  await here.server.restart();
  await alice.page.getByText('Your login has expired').waitFor();
  await alice.audit('an expired login');
  await alice.page.unroute('**/ws_ticket');
  await alice.logIn('alice');
  await alice.connected();
  assert.equal(await alice.field.inputValue(), draft);
  await alice.field.press('Enter');
  await alice.message(draft).waitFor();
  await alice.leave();
});

test('each connection has a new token, in a header and not in an address, and nothing is stored', async () => {
  const alice = await here.stranger();
  const [addresses, tokens] = [[], []];
  alice.page.on('request', (request) => addresses.push(request.url()));
  alice.page.on('websocket', (socket) => addresses.push(socket.url()));
  const devTools = await alice.page.context().newCDPSession(alice.page);
  await devTools.send('Network.enable');
  devTools.on('Network.webSocketWillSendHandshakeRequest', ({ request }) => {
    tokens.push(request.headers['Sec-WebSocket-Protocol']);
  });
  await alice.logIn('alice');
  await alice.enter();
  await here.server.kill();
  await alice.page.getByText(/^Offline/).waitFor();
  const before = tokens.length;
  await here.server.restart();
  await alice.connected();
  assert.ok(tokens.length > before, 'no new connection');
  for (const token of tokens) assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.equal(new Set(tokens).size, tokens.length, 'a token was used twice');
  assert.ok(addresses.some((address) => address.includes('/channel/')));
  assert.deepEqual(addresses.filter((address) => /eyJ|token=|ticket=|auth=/.test(address)), []);
  const stored = await alice.page.evaluate(async () => [
    localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,
  ]);
  assert.deepEqual(stored, [0, 0, '', 0]);
  await alice.leave();
});

test('a room that is deleted says so, and is not dialled again', async () => {
  const alice = await here.visitor('alice', { room: null });
  const dialled = [];
  alice.page.on('websocket', (socket) => dialled.push(socket.url()));
  await alice.makeRoom(unique('Short-lived'));
  await alice.enterAs('Alice');
  await alice.connected();
  const path = new URL(dialled.find((address) => address.includes('/chats/'))).pathname.replace('/ws', '');
  await alice.page.request.delete(`${here.url}${path}`);
  await alice.page.getByText('This room has been deleted.').waitFor();
  assert.equal(await alice.page.getByRole('button', { name: 'Try now' }).isVisible(), false);
  assert.equal(await alice.field.isDisabled(), true);
  await alice.audit('a deleted room');
  // What brings back any other connection at once.
  await alice.page.evaluate(() => dispatchEvent(new Event('online')));
  await alice.enter();
  assert.equal(dialled.filter((address) => address.includes(path)).length, 1);
  await alice.page.goBack();
  await alice.page.getByRole('button', { name: 'Leave' }).click();
  await alice.page.getByRole('heading', { name: 'Choose a room' }).waitFor();
  await alice.leave();
});

test('a chat that shuts one out says so, and is not dialled again', async () => {
  const alice = await here.stranger();
  const dialled = [];
  await alice.page.routeWebSocket(/\/channel\/demo/, (socket) => {
    socket.connectToServer();
    dialled.push(socket);
  });
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.enter();
  await dialled[0].close({ code: 1008, reason: 'room_denied' });
  await alice.page.getByText('You have no access to this room any more.').waitFor();
  // What brings back any other connection at once.
  await alice.page.evaluate(() => dispatchEvent(new Event('online')));
  await alice.enter('open/1');
  await alice.page.goBack();
  await alice.page.getByText('You have no access to this room any more.').waitFor();
  assert.equal(dialled.length, 1);
  await alice.leave();
});

test('a connection that is closed for going too fast comes back', async () => {
  const alice = await here.stranger();
  const dialled = [];
  await alice.page.routeWebSocket(/\/channel\/demo/, (socket) => {
    socket.connectToServer();
    dialled.push(socket);
  });
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.enter();
  const text = unique('back again');
  await dialled[0].close({ code: 1008, reason: 'rate_limited' });
  await alice.say(text);
  await alice.message(text).waitFor(); // only a second connection can bring it
  assert.equal(dialled.length, 2);
  await alice.leave();
});

test('a room that was deleted during a lost connection says so', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.makeRoom(unique('Forgotten'));
  await alice.enterAs('Alice');
  await alice.connected();
  const gone = { status: 404, json: { status: false, error: { code: 101, error: 'Room error: Room not found' } } };
  await alice.page.route(/\/chats\/\d+$/, (route) => route.fulfill(gone));
  await here.server.kill();
  await here.server.restart();
  await alice.page.getByText('This room has been deleted.').waitFor();
  await alice.leave();
});

test('a room whose passphrase is changed asks for the new one', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.makeRoom(unique('Locked'), 'the old passphrase');
  await alice.enterAs('Alice');
  await alice.connected();
  const path = await alice.page.evaluate(async () => {
    const path = `/chats/${decodeURIComponent(location.hash).split('/')[1]}`;
    const send = async (method, path, body, bearer) => {
      const headers = { 'Content-Type': 'application/json', ...(bearer && { Authorization: `Bearer ${bearer}` }) };
      return (await fetch(path, { method, headers, body: JSON.stringify(body) })).json();
    };
    const { token } = await send('POST', `${path}/token`, { secret: 'the old passphrase', name: 'Admin' });
    await send('PUT', path, { password: 'the new passphrase' }, token);
    return path;
  });
  assert.match(path, /\d/);
  await alice.page.getByText('The passphrase of this room has been changed').waitFor();
  await alice.enterAs('Alice', 'the new passphrase');
  await alice.connected();
  await alice.leave();
});

// Seen to fail where what comes back is told by its time: it waits for ever, and is said again with each connection.
test('what one says in an open room is said once, though the clock is an hour fast', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.page.addInitScript(() => {
    const { now } = Date;
    Date.now = () => now() + 3_600_000;
  });
  await alice.reload();
  await alice.makeRoom(unique('Fast'));
  await alice.enterAs('Alice');
  await alice.connected();
  const prefix = unique('once');
  await alice.say(`${prefix} 0`);
  await alice.sees(prefix, [`${prefix} 0`]);
  await alice.page.waitForFunction(() => !document.querySelector('#outbox').childElementCount);
  await alice.leave();
});

// Seen to fail where only a 401 lets one try the passphrase: one is asked for it.
test('who made a closed room comes back to it though the token has expired', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.makeRoom(unique('Long ago'), 'a passphrase');
  await alice.enterAs('Alice');
  await alice.connected();
  await alice.page.route('**/token/renew', (route) => route.fulfill({ status: 403, json: {} }));
  await alice.page.evaluate(() => dispatchEvent(new Event('offline')));
  const prefix = unique('still in');
  await alice.say(`${prefix} 0`);
  await alice.sees(prefix, [`${prefix} 0`]);
  await alice.leave();
});
