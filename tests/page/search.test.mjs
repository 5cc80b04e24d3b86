// Searching a room for what was said in it, and going there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, PHONE, here, unique } from './setting.mjs';
import { flood } from './visitor.mjs';

const results = (someone) => someone.page.locator('#searchFound .result');

/** The words that stand out in the results. */
const marks = (someone) => someone.page.locator('#searchFound mark').allTextContents();

/** Looks for words until so many messages are found: the index follows what is said. */
async function find(someone, query, count) {
  const field = someone.page.getByRole('searchbox');
  await field.fill(query);
  const told = someone.page.locator('#searchSaid');
  const expected = count ? `${count} message${count > 1 ? 's' : ''} found` : 'No message here';
  for (let tries = 0; tries < 600; tries++) {
    await field.press('Enter');
    await someone.page.locator('#searchPanel[aria-busy="false"]').waitFor();
    if ((await told.textContent()).startsWith(expected)) return;
    await someone.page.waitForTimeout(100);
  }
  assert.fail(`${expected}: ${await told.textContent()}`);
}

/** Waits until a message is in view, marked, and has the focus. */
const isAt = (someone, text) => someone.page.waitForFunction((text) => {
  const item = document.activeElement;
  const { top, bottom } = item.getBoundingClientRect();
  const log = document.querySelector('#log').getBoundingClientRect();
  return item.matches('.message') && item.textContent.includes(text) && top >= log.top && bottom <= log.bottom;
}, text);

const old = ['The green zypress.', 'ZYPRESS, blue: <b>zypresse</b>', 'a yellow zypress'];

let said;

/** Somebody who reads a room in which all this has been said. */
async function reader(options) {
  await (said ??= sayIt());
  return here.visitor('alice', options);
}

async function sayIt() {
  const bob = await here.visitor('bob');
  for (const text of old) {
    await bob.say(text);
    await bob.message(text).waitFor();
  }
  // So many that the page does not have the old ones when it opens the room.
  await flood(bob.page, { name: 'bob', count: 300, text: 'between' });
  await bob.leave();
}

test('by keys alone one searches, reads what is found, goes there and comes back', async () => {
  const alice = await reader();
  const { keyboard } = alice.page;
  await keyboard.press('Control+Shift+F');
  assert.equal(await alice.focus(), 'searchText');
  await find(alice, 'zypress', 3);
  assert.deepEqual(await marks(alice), ['zypress', 'ZYPRESS', 'zypresse', 'zypress']);
  assert.match(await results(alice).nth(1).textContent(), /^Bob Demo .*ZYPRESS, blue: <b>zypresse<\/b>$/);
  await alice.audit('results');
  await keyboard.press('ArrowDown');
  await keyboard.press('ArrowDown');
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await isAt(alice, old[0]);
  assert.equal(await results(alice).nth(2).getAttribute('aria-current'), 'true');
  // Back, to the next result.
  await keyboard.press('Control+Shift+F');
  await keyboard.press('ArrowDown');
  await keyboard.press('ArrowUp');
  await keyboard.press('Enter');
  await isAt(alice, old[1]);
  await keyboard.press('Control+Shift+F');
  await keyboard.press('Escape');
  assert.equal(await alice.focus(), 'text');
  assert.equal(await alice.page.locator('#searchPanel').isVisible(), false);
  await alice.leave();
});

test('on a phone the results take the place of the room, and give it back', async () => {
  const alice = await reader(PHONE);
  const { page } = alice;
  await page.getByRole('button', { name: 'Search this room' }).tap();
  await find(alice, 'yellow ZYPRESS', 1);
  assert.equal(await page.locator('#log').isVisible(), false);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'something sticks out');
  await alice.audit('results on a phone');
  await results(alice).tap();
  await isAt(alice, old[2]);
  assert.equal(await page.locator('#searchPanel').isVisible(), false);
  await page.getByRole('button', { name: 'Search this room' }).tap();
  await page.getByRole('button', { name: 'Close' }).tap();
  assert.equal(await alice.focus(), 'searchButton');
  await alice.leave();
});

test('what is not found, not asked or not answered is a sentence', async () => {
  const alice = await reader();
  const { page } = alice;
  const refused = page.locator('#searchError');
  await page.getByRole('button', { name: 'Search this room' }).click();
  await find(alice, 'zypress purple', 0);
  assert.equal(await results(alice).count(), 0);
  const field = page.getByRole('searchbox');
  for (const [query, sentence] of [
    ['?!', 'Write one or more words that the message has.'],
    ['x '.repeat(17), 'A search has 1 to 16 words and at most 256 bytes.'],
  ]) {
    await field.fill(query);
    await field.press('Enter');
    await refused.getByText(sentence).waitFor();
    assert.equal(await field.getAttribute('aria-invalid'), 'true');
  }
  await alice.audit('a search that is refused');
  await here.server.kill();
  await page.locator('#offline.shown').waitFor();
  await field.fill('zypress');
  await field.press('Enter');
  await refused.getByText('There is no connection at the moment.').waitFor();
  await here.server.restart();
  // It comes back by itself, perhaps not at the first attempt.
  await alice.connected();
  await find(alice, 'zypress', 3);
  assert.equal(await refused.textContent(), '');
  await alice.leave();
});

test('results follow edits and deletions, go on page by page, and end with the room', async () => {
  const alice = await reader();
  const { page } = alice;
  const [first, second] = ['one', 'two'].map((word) => unique(`${word} birkenwald`));
  for (const text of [first, second]) {
    await alice.say(text);
    await alice.message(text).waitFor();
  }
  await page.getByRole('button', { name: 'Search this room' }).click();
  await find(alice, 'birkenwald', 2);
  await alice.act(first, 'Delete');
  await page.getByRole('button', { name: 'Delete', exact: true }).last().click();
  await results(alice).filter({ hasText: first }).waitFor({ state: 'detached' });
  await alice.act(second, 'Edit');
  await alice.field.fill(`${second} cut down`);
  await alice.field.press('Enter');
  await results(alice).filter({ hasText: 'cut down' }).waitFor();

  const field = page.getByRole('searchbox');
  await field.fill('between');
  await field.press('Enter');
  await results(alice).nth(29).waitFor();
  await page.getByText('The latest 30 messages that were found.').waitFor();
  await page.getByRole('button', { name: 'Show more' }).click();
  await results(alice).nth(59).waitFor();
  await page.waitForFunction(() => document.activeElement === document.querySelectorAll('.result')[30]);

  // A room of the rooms door has no search.
  await alice.enter('open/1');
  assert.equal(await page.locator('#searchPanel').isVisible(), false);
  assert.equal(await page.getByRole('button', { name: 'Search this room' }).isVisible(), false);
  await alice.enter('demo');
  await page.getByRole('button', { name: 'Search this room' }).click();
  assert.equal(await results(alice).count(), 0);
  await alice.leave();
});

for (const browser of Object.keys(BROWSERS)) {
  test(`in ${browser} a result far back is shown amid what was said around it, and one reads on from there both ways`, async () => {
    const bob = await here.visitor('bob');
    const [before, after] = [unique('said before'), unique('said after')];
    const word = `nadel${unique('').replace(/\W/g, '')}`;
    await flood(bob.page, { name: 'bob', count: 600, text: before });
    await bob.say(word);
    await bob.message(word).waitFor();
    await flood(bob.page, { name: 'bob', count: 2_500, text: after });

    const alice = await here.stranger({ browser });
    const { page } = alice;
    await page.addInitScript(() => {
      window.asked = 0;
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (data) {
        if (data.includes('"type":"history"')) asked++;
        return send.call(this, data);
      };
    });
    await page.reload();
    await alice.logIn('alice');
    await alice.enter();
    await page.getByRole('button', { name: 'Search this room' }).click();
    await find(alice, word, 1);
    const asked = await page.evaluate(() => window.asked);
    await results(alice).click();
    await isAt(alice, word);
    const around = () => alice.item(word).evaluate((item) => [item.previousElementSibling, item.nextElementSibling]
      .map((other) => other.querySelector('.text').textContent));
    assert.deepEqual(await around(), [`${before} 599`, `${after} 0`]);
    const loaded = (await page.evaluate(() => window.asked)) - asked;
    assert.ok(loaded < 8, `it has loaded ${loaded} pages, perhaps all that is between`);

    // What is said meanwhile is counted, and stands in its place, not here.
    const fresh = unique('said meanwhile');
    await bob.say(fresh);
    await page.getByRole('button', { name: '1 new below' }).waitFor();
    assert.equal(await alice.message(fresh).count(), 0);
    await isAt(alice, word);
    await alice.audit('a message far back');

    const expected = (prefix, count) => Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
    assert.deepEqual(await page.evaluate(readOn, [after, fresh, 1]), expected(after, 2_500));
    await page.getByRole('button', { name: /below|Latest/ }).waitFor({ state: 'hidden' });
    const next = unique('at the end again');
    await bob.say(next);
    await alice.message(next).waitFor();

    await results(alice).click();
    await isAt(alice, word);
    assert.deepEqual(await page.evaluate(readOn, [before, `${before} 0`, -1]), expected(before, 600).reverse());
    await page.getByRole('button', { name: 'Latest messages' }).click();
    await alice.message(next).waitFor();
    // From far back one answers as from anywhere.
    await results(alice).click();
    await isAt(alice, word);
    const last = unique('and I was far back');
    await alice.say(last);
    await alice.message(last).waitFor();
    await Promise.all([alice.leave(), bob.leave()]);
  });
}

/** Scrolls down (1) or up (-1) until a text is there, and gives all texts with a prefix as they were met. In the page. */
async function readOn([prefix, end, way]) {
  const log = document.querySelector('#log');
  const met = new Set();
  for (;;) {
    const texts = [...document.querySelectorAll('#messages .text')].map((node) => node.textContent);
    for (const text of way > 0 ? texts : texts.reverse()) if (text.startsWith(`${prefix} `)) met.add(text);
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    if (texts.includes(end) && (way < 0 || below < 2)) return [...met];
    log.scrollTop = way > 0 ? log.scrollHeight : 0;
    await new Promise(requestAnimationFrame);
  }
}
