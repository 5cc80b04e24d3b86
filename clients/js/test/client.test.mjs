// The client against the real server, in Node. The page's tests try it in a browser.
//
// PROPROMO_CHAT_BIN names the server's binary.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server } from '../../../tests/page/server.mjs';
import * as client from '../propromo-chat.js';

const { Chat, ChatError } = client;
const WebSocket = globalThis.WebSocket ?? (await import('../../../tests/clients/node_modules/ws/wrapper.mjs')).default;
const PATIENCE = 60_000;
const KEY = 'a-key-of-a-backend-0123456789abcdef';

let server;
const opened = new Set();

before(async () => {
  const settings = { MESSAGE_RATE: '0', LOGIN_RATE: '0', SEARCH_RATE: '0', API_KEYS: `site tokens ${KEY}` };
  server = await Server.start(process.env.PROPROMO_CHAT_BIN, settings);
});

after(async () => {
  opened.forEach((room) => room.close());
  await server.stop();
});

const as = (name) => Chat.login(server.url, `${name}@propromo.example`, `${name}-password`, { WebSocket });

/** Opens a room and gives it with the messages that it hears. */
async function enter(chat, name) {
  const room = chat.room(name);
  const heard = [];
  room.on('reset', () => heard.splice(0));
  room.on('message', (message) => heard.push(message));
  const ready = once(room, 'ready');
  opened.add(room);
  room.open();
  await ready;
  return { room, heard };
}

const once = (room, name) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name}`)), PATIENCE);
    const off = room.on(name, (...values) => {
      clearTimeout(timer);
      off();
      resolve(values);
    });
  });

async function until(what, condition) {
  for (const end = Date.now() + PATIENCE; !condition(); await sleep(10)) assert.ok(Date.now() < end, what);
}

const texts = (heard) => heard.map(({ text }) => text);

test('what is sent is confirmed, and heard by others', async () => {
  const [alice, bob] = await Promise.all([as('alice'), as('bob')]);
  assert.equal(alice.email, 'alice@propromo.example');
  assert.ok(alice.chats.some(({ monitor_hash }) => monitor_hash === 'demo'));
  const [hers, his] = [await enter(alice, 'demo'), await enter(bob, 'demo')];
  const stored = await hers.room.send('Hello!');
  await until('Bob hears it', () => his.heard.length === 1);
  const [message] = his.heard;
  assert.deepEqual([message.id, message.text, message.user], [stored.id, 'Hello!', alice.email]);
  assert.equal(message.timestamp, stored.timestamp);
  assert.equal(hers.room.unconfirmed, 0);
});

test('messages change, and history is read', async () => {
  const alice = await as('alice');
  const { room, heard } = await enter(alice, 'changes');
  const { id } = await room.send('helo');
  const answer = await room.send('what?', { replyTo: id });
  const edited = once(room, 'edited');
  await room.edit(id, 'hello');
  assert.equal((await edited)[0].text, 'hello');
  await room.react(id, '👍');
  const { messages, more } = await room.history({ limit: 10 });
  assert.deepEqual(texts(messages), ['hello', 'what?']);
  assert.deepEqual(messages[0].reactions, { '👍': [alice.email] });
  assert.deepEqual([messages[1].reply_to, more], [id, false]);
  const deleted = once(room, 'deleted');
  await room.delete(answer.id);
  assert.equal((await deleted)[0].id, answer.id);
  assert.equal(heard.length, 2);
  const refused = await room.edit(answer.id, 'never').catch((error) => error);
  assert.ok(refused instanceof ChatError && refused.final);
  assert.equal(refused.code, 'no_such_message');
});

test('what was said after a message is read page after page, whatever became of it', async () => {
  const alice = await as('alice');
  const { room } = await enter(alice, 'long ago');
  const ids = [];
  for (let n = 0; n < 7; n++) ids.push((await room.send(`message ${n}`)).id);
  await room.edit(ids[4], 'message four');
  await room.delete(ids[5]);
  const first = await room.history({ after: ids[1], limit: 3 });
  assert.deepEqual([texts(first.messages), first.more], [['message 2', 'message 3', 'message four'], true]);
  const rest = await room.history({ after: first.messages.at(-1).id, limit: 3 });
  assert.deepEqual([texts(rest.messages), rest.more], [['message 6'], false]);
  // The place of one that is gone, and the end.
  assert.deepEqual(texts((await room.history({ after: ids[5] })).messages), ['message 6']);
  assert.deepEqual(await room.history({ after: ids[6] }).then(({ messages, more }) => [messages, more]), [[], false]);
  // Asked for together, each page finds its question.
  const [older, newer] = await Promise.all([room.history({ before: ids[2], limit: 1 }), room.history({ after: ids[2], limit: 1 })]);
  assert.deepEqual([texts(older.messages), texts(newer.messages)], [['message 1'], ['message 3']]);
});

test('messages are found by their words, page after page', async () => {
  const alice = await as('alice');
  const { room } = await enter(alice, 'searched');
  for (const text of ['A yellow zypress.', 'Nothing of the kind.', 'Zypress, green', 'green and yellow']) await room.send(text);
  const found = async (query, page) => texts((await room.search(query, page)).messages);
  // The index follows what is said.
  const expected = ['Zypress, green', 'A yellow zypress.'];
  for (const end = Date.now() + PATIENCE; (await found('zypr')).length < 2; await sleep(50)) assert.ok(Date.now() < end);
  assert.deepEqual(await found('ZYPRESS'), expected);
  assert.deepEqual(await found('zypress blue'), []);
  const first = await room.search('zypress', { limit: 1 });
  assert.deepEqual([first.query, texts(first.messages), first.more], ['zypress', expected.slice(0, 1), true]);
  assert.deepEqual(await found('zypress', { before: first.next }), expected.slice(1));
  // Each answer finds its question, whatever else is asked.
  const [page, none, some] = await Promise.all([room.history({ limit: 2 }), found('nothing zypress'), found('kind')]);
  assert.deepEqual(texts(page.messages), ['Zypress, green', 'green and yellow']);
  assert.deepEqual([none, some], [[], ['Nothing of the kind.']]);
});

test('a search that is refused fails with a sentence, and disturbs nothing else', async () => {
  const alice = await as('alice');
  const { room } = await enter(alice, 'searched badly');
  const problems = [];
  room.on('problem', (error) => problems.push(error));
  const asked = [room.search('...'), room.history(), room.search('x '.repeat(17))];
  const [empty, page, long] = await Promise.allSettled(asked);
  for (const { reason } of [empty, long]) {
    assert.ok(reason instanceof ChatError && reason.final);
    assert.equal(reason.code, 'bad_query');
    assert.match(reason.message, /1 to 16 words.*\.$/);
  }
  assert.deepEqual([page.status, problems], ['fulfilled', []]);
  room.close();
  await assert.rejects(room.search('anything'), { code: 'away' });
});

test('a server that dies costs no message and doubles none', async () => {
  const [alice, bob] = await Promise.all([as('alice'), as('bob')]);
  const [hers, his] = [await enter(alice, 'garden'), await enter(bob, 'garden')];
  const expected = Array.from({ length: 120 }, (_, n) => `message ${n}`);
  const stored = expected.map((text) => hers.room.send(text));
  await until('some arrive', () => his.heard.length > 5);
  await server.kill();
  await once(hers.room, 'state');
  assert.ok(hers.room.unconfirmed > 0);
  await server.restart();
  const places = await Promise.all(stored);
  await until('all arrive', () => his.heard.length >= expected.length);
  assert.deepEqual(texts(his.heard), expected);
  assert.deepEqual(places.map(({ id }) => id), his.heard.map(({ id }) => id));
  await until('her own, too', () => hers.heard.length >= expected.length);
  assert.deepEqual(texts(hers.heard), expected);
});

test('a backend gives the tokens, for each connection another', async () => {
  const tokens = [];
  const chat = new Chat(server.url, ticket, { WebSocket });
  async function ticket(room) {
    const body = JSON.stringify({ user: 'bob@propromo.example', room: `monitor:${room}` });
    const headers = { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json' };
    const answer = await fetch(`${server.url}/api/v1/tokens`, { method: 'POST', headers, body });
    const { token } = await answer.json();
    tokens.push(token);
    return token;
  }
  const { room } = await enter(chat, 'demo');
  await room.send('I am Bob.');
  room.connection.renew();
  await once(room, 'ready');
  assert.equal(new Set(tokens).size, 2);
});

test('a token that is refused for good stops the attempts until they are wanted again', async () => {
  const alice = await as('alice');
  const real = alice.room('demo');
  opened.add(real);
  let allowed = false;
  const refused = Object.assign(new ChatError('Log in again.'), { final: true, status: 401 });
  const chat = new Chat(server.url, () => (allowed ? tokenOf(alice) : Promise.reject(refused)), { WebSocket });
  const room = chat.room('demo');
  opened.add(room);
  room.open();
  await until('it stops', () => room.state === 'stopped');
  assert.equal(room.connection.error, refused);
  allowed = true;
  const ready = once(room, 'ready');
  room.connection.retryNow();
  await ready;
});

/** A ticket of somebody who has logged in. */
async function tokenOf() {
  const path = (name) => `${server.url}${name}`;
  const login = { email: 'alice@propromo.example', password: 'alice-password' };
  const { access_token: bearer } = await client.request('POST', path('/login'), { body: login });
  return (await client.request('POST', path('/ws_ticket'), { bearer })).ticket;
}

test('a wrong password is a sentence', async () => {
  const error = await Chat.login(server.url, 'alice@propromo.example', 'wrong').catch((error) => error);
  assert.ok(error instanceof ChatError);
  assert.deepEqual([error.status, error.code], [401, 'wrong_credentials']);
  assert.match(error.message, /\.$/);
});

test('what waits when a room is closed fails, and nobody has to listen', async () => {
  const alice = await as('alice');
  const room = alice.room('demo');
  const waiting = room.send('never sent');
  room.send('nobody waits for this one');
  room.close();
  await assert.rejects(waiting, /closed before/);
  await assert.rejects(room.history(), /no connection/);
});

test('the types name everything that there is', async () => {
  const types = await readFile(new URL('../propromo-chat.d.ts', import.meta.url), 'utf8');
  const declared = [...types.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(client).sort());
});
