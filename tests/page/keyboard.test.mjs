// Without a mouse: keys, focus, what is offered while one writes; and where there is little room.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, HASH, PHONE, here, unique } from './setting.mjs';
import { crowd } from './visitor.mjs';

const NARROW = { viewport: { width: 900, height: 700 } };

for (const browser of Object.keys(BROWSERS)) {
  test(`in ${browser} three keys lead to where one writes, and one key to the rooms, however many there are`, async () => {
    const alice = await here.stranger({ browser });
    await crowd(alice);
    await alice.page.reload();
    await alice.logIn('alice');
    await alice.enter();
    await alice.page.locator('a[href="#open%2F1059"]').waitFor();
    const { keyboard } = alice.page;
    await alice.page.evaluate(() => {
      const top = Object.assign(document.createElement('span'), { tabIndex: -1 });
      document.body.prepend(top);
      top.focus();
      top.remove();
    });
    let tabs = 0;
    while (tabs < 4 && !(await alice.page.evaluate(() => document.activeElement.id === 'skipText'))) {
      await keyboard.press('Tab');
      tabs++;
    }
    assert.ok(tabs <= 2, `${tabs} times Tab`);
    await alice.audit('a skip link');
    await keyboard.press('Enter');
    assert.equal(await alice.focus(), 'text');

    await keyboard.press('Control+k');
    assert.equal(await alice.focus(), 'findName');
    await keyboard.type('room 59');
    await alice.page.locator('a[href="#open%2F1058"]').waitFor({ state: 'detached' });
    assert.equal(await alice.page.locator('.room-link').count(), 1);
    await alice.page.locator('.room-link').getByText('closed').waitFor({ state: 'attached' });
    await keyboard.press('Control+a');
    await keyboard.press('Delete');
    await keyboard.press('Escape');
    assert.equal(await alice.focus(), 'text');

    // All rooms are one stop, and the arrows go from one to the other.
    await keyboard.press('Control+k');
    await keyboard.press('Tab');
    assert.equal(await alice.page.evaluate(() => document.activeElement.ariaCurrent), 'page');
    await keyboard.press('End');
    assert.match(await alice.page.evaluate(() => document.activeElement.href), /open%2F1059$/);
    await keyboard.press('Tab');
    assert.equal(await alice.focus(), 'newRoom');
    await alice.audit('61 rooms and 203 people');
    await alice.leave();
  });
}

test('Alt and an arrow lead to the next room, and a letter typed anywhere is written', async () => {
  const alice = await here.visitor('alice');
  const { keyboard } = alice.page;
  await keyboard.press('Alt+ArrowDown');
  const link = `a[href="#${encodeURIComponent(`chat/${HASH}`)}"]`;
  await alice.page.locator(`${link}[aria-current]`).waitFor();
  await alice.connected();
  assert.equal(await alice.focus(), 'text');
  await keyboard.press('Alt+ArrowUp');
  await alice.page.locator(`${link}[aria-current]`).waitFor({ state: 'detached' });
  await alice.page.locator('#log').focus();
  await keyboard.type('hello');
  assert.equal(await alice.field.inputValue(), 'hello');
  await alice.page.locator('.room-link').first().focus();
  await keyboard.press('Escape');
  assert.equal(await alice.focus(), 'text');
  await alice.leave();
});

test('a room is found by a part of its name', async () => {
  const alice = await here.visitor('alice', { room: null });
  await alice.page.getByRole('link', { name: 'Public Chat' }).waitFor();
  await alice.page.keyboard.press('Control+k');
  await alice.page.keyboard.type('publ');
  await alice.page.keyboard.press('Enter');
  await alice.page.getByRole('heading', { name: 'Public Chat' }).waitFor();
  await alice.page.keyboard.press('Control+k');
  await alice.page.keyboard.type('nothing like it');
  await alice.page.keyboard.press('Enter');
  await alice.page.getByText('There is no room of this name.').waitFor();
  await alice.audit('a room that is not found');
  await alice.leave();
});

test('people and emoji are completed, and who is named is told apart', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const greeting = unique('here I am');
  await bob.say(greeting);
  await alice.message(greeting).waitFor();
  await alice.field.pressSequentially('@bo');
  await alice.page.getByRole('option', { name: /^Bob Demo/ }).waitFor();
  assert.equal(await alice.field.getAttribute('aria-activedescendant'), 'offer0');
  await alice.audit('completion');
  await alice.field.press('Enter');
  await alice.field.pressSequentially(':tad');
  await alice.page.getByRole('option', { name: /tada/ }).click();
  const rest = unique('look');
  await alice.field.pressSequentially(rest);
  assert.equal(await alice.field.inputValue(), `@Bob Demo 🎉 ${rest}`);
  await alice.field.press('Enter');
  await bob.item(rest).locator('.mention.me').getByText('@Bob Demo').waitFor();
  assert.equal(await alice.item(rest).locator('.mention.me').count(), 0);
  assert.match(await bob.item(rest).getAttribute('class'), /mentioned/);
  await alice.field.pressSequentially(':smi');
  await alice.page.locator('#offers li').first().waitFor();
  await alice.field.press('Escape');
  assert.equal(await alice.page.locator('#offers li').count(), 0);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('notifications and the sound are off until they are chosen, and then stay', async () => {
  const [alice, bob] = await Promise.all([here.stranger({ permissions: ['notifications'] }), here.visitor('bob')]);
  await alice.page.addInitScript(() => {
    window.told = [];
    window.beeps = 0;
    window.Notification = class {
      static requestPermission = async () => 'granted';
      constructor(title, { body }) { told.push([title, body]); }
    };
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function () { beeps++; start.call(this); };
  });
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.enter(HASH);
  const seen = () => alice.page.evaluate(() => [told.length, beeps]);
  const texts = ['one', 'two', 'for @Alice Demo'].map(unique);
  const say = async (text) => {
    await bob.say(text);
    await alice.page.locator('.room-link .badge').getByText(String(++unread)).first().waitFor();
  };
  let unread = 0;
  await say(texts[0]);
  assert.deepEqual(await seen(), [0, 0]);
  await alice.page.getByText('Notifications', { exact: true }).click();
  await alice.page.getByLabel('Notify me of').selectOption('mentions');
  await alice.page.getByLabel('with a sound').check();
  await alice.audit('the choice of notifications');
  assert.deepEqual(await seen(), [0, 1], 'one hears what was chosen');
  await say(texts[1]);
  assert.deepEqual(await seen(), [0, 1]);
  await alice.page.waitForTimeout(1_600); // two sounds are further apart than this
  await alice.enter('demo'); // the names of who is here are known from now on
  await alice.say(unique('I am Alice'));
  await alice.enter(HASH);
  unread = 0;
  await say(texts[2]);
  assert.deepEqual(await alice.page.evaluate(() => told), [['Bob Demo · Demo', texts[2]]]);
  assert.deepEqual(await seen(), [1, 2]);
  await alice.reload();
  assert.equal(await alice.page.locator('#alertsShow').inputValue(), 'mentions');
  await Promise.all([alice.leave(), bob.leave()]);
});

test('the list of people covers nothing and closes with a tap beside it', async () => {
  for (const place of [NARROW, PHONE, { ...NARROW, browser: 'firefox' }]) {
    const alice = await here.visitor('alice', place);
    await alice.say(unique('look at me'));
    await alice.page.getByRole('button', { name: /here$/ }).click();
    await alice.page.locator('#people').waitFor();
    const boxes = await Promise.all(['#people', '#log', '#roomHead', '#composer'].map((one) => alice.page.locator(one).boundingBox()));
    const [people, ...others] = boxes;
    for (const { x, y, width, height } of others) {
      const apart = x >= people.x + people.width || people.x >= x + width || y >= people.y + people.height || people.y >= y + height;
      assert.ok(apart, `covered at ${place.viewport.width} px`);
    }
    await alice.audit('people');
    await alice.page.locator('#log').click({ position: { x: 20, y: 20 } });
    await alice.page.locator('#people').waitFor({ state: 'hidden' });
    await alice.leave();
  }
});

test('forced colours mark the open room', async () => {
  const alice = await here.visitor('alice', { forcedColors: 'active' });
  const outline = await alice.page.locator('.room-link[aria-current]').evaluate((link) => getComputedStyle(link).outlineStyle);
  assert.equal(outline, 'solid');
  await alice.say(unique('in few colours'));
  await alice.audit('forced colours');
  await alice.leave();
});
