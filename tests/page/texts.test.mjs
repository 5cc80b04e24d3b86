// Texts and names of others are text, whatever is in them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { here, unique } from './setting.mjs';

test('hostile texts are shown as text', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
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

test('hostile names are shown as text, in messages and in lists', async () => {
  const names = ['<img src=x onerror=alert(1)>', '\u202e\u2067eve', 'n'.repeat(70)];
  const alice = await here.visitor('alice', { room: 'open/1' });
  await alice.enterAs('Alice');
  await alice.connected();
  for (const name of names) {
    const eve = await here.visitor('bob', { room: 'open/1' });
    await eve.enterAs(name);
    await eve.connected();
    const text = unique('hello');
    await eve.say(text);
    await alice.message(text).waitFor();
    const shown = (selector) => alice.page.locator(selector).allTextContents();
    assert.ok((await shown('#messages .who')).includes(name));
    assert.ok((await shown('#people bdi')).includes(name));
    // Isolated from what stands beside them, so that marks of direction turn nothing else around.
    const isolation = await alice.page.locator('.who').last().evaluate((node) => getComputedStyle(node).unicodeBidi);
    assert.match(isolation, /isolate/);
    await eve.leave();
  }
  const title = unique('<b>\u202etitle');
  await alice.page.getByRole('button', { name: 'New room' }).click();
  await alice.makeRoom(title, 'a good passphrase');
  await alice.page.locator('.room-link .name').getByText(title, { exact: true }).waitFor();
  assert.equal(await alice.page.locator(':is(#rooms, #room, #people) :is(b, img[src=x])').count(), 0);
  const fits = await alice.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  assert.ok(fits, 'a long name widens the page');
  await alice.leave();
});

test('a text beyond the limit is kept in the field, and said to be too long', async () => {
  const alice = await here.visitor('alice');
  await alice.say('y'.repeat(20_000));
  await alice.page.getByText(/bytes too long/).waitFor();
  assert.equal((await alice.field.inputValue()).length, 20_000);
  await alice.leave();
});
