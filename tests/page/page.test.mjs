// The home page, as people use it. Needs PROPROMO_CHAT_BIN (the server's binary), or PAGE_URL (a server that
// runs already; what needs a restart is then skipped). SCREENSHOTS names a directory for pictures.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Server } from './server.mjs';
import { MESSAGES, Visitor, flood } from './visitor.mjs';

const { PROPROMO_CHAT_BIN: binary, PAGE_URL, SCREENSHOTS } = process.env;
const { CHROMIUM = '/usr/bin/chromium', SEEDED = '50000' } = process.env;
const HASH = '$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12';
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const restarts = { skip: binary ? false : 'needs PROPROMO_CHAT_BIN' };

let server, url, browser;

before(async () => {
  assert.ok(binary || PAGE_URL, 'set PROPROMO_CHAT_BIN to the path of the server');
  if (binary) server = await Server.start(binary, { MESSAGE_RATE: '0', LOGIN_RATE: '0' });
  url = server?.url ?? PAGE_URL;
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Somebody who is logged in and, unless `room` is null, in a room. */
async function visitor(name, { room = 'demo', ...options } = {}) {
  const someone = await Visitor.at(browser, url, options);
  await someone.logIn(name);
  if (room) await someone.enter(room);
  return someone;
}

let used = 0;

/** A text that no other test says. */
const unique = (text) => `${text} #${process.pid}-${++used}`;

async function picture(someone, name) {
  if (!SCREENSHOTS) return;
  await mkdir(SCREENSHOTS, { recursive: true });
  await someone.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

test('after logging in one sees the own chats and the token', async () => {
  const alice = await visitor('alice', { room: null });
  await alice.page.getByRole('heading', { name: 'Choose a room' }).waitFor();
  assert.equal(await alice.page.locator('#chats a').count(), 2);
  await alice.page.getByText('Your token').click();
  const token = alice.page.getByRole('textbox', { name: 'Opens one WebSocket' });
  assert.match(await token.inputValue(), /^[\w-]+\.[\w-]+\.[\w-]+$/);
  await picture(alice, 'token');
  await alice.leave();
});

test('a wrong password is answered by a sentence, and the form stays', async () => {
  const alice = await Visitor.at(browser, url);
  await picture(alice, 'login');
  await alice.logIn('alice', 'not the password');
  await alice.page.getByRole('alert').filter({ hasText: /password/i }).waitFor();
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'password');
  await alice.leave();
});

test('an account without any chat gets a clear error', async () => {
  const carol = await Visitor.at(browser, url);
  await carol.logIn('carol');
  await carol.page.getByRole('alert').filter({ hasText: /\w+ \w+/ }).waitFor();
  assert.equal(await carol.page.locator('#app').isVisible(), false);
  await carol.leave();
});

test('two people talk, and see each other and that the other writes', async () => {
  const [alice, bob] = await Promise.all([visitor('alice'), visitor('bob')]);
  const [question, answer] = [unique('How are you?'), unique('Very well!')];
  await alice.say(question);
  await bob.message(question).waitFor();
  await bob.field.pressSequentially('Ve');
  await alice.page.getByText(/bob@propromo\.example.* is writing/).waitFor();
  await bob.say(answer);
  await alice.message(answer).waitFor();
  await alice.page.locator('#people').getByText('bob@propromo.example').waitFor();
  await bob.leave();
  await alice.page.locator('#people').getByText('bob@propromo.example').waitFor({ state: 'detached' });
  await alice.leave();
});

test('a room whose name holds slashes and dollars opens', async () => {
  const alice = await visitor('alice', { room: HASH });
  const text = unique('behind a hash');
  await alice.say(text);
  await alice.message(text).waitFor();
  await alice.leave();
});

test('what is said in another room is counted there', async () => {
  const [alice, bob] = await Promise.all([visitor('alice', { room: HASH }), visitor('bob')]);
  await bob.say(unique('over here'));
  await alice.page.getByRole('link', { name: /1 unread/ }).waitFor();
  await alice.enter('demo');
  await alice.page.getByRole('link', { name: /unread/ }).waitFor({ state: 'detached' });
  await Promise.all([alice.leave(), bob.leave()]);
});

test('the history is there after a reload, which asks to log in again', async () => {
  const alice = await visitor('alice');
  const text = unique('remember this');
  await alice.say(text);
  await alice.message(text).waitFor();
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.message(text).waitFor(); // the address still names the room
  await alice.leave();
});

test('Enter sends, Shift+Enter makes a line, a draft stays with its room', async () => {
  const alice = await visitor('alice');
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

test('links and code are marked up, and nothing else is', async () => {
  const alice = await visitor('alice');
  const prose = 'See https://example.org/a_(b)?c=1. Or `x < 1`, **not bold**, javascript:alert(1):';
  const text = unique(`${prose}\n\`\`\`rust\nlet a = "<b>";\n\`\`\`\nEnd`);
  await alice.say(text);
  const message = alice.message('let a =');
  const link = message.getByRole('link');
  assert.equal(await link.getAttribute('href'), 'https://example.org/a_(b)?c=1');
  assert.equal(await link.getAttribute('rel'), 'noopener noreferrer nofollow');
  assert.equal(await link.getAttribute('target'), '_blank');
  assert.deepEqual(await message.locator('code').allTextContents(), ['x < 1', 'let a = "<b>";']);
  await message.getByText('**not bold**').waitFor();
  await alice.leave();
});

test('hostile texts are shown as text', async () => {
  const [alice, bob] = await Promise.all([visitor('alice'), visitor('bob')]);
  const texts = [
    unique('<img src=x onerror=alert(1)><script>alert(2)</script>'),
    unique('\u202e\u2067reversed\u2066 \u200f'),
    unique('w'.repeat(10_000)),
    unique('</div></li>&lt;b&gt; {{7*7}} ${7*7}'),
  ];
  for (const text of texts) {
    await alice.say(text);
    await bob.sees(text, [text]);
  }
  assert.equal(await bob.page.locator('#log img, #log script, #log b').count(), 0);
  const fits = await bob.page.evaluate(() => document.querySelector('#log').scrollWidth <= innerWidth);
  assert.ok(fits, 'a long word widens the page');
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a name with direction marks and markup stands alone, as text', async () => {
  const alice = await visitor('alice');
  await alice.page.evaluate(async () => {
    const { Timeline } = await import('/assets/timeline.js');
    const { Room } = await import('/assets/room.js');
    const log = document.querySelector('#log').cloneNode(true);
    log.id = 'copy';
    document.body.append(log);
    const room = Object.assign(new Room('x', 'x', '', 'me'), { loadOlder() {}, older: false });
    room.take([{ key: '1', from: '<b>\u202eeve', text: 'hello', time: Date.now(), own: false }]);
    const timeline = new Timeline(log, log.querySelector('ol'), () => {});
    timeline.show(room);
    timeline.paint(() => {});
  });
  const name = alice.page.locator('#copy bdi.who');
  assert.equal(await name.textContent(), '<b>\u202eeve');
  assert.equal(await alice.page.locator('#copy b').count(), 0);
  await alice.leave();
});

test('a text beyond the limit is kept in the field, and said to be too long', async () => {
  const alice = await visitor('alice');
  await alice.say('y'.repeat(20_000));
  await alice.page.getByText(/bytes too long/).waitFor();
  assert.equal((await alice.field.inputValue()).length, 20_000);
  await alice.leave();
});

test('a server that dies and comes back costs no message and doubles none', restarts, async () => {
  const [alice, bob] = await Promise.all([visitor('alice'), visitor('bob')]);
  const prefix = unique('counted');
  const expected = Array.from({ length: 40 }, (_, i) => `${prefix}: ${i}`);
  const talking = (async () => {
    for (const text of expected) await alice.say(text);
  })();
  await bob.message(expected[5]).waitFor();
  await server.kill();
  await talking;
  await alice.page.getByText(/^Offline/).waitFor();
  await alice.page.locator('#outbox').getByText('Waits for the connection').first().waitFor();
  await picture(alice, 'offline');
  await server.restart();
  await Promise.all([alice.sees(prefix, expected), bob.sees(prefix, expected)]);
  await alice.page.locator('#outbox li').first().waitFor({ state: 'detached' });
  await alice.connected();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('what others said while one was away is there afterwards', restarts, async () => {
  const [alice, bob] = await Promise.all([visitor('alice'), visitor('bob')]);
  const prefix = unique('meanwhile');
  await alice.say(unique('See you later!'));
  await alice.page.locator(MESSAGES).first().waitFor();
  await alice.page.route('**/ws_ticket', (route) => route.abort());
  await server.kill();
  await server.restart();
  await bob.connected();
  const expected = Array.from({ length: 150 }, (_, i) => `${prefix} ${i}`);
  await flood(bob.page, { name: 'bob', count: 150, text: prefix });
  await bob.sees(prefix, expected);
  await alice.page.getByText(/^Offline/).waitFor();
  await alice.page.unroute('**/ws_ticket');
  await alice.page.getByRole('button', { name: 'Try now' }).click();
  await alice.sees(prefix, expected);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('an expired login asks to log in again, and keeps the draft', restarts, async () => {
  const alice = await visitor('alice');
  const draft = unique('half a sentence');
  await alice.field.fill(draft);
  const expired = { status: 401, json: { success: false, message: 'expired' } };
  await alice.page.route('**/ws_ticket', (route) => route.fulfill(expired));
  await server.kill();
  await server.restart();
  await alice.page.getByText('Your login has expired').waitFor();
  await alice.page.unroute('**/ws_ticket');
  await alice.logIn('alice');
  await alice.connected();
  assert.equal(await alice.field.inputValue(), draft);
  await alice.field.press('Enter');
  await alice.message(draft).waitFor();
  await alice.leave();
});

test('on a phone one sees the rooms or the room, and nothing sticks out', async () => {
  const alice = await visitor('alice', { ...PHONE, room: null });
  const fits = () => alice.page.evaluate(() => {
    const { scrollWidth, scrollHeight } = document.documentElement;
    return scrollWidth <= innerWidth && scrollHeight <= innerHeight;
  });
  await alice.page.locator('#chats').waitFor();
  assert.ok(await fits(), 'the list of rooms');
  await picture(alice, 'phone-rooms');
  await alice.enter();
  await alice.say(unique('from a phone https://example.org/' + 'long'.repeat(60)));
  assert.equal(await alice.page.locator('#rooms').isVisible(), false);
  assert.ok(await fits(), 'the room');
  await picture(alice, 'phone');
  await alice.page.emulateMedia({ colorScheme: 'dark' });
  await picture(alice, 'phone-dark');
  await alice.page.getByRole('button', { name: /here$/ }).tap();
  assert.ok(await fits(), 'the people');
  await alice.page.getByRole('link', { name: 'All rooms' }).tap();
  await alice.page.locator('#rooms').waitFor();
  await alice.leave();
});

test('everything can be done with the keyboard alone', async () => {
  const alice = await Visitor.at(browser, url);
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
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'text', 'the focus stays where one writes');
  await keyboard.press('Shift+Tab');
  await tabTo('#log, #log *');
  await tabTo('#logout');
  await keyboard.press('Enter');
  await alice.page.getByRole('button', { name: 'Log in' }).waitFor();
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'email');
  await alice.leave();
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing to complain about (${colorScheme})`, async () => {
    const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    const alice = await Visitor.at(browser, url, { colorScheme });
    const check = async (what) => {
      const { violations } = await alice.page.evaluate(`${axe}; axe.run()`);
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
      assert.deepEqual(found, [], what);
    };
    await check('login');
    await alice.logIn('alice');
    await alice.page.locator('#chats a').first().waitFor();
    await alice.page.getByText('Your token').click();
    await check('no room chosen');
    await alice.enter();
    const text = unique('`code`, https://example.org/\n```\nblock\n``` and');
    await alice.say(text);
    await alice.message(text.slice(-6)).first().waitFor();
    await alice.say('z'.repeat(3_000));
    await alice.page.getByRole('button', { name: 'Show the whole message' }).last().waitFor();
    await check('room');
    await picture(alice, `room-${colorScheme}`);
    await alice.leave();
  });
}

test('nothing is stored in the browser, and no token is in an address', async () => {
  const alice = await Visitor.at(browser, url);
  const addresses = [];
  alice.page.on('request', (request) => addresses.push(request.url()));
  alice.page.on('websocket', (socket) => addresses.push(socket.url()));
  await alice.logIn('alice');
  await alice.enter();
  const token = await alice.page.locator('#token').inputValue();
  assert.ok(addresses.some((address) => address.includes('/channel/')));
  const telling = addresses.filter((address) => /eyJ|token=|ticket=|auth=/.test(address) || address.includes(token));
  assert.deepEqual(telling, []);
  const stored = await alice.page.evaluate(async () => [
    localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,
  ]);
  assert.deepEqual(stored, [0, 0, '', 0]);
  await alice.leave();
});

test('an open room is made, entered with its passphrase, and talked in', async (t) => {
  const alice = await visitor('alice', { room: null });
  const bob = await visitor('bob', { room: null });
  const listing = await alice.page.request.get(`${url}/chats/all`, { headers: { Accept: 'application/json' } });
  if (listing.status() === 404) {
    assert.equal(await alice.page.locator('#open-rooms').isVisible(), false);
    t.skip('this server has no rooms door');
    return;
  }
  const title = unique('Attic');
  await alice.page.getByRole('button', { name: 'New room' }).click();
  await alice.page.getByLabel('Name', { exact: true }).last().fill(title);
  await alice.page.getByLabel('Who may enter').selectOption('private');
  await alice.page.getByLabel(/8 characters or more/).fill('a good passphrase');
  await alice.page.getByRole('button', { name: 'Create' }).click();
  await alice.page.getByRole('heading', { name: title }).waitFor();
  const address = await alice.page.evaluate(() => location.hash);
  await bob.page.evaluate((hash) => (location.hash = hash), address);
  for (const [someone, name] of [[alice, 'Alice'], [bob, 'Bob']]) {
    await someone.page.locator('#enter-name').fill(name);
    await someone.page.locator('#enter-secret').fill('not the passphrase');
    await someone.page.getByRole('button', { name: 'Enter', exact: true }).click();
    await someone.page.getByText('That is not the passphrase').waitFor();
    await someone.page.locator('#enter-secret').fill('a good passphrase');
    await someone.page.getByRole('button', { name: 'Enter', exact: true }).click();
    await someone.connected();
  }
  const text = unique('up here');
  await alice.say(text);
  await Promise.all([alice.sees(text, [text]), bob.sees(text, [text])]);
  await alice.page.locator('#people').getByText('Bob').waitFor();
  await picture(alice, 'open-room');
  await bob.page.getByRole('button', { name: 'Leave' }).click();
  await alice.page.getByText('Bob has left the room.').waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a hundred messages a second leave the page usable', async () => {
  const [alice, bob] = await Promise.all([visitor('alice'), visitor('bob', { room: null })]);
  await alice.page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
    }).observe({ type: 'longtask' });
  });
  const text = unique('flood');
  const draft = unique('typed in the middle of it');
  const flooding = flood(bob.page, { name: 'bob', count: 1_000, perSecond: 100, text });
  await Promise.all([flooding, alice.field.pressSequentially(draft)]);
  await alice.message(`${text} 999`).waitFor();
  assert.equal(await alice.field.inputValue(), draft);
  assert.ok((await alice.page.locator(MESSAGES).count()) <= 400);
  const longest = await alice.page.evaluate(() => window.longest);
  assert.ok(longest < 500, `the page stood still for ${longest} ms`);
  await Promise.all([alice.leave(), bob.leave()]);
});

test(`a room of ${SEEDED} messages opens at once and scrolls back to the first`, async () => {
  const bob = await visitor('bob', { room: null });
  await flood(bob.page, { name: 'bob', count: Number(SEEDED), text: unique('seeded') });
  await bob.leave();
  const alice = await visitor('alice', { room: null });
  const started = performance.now();
  await alice.enter();
  await alice.page.locator(MESSAGES).first().waitFor();
  const opening = performance.now() - started;
  assert.ok(opening < 3_000, `opening took ${opening} ms`);
  // As if the scroll bar were held at its top.
  const { most, reached } = await alice.page.evaluate(async () => {
    const log = document.querySelector('#log');
    const began = performance.now();
    let most = 0;
    for (;;) {
      log.scrollTop = 0;
      await new Promise(requestAnimationFrame);
      most = Math.max(most, document.querySelectorAll('#messages > li').length);
      const { textContent } = document.querySelector('#older');
      if (textContent === 'This is where the room begins.') return { most, reached: true };
      if (performance.now() - began > 120_000) return { most, reached: false };
    }
  });
  assert.ok(reached, 'the first message is never reached');
  assert.ok(most <= 400, `${most} messages in the document at once`);
  await alice.page.getByRole('button', { name: 'Latest messages' }).click();
  await alice.page.waitForFunction(() => {
    const log = document.querySelector('#log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });
  await alice.leave();
});
