// What the page looks like: on a phone, in both schemes, to a screen reader, and in the pictures of the README.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { HASH, LOOKS, PHONE, backend, here, startFirefox, unique } from './setting.mjs';
import { Visitor, crowd } from './visitor.mjs';

// First, in a room in which nothing has been said.
test('the pictures of the documentation', { skip: !process.env.SCREENSHOTS && 'made by scripts/screenshots' }, async () => {
  const place = { locale: 'en-GB', timezoneId: 'Europe/Vienna' };
  const [alice, bob] = await Promise.all([here.visitor('alice', { ...place }), here.visitor('bob', place)]);
  await converse(alice, bob);
  const take = async (someone, name) => {
    await mkdir(process.env.SCREENSHOTS, { recursive: true });
    await someone.page.mouse.move(0, 0);
    await someone.page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
  };
  await bob.enter(HASH);
  for (const text of ['The release notes are ready.', 'Could somebody read them?']) await bob.say(text);
  await alice.page.getByRole('link', { name: /2 unread/ }).waitFor();
  await bob.enter('demo');
  await bob.field.pressSequentially('You');
  const writes = (someone) => someone.page.getByText(/is writing/).waitFor();
  await writes(alice);
  await take(alice, 'desktop');
  await alice.page.emulateMedia({ colorScheme: 'dark' });
  await take(alice, 'dark');
  await alice.leave();
  const phone = await here.visitor('alice', { ...PHONE, ...place, deviceScaleFactor: 2 });
  await phone.message('Two issues are left').waitFor();
  await take(phone, 'phone');
  await Promise.all([phone.leave(), bob.leave()]);
});

test('on a phone one sees the rooms or the room, and nothing sticks out', async () => {
  const alice = await here.visitor('alice', { ...PHONE, room: null });
  const fits = () => alice.page.evaluate(() => {
    const { scrollWidth, scrollHeight } = document.documentElement;
    return scrollWidth <= innerWidth && scrollHeight <= innerHeight;
  });
  await alice.page.locator('#chats a').first().waitFor();
  assert.ok(await fits(), 'the list of rooms');
  await alice.audit('rooms on a phone');
  await alice.enter();
  await alice.say(unique('from a phone https://example.org/' + 'long'.repeat(60)));
  assert.equal(await alice.page.locator('#rooms').isVisible(), false);
  assert.ok(await fits(), 'the room');
  await alice.page.getByRole('button', { name: /here$/ }).tap();
  assert.ok(await fits(), 'the people');
  await alice.audit('people on a phone');
  await alice.page.getByRole('link', { name: 'All rooms' }).tap();
  await alice.page.locator('#rooms').waitFor();
  await alice.leave();
});

// A window of 1280 by 800 at 200 % has 640 by 400 px; 320 px are those at 400 % (WCAG 2.2, 1.4.10).
test('nothing is scrolled sideways at 320 px or at 200 %, whatever is open', async () => {
  for (const viewport of [{ width: 320, height: 640 }, { width: 640, height: 400 }]) {
    const alice = await here.stranger({ viewport });
    const { page } = alice;
    await page.getByRole('button', { name: 'Log in' }).waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollHeight <= innerHeight), `the login is cut off at ${viewport.width} px`);
    await alice.logIn('alice');
    await alice.enter();
    const fits = async (what) => {
      const out = await page.evaluate(() => {
        const wide = [document.documentElement, ...document.querySelectorAll('#rooms, .lists, #log, #people, #searchPanel, dialog')];
        return wide.filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.id || node.className || node.tagName);
      });
      assert.deepEqual(out, [], `${what} at ${viewport.width} px`);
    };
    await alice.say(unique(`https://example.org/${'long'.repeat(60)} and \`${'code'.repeat(40)}\` at ${viewport.width}`));
    await alice.item(`at ${viewport.width}`).waitFor();
    await fits('the room');
    await page.getByRole('button', { name: /here$/ }).click();
    await fits('people');
    await page.getByRole('button', { name: 'Search this room' }).click();
    await fits('the search');
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('link', { name: 'All rooms' }).click();
    await page.locator('#newRoom').waitFor();
    await fits('rooms');
    await page.locator('#newRoom').click();
    await fits('a new room');
    await alice.leave();
  }
});

test('at 320 px and at 200 % the tools of a message and every dialog are whole, and cover no field', async () => {
  const small = [{ width: 320, height: 640 }, { width: 640, height: 400 }];
  // With a finger buttons are larger.
  for (const options of [...small.map((viewport) => ({ viewport })), { ...PHONE, viewport: { width: 320, height: 640 } }]) {
    const bob = await here.visitor('bob', { room: null, ...options });
    const { page } = bob;
    const what = `${options.viewport.width} px${options.hasTouch ? ' with a finger' : ''}`;
    /** Buttons and fields of what is open that are cut off, or lie under something else. */
    const hurt = (selector) => page.locator(selector).evaluate((open) => {
      const parts = [...open.querySelectorAll('button, input, select')].filter((part) => part.getClientRects().length);
      const whole = (part) => {
        part.scrollIntoView({ block: 'nearest' });
        const { left, top, right, bottom } = part.getBoundingClientRect();
        const corners = [[left + 3, top + 3], [right - 3, top + 3], [left + 3, bottom - 3], [right - 3, bottom - 3]];
        return left >= 0 && right <= innerWidth && part.scrollWidth <= part.clientWidth + 1
          && corners.every(([x, y]) => part.contains(document.elementFromPoint(x, y)));
      };
      return parts.length ? parts.filter((part) => !whole(part)).map((part) => part.ariaLabel || part.textContent || part.id) : ['nothing there'];
    });
    const dialog = async (selector, act, leave = 'Escape') => {
      await act();
      await page.locator(selector).waitFor();
      assert.deepEqual(await hurt(selector), [], `${selector} at ${what}`);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${selector} at ${what}`);
      await page.keyboard.press(leave);
      await page.locator(selector).waitFor({ state: 'hidden' });
    };

    await dialog('#newDialog', async () => {
      await page.locator('#newRoom').click();
      await page.getByLabel('Who may enter').selectOption('private');
    });
    await bob.enter();
    const text = unique('short');
    await bob.say(text);
    const item = bob.item(text);
    await item.waitFor();
    const tools = async () => {
      await item.focus();
      await page.keyboard.press('Enter');
      await item.locator('.message-tools').waitFor();
    };
    await tools();
    // The last message, with the field right below.
    assert.deepEqual(await hurt('.message-tools'), [], `the tools at ${what}`);
    const [bar, log] = await page.evaluate(() => ['.message-tools', '#log'].map((it) => document.querySelector(it).getBoundingClientRect().toJSON()));
    assert.ok(bar.top >= log.top && bar.bottom <= log.bottom && bar.left >= log.left, `the tools leave the log at ${what}`);
    const press = async (name) => {
      await tools();
      await item.getByRole('button', { name, exact: true }).click();
    };
    await dialog('#reactDialog', () => press('React'));
    await dialog('#askDialog', () => press('Delete'));
    await bob.leave();
  }
});

test('at 320 px the head of an open room shows its name and all of its buttons', async () => {
  const bob = await here.visitor('bob', { room: null, viewport: { width: 320, height: 640 } });
  await bob.makeRoom(unique('Narrow'), 'a passphrase of eight');
  await bob.enterAs(unique('Bob'));
  await bob.connected();
  const { page } = bob;
  await page.locator('#roomChange').waitFor();
  const out = await page.locator('#roomHead').evaluate((head) => [...head.querySelectorAll('button, a, h1')]
    .filter((part) => part.getClientRects().length)
    .filter((part) => part.getBoundingClientRect().right > innerWidth || part.clientWidth < 30)
    .map((part) => part.id || part.className));
  assert.deepEqual(out, []);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  await page.locator('#roomChange').click();
  await page.locator('#roomDelete').scrollIntoViewIfNeeded();
  const { x, width } = await page.locator('#roomDelete').boundingBox();
  assert.ok(x >= 0 && x + width <= 320, 'the dialog that changes a room is cut off');
  await bob.leave();
});

test('at 320 px what is new can be read or marked as read', async () => {
  const bob = await here.visitor('bob', { room: HASH, viewport: { width: 320, height: 640 } });
  const { page } = bob;
  for (let i = 0; i < 30; i++) await backend('POST', 'rooms/monitor:demo/messages', { text: unique('news') });
  await page.getByRole('link', { name: 'All rooms' }).click();
  await bob.enter('demo');
  await page.locator('#newBar').waitFor();
  for (const part of ['#newBar span', '#newJump', '#newRead']) {
    const { x, width } = await page.locator(part).boundingBox();
    assert.ok(x >= 0 && x + width <= 320, `${part} is cut off`);
  }
  await page.locator('#newRead').click();
  await page.locator('#newBar').waitFor({ state: 'hidden' });
  // What leads back from where nothing is reads as any other button.
  await page.evaluate(() => (location.hash = '#open/nowhere'));
  const [back, body] = await page.evaluate(() => ['#empty .back', 'body'].map((one) => getComputedStyle(document.querySelector(one)).fontSize));
  assert.equal(back, body);
  await bob.leave();
});

test('axe finds nothing to complain about in a room with all kinds of messages', async () => {
  const alice = await here.stranger();
  await alice.audit('login');
  await alice.logIn('alice');
  await alice.enter();
  const text = unique('`code`, https://example.org/\n```\nblock\n``` and');
  await alice.say(text);
  await alice.message(text.slice(-6)).first().waitFor();
  await alice.say('> a quote\n- a list\n- of **two** with [a link](https://example.org)\n```rust\nlet a;\n```\n@Alice Demo and ~~gone~~ :tada:');
  await alice.page.locator('#messages blockquote').first().waitFor();
  await alice.say('z'.repeat(3_000));
  await alice.page.getByRole('button', { name: 'Show the whole message' }).waitFor();
  await alice.say('🎉');
  await alice.message(/^🎉$/).waitFor();
  await alice.audit('room');
  await alice.leave();
});

test('axe finds nothing to complain about in what is seldom seen', async () => {
  const alice = await here.stranger();
  const { page } = alice;
  let shutOut = () => assert.fail('there is no connection');
  await page.routeWebSocket(/\/channel\/demo/, (socket) => {
    socket.connectToServer();
    shutOut = () => socket.close({ code: 1008, reason: 'room_denied' });
  });
  await page.reload();
  await alice.logIn('alice');
  await alice.enter('open/1');
  await page.locator('#enter').waitFor();
  await alice.audit('the way into an open room');
  await page.evaluate(() => (location.hash = '#open/nowhere'));
  await page.getByRole('heading', { name: 'No such room' }).waitFor();
  await page.getByText('Your token').click();
  await alice.audit('a room that does not exist, and the token');

  await alice.enter();
  const text = unique('with a reaction');
  await alice.say(text);
  await alice.act(text, 'React');
  await page.getByLabel('An emoji, or its name').fill('tada');
  await page.keyboard.press('Enter');
  await alice.item(text).getByRole('button', { name: /^🎉 1/ }).waitFor();
  await alice.act(text, 'React');
  await page.locator('#reactors li').waitFor();
  await page.getByLabel('An emoji, or its name').fill('no such emoji');
  await alice.audit('who has reacted, and an emoji that is not there');
  await page.keyboard.press('Escape');
  await alice.act(text, 'Copy link');
  await page.locator('#said').getByText(/copied|Selected/i).waitFor();
  await alice.say('y'.repeat(20_000));
  await page.getByText(/bytes too long/).waitFor();
  await alice.audit('a text that is too long, and what was copied');
  await alice.field.fill('');
  await page.locator('#newRoom').click();
  await page.locator('#roomName').fill('public chat');
  await page.getByLabel('Who may enter').selectOption('hidden');
  await page.locator('#roomSecret').fill('a good passphrase');
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByText('There is a room of this name already.').waitFor();
  await alice.audit('a room whose name is taken');
  await page.keyboard.press('Escape');
  shutOut();
  await page.getByText('You have no access to this room any more.').waitFor();
  await alice.audit('a room that shuts one out');
  await alice.leave();
});

// All other rules are tried in Firefox's own look, by the tour.
const CONTRAST = `{ runOnly: ['color-contrast'] }`;

for (const [look, preferences] of Object.entries(LOOKS)) {
  test(`in Firefox in ${look} axe finds nothing to complain about, with 61 rooms and 203 people, and the open room is marked`, async (t) => {
    const browser = await startFirefox(preferences);
    t.after(() => browser.close());
    const alice = await Visitor.at(browser, here.url);
    const { page } = alice;
    const isForced = look.includes('forced');
    const matches = await page.evaluate(() => ['(prefers-color-scheme: dark)', '(forced-colors: active)'].map((query) => matchMedia(query).matches));
    assert.deepEqual(matches, [look.includes('dark'), isForced]);
    await crowd(alice);
    await page.reload();
    await alice.audit('login', CONTRAST);
    await alice.logIn('alice');
    await alice.enter();
    await alice.say(`> a quote\n- **two** with [a link](https://example.org)\n\`\`\`rust\nlet a;\n\`\`\`\n@Alice Demo ~~gone~~ ${unique(':tada:')}`);
    await page.locator('#messages blockquote').first().waitFor();
    await page.locator('a[href="#open%2F1059"]').waitFor();
    if (isForced) {
      const outline = await page.locator('.room-link[aria-current]').evaluate((link) => getComputedStyle(link).outlineStyle);
      assert.equal(outline, 'solid');
    }
    await page.getByRole('button', { name: 'Search this room' }).click();
    await alice.audit('a room with the search', CONTRAST);
    await page.getByRole('button', { name: 'Close' }).click();
    await page.locator('#people li').nth(150).waitFor({ state: 'attached' });
    await alice.audit('a room with people', CONTRAST);
    await page.locator('#newRoom').click();
    await page.getByLabel('Who may enter').selectOption('private');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('A room needs a name').waitFor();
    await alice.audit('a new room', CONTRAST);
    await alice.leave();
  });
}

async function converse(alice, bob) {
  const talk = [
    [bob, 'Good morning! The build is green again 🎉'],
    [alice, 'Great! Which change was it?'],
    [bob, 'The delay between two attempts, in `retry.rs`:\n```rust\nlet most = FIRST.saturating_mul(1 << attempts.min(16)).min(LONGEST);\nrng().random_range(Duration::ZERO..=most)\n```'],
    [bob, 'It grows now, and it is **random**, so that not everybody comes back at once. See https://example.org/propromo/pull/42'],
    [alice, '@Bob Demo thank you, I will review it before lunch.'],
    [alice, 'Shall we close the milestone today?'],
  ];
  for (const [who, text] of talk) {
    await who.say(text);
    const last = text.includes('```') ? 'random_range' : text.replaceAll('**', '').replaceAll('`', '');
    await (who === alice ? bob : alice).message(last).waitFor();
  }
  await bob.act('Shall we close', 'Answer');
  await bob.say('Two issues are left:\n- the changelog\n- the screenshots');
  await alice.message('Two issues').waitFor();
  for (const [who, text, emoji] of [[alice, 'Two issues', 'thumbsup'], [alice, 'The build is green', 'tada'], [bob, 'before lunch', 'heart']]) {
    await who.act(text, 'React');
    await who.page.getByLabel('An emoji, or its name').fill(emoji);
    await who.page.keyboard.press('Enter');
  }
  await bob.item('The build is green').getByRole('button', { name: /^🎉 1/ }).click();
  await alice.item('The build is green').getByRole('button', { name: /^🎉 2/ }).waitFor();
  await alice.item('before lunch').getByRole('button', { name: /^❤️ 1/ }).waitFor();
}
