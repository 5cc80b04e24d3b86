// What the page offers, one thing after the other: in each of two browsers, on a desktop and as wide as a phone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, HASH, SCREENS, backend, here, unique } from './setting.mjs';
import { comeAndGo } from './visitor.mjs';

for (const browser of Object.keys(BROWSERS)) {
  for (const [screen, viewport] of SCREENS) {
    test(`in ${browser} on ${screen}`, async (t) => {
      const [alice, bob] = await Promise.all([here.visitor('alice', { browser, viewport }), here.visitor('bob')]);
      const tour = new Tour(alice, bob, viewport.width < 500, browser);
      // What comes after a stop that failed would wait for what is not there.
      let failed = false;
      const at = (stop) => async (t) => {
        if (failed) return t.skip('a stop before it failed');
        failed = true;
        await stop(tour);
        failed = false;
      };
      for (const [name, stop] of STOPS) await t.test(name, at(stop));
      for (const [name, stop] of tour.isNarrow ? ON_A_PHONE : ON_A_DESKTOP) await t.test(name, at(stop));
      await t.test('one logs out', at(() => tour.logOut()));
      await Promise.all([alice.leave(), bob.leave()]);
    });
  }
}

/** Alice, who looks around, and Bob, who is always in the room `demo`. */
class Tour {
  constructor(alice, bob, isNarrow, browser) {
    Object.assign(this, { alice, bob, isNarrow, browser, page: alice.page });
  }

  /** In Chromium other tests do that, in all themes; in Firefox the phone's tour does it for both. */
  async audit(what) {
    if (this.isNarrow && this.browser !== 'chromium') await this.alice.audit(what);
  }

  /** Goes to another room. On a phone one sees either the rooms or the room. */
  async go(room) {
    await this.toRooms();
    await this.alice.enter(room);
  }

  async toRooms() {
    if (this.isNarrow) await this.page.getByRole('link', { name: 'All rooms' }).click();
  }

  async logOut() {
    await this.toRooms();
    await this.page.getByRole('button', { name: 'Log out' }).click();
    await this.page.getByRole('button', { name: 'Log in' }).waitFor();
  }

  /** Waits until a message with this text has the focus. */
  isAt(text) {
    return this.page.waitForFunction((text) => document.activeElement.matches('.message') && document.activeElement.textContent.includes(text), text);
  }

  badge(room) {
    return this.page.locator(`a[href="#${encodeURIComponent(`chat/${room}`)}"] .badge`);
  }
}

const STOPS = Object.entries({
  async 'a message has a name, initials and a time'({ alice, bob }) {
    const texts = [unique('It is me.'), unique('Me again.')];
    for (const text of texts) await bob.say(text);
    for (const text of texts) {
      await alice.item(text).locator('.who').getByText('Bob Demo').waitFor({ state: 'attached' });
      assert.equal(await alice.item(text).locator('.avatar').textContent(), 'BD');
      assert.ok(await alice.item(text).locator('time').isVisible(), 'a message without a time');
    }
  },

  async 'one answers, and the answer leads to what it answers'(tour) {
    const { alice, bob, page } = tour;
    const [question, answer] = [unique('Who has the key?'), unique('I have it.')];
    await bob.say(question);
    await alice.act(question, 'Answer');
    await page.locator('#context').getByText(question).waitFor();
    await tour.audit('answering');
    await alice.say(answer);
    await bob.item(answer).getByRole('button', { name: `Answers Bob Demo ${question}` }).waitFor();
    // On a phone what can be done with a message before covers the end of it.
    await alice.item(answer).getByRole('button', { name: `Answers Bob Demo ${question}` }).click({ position: { x: 9, y: 9 } });
    await tour.isAt(question);
  },

  async 'one reacts, sees who did, and takes it back'(tour) {
    const { alice, bob, page } = tour;
    const text = unique('Done!');
    await bob.say(text);
    await alice.act(text, 'React');
    await page.getByLabel('An emoji, or its name').fill('tada');
    await page.keyboard.press('Enter');
    await bob.item(text).getByRole('button', { name: /^🎉 1: Alice/ }).waitFor();
    await alice.act(text, 'React');
    await page.locator('#reactors li').waitFor();
    await tour.audit('the choice of an emoji');
    await page.keyboard.press('Escape');
    await alice.item(text).getByRole('button', { name: /^🎉 1: you$/ }).click();
    await bob.item(text).getByRole('button', { name: /^🎉/ }).waitFor({ state: 'detached' });
  },

  async 'the up arrow edits, Escape leaves it, and a deletion is asked about'({ alice, bob, page }) {
    const [text, edited] = [unique('nearly right'), unique('quite right')];
    await alice.say(text);
    await alice.message(text).waitFor();
    await alice.field.press('ArrowUp');
    assert.equal(await alice.field.inputValue(), text);
    await alice.field.press('Escape');
    assert.equal(await alice.field.inputValue(), '');
    await alice.field.press('ArrowUp');
    await alice.field.fill(edited);
    await alice.field.press('Enter');
    await bob.item(edited).getByText('(edited)').waitFor();
    await alice.act(edited, 'Delete');
    await page.getByRole('button', { name: 'Keep it' }).click();
    await alice.act(edited, 'Delete');
    await page.locator('#askYes').click();
    await bob.message(edited).waitFor({ state: 'detached' });
  },

  async 'text and link of a message are copied, and the link leads to it'(tour) {
    const { alice, bob, page } = tour;
    // Firefox shows its clipboard to nobody.
    await page.evaluate(() => (navigator.clipboard.writeText = async (text) => void (window.copied = text)));
    const copied = () => page.evaluate(() => window.copied);
    const text = unique('worth keeping');
    await bob.say(text);
    await alice.act(text, 'Copy text');
    await page.locator('#said').getByText('Copied.').waitFor();
    assert.equal(await copied(), text);
    await alice.act(text, 'Copy link');
    await page.locator('#said').getByText('Link copied.').waitFor();
    const link = await copied();
    await tour.go(HASH);
    await page.evaluate((link) => (location.href = link), link);
    await tour.isAt(text);
    await page.evaluate(() => (location.hash = '#chat%2Fdemo'));
    await alice.field.waitFor();
  },

  async 'people and emoji are completed, and who is named is told apart'(tour) {
    const { alice, bob, page } = tour;
    await alice.field.pressSequentially('@bo');
    await page.getByRole('option', { name: /^Bob Demo/ }).waitFor();
    await tour.audit('completion');
    await alice.field.press('Enter');
    await alice.field.pressSequentially(':tad');
    await page.getByRole('option', { name: /tada/ }).click();
    const rest = unique('look');
    await alice.field.pressSequentially(rest);
    assert.equal(await alice.field.inputValue(), `@Bob Demo 🎉 ${rest}`);
    await alice.field.press('Enter');
    await bob.item(rest).locator('.mention.me').getByText('@Bob Demo').waitFor();
    assert.equal(await alice.item(rest).locator('.mention.me').count(), 0);
  },

  async 'Markdown is shown, hosts that look like others are not, long messages fold, marks stay in their line'(tour) {
    const { alice, bob, page } = tour;
    const [rich, zalgo] = [unique('**bold**, :tada: and https://аррӏе.com/login'), unique(`H${'\u0301\u0300'.repeat(200)}i`)];
    await bob.say(rich);
    const shown = alice.item(rich.slice(-8)).locator('.text');
    await shown.locator('strong').getByText('bold').waitFor();
    assert.match(await shown.textContent(), /^bold, 🎉 and https:\/\/xn--80ak6aa92e\.com\/login /);
    await bob.say(zalgo);
    const marks = await alice.item(zalgo.slice(-8)).locator('.text').evaluate((node) =>
      node.textContent.match(/\p{M}*/gu).reduce((most, run) => Math.max(most, run.length), 0));
    assert.ok(marks <= 6, `${marks} marks on one letter`);

    const long = unique('a long one');
    await bob.say(`${long}\n${'line\n'.repeat(40)}end`);
    const item = page.locator('#messages > .message').filter({ hasText: long });
    const height = () => item.locator('.text').evaluate((node) => node.clientHeight);
    await item.getByRole('button', { name: 'Show the whole message' }).waitFor();
    const folded = await height();
    await item.getByRole('button', { name: 'Show the whole message' }).click();
    assert.ok((await height()) > folded);
    await item.getByRole('button', { name: 'Show less' }).click();
    assert.equal(await height(), folded);
    await page.locator('#log').evaluate((log) => log.scrollTo(0, log.scrollHeight)); // it is read to its end
  },

  async 'what was said while one was elsewhere is counted, marked and read'(tour) {
    const { alice, page } = tour;
    await page.evaluate(() => {
      navigator.setAppBadge = async (unread) => (window.onApp = unread);
      navigator.clearAppBadge = async () => (window.onApp = 0);
    });
    for (const way of ['Go to the first', 'Mark as read']) {
      await tour.go(HASH);
      const texts = Array.from({ length: 40 }, (_, i) => unique(`news ${i}`));
      for (const text of texts) await backend('POST', 'rooms/monitor:demo/messages', { text });
      await tour.badge('demo').getByText('40').waitFor({ state: 'attached' });
      await page.waitForFunction(() => document.title.startsWith('(40)'));
      assert.match(await page.locator('#icon').getAttribute('href'), /icon-unread/);
      assert.equal(await page.evaluate(() => onApp), 40);
      await tour.go('demo');
      const line = page.locator('#messages .new');
      await line.waitFor({ state: 'attached' });
      assert.equal(await line.evaluate((line) => line.closest('li').querySelector('.text').textContent), texts[0]);
      await page.getByText('40 new messages').waitFor();
      if (way === 'Mark as read') await tour.audit('new messages');
      await page.getByRole('button', { name: way }).click();
      if (way === 'Go to the first') await tour.isAt(texts[0]);
      else assert.equal(await alice.focus(), 'text');
      await page.locator('#newBar').waitFor({ state: 'hidden' });
      await page.waitForFunction(() => !document.title.startsWith('(') && onApp === 0);
      const latest = page.getByRole('button', { name: 'Latest messages' });
      if (await latest.isVisible()) await latest.click();
    }
  },

  async 'the room in which something was said last is the first'({ page }) {
    for (const room of [HASH, 'demo']) {
      await backend('POST', `rooms/${encodeURIComponent(`monitor:${room}`)}/messages`, { text: unique('the last word') });
      const link = `#${encodeURIComponent(`chat/${room}`)}`;
      await page.waitForFunction((link) => document.querySelector('#chats a').getAttribute('href') === link, link);
    }
  },

  async 'what was said is found by its words, and one goes there'(tour) {
    const { alice, bob, page } = tour;
    const word = `zypresse${unique('').replace(/\W/g, '')}`;
    await bob.say(`A green ${word}`);
    await alice.message(`A green ${word}`).waitFor();
    await page.getByRole('button', { name: 'Search this room' }).click();
    await page.getByRole('searchbox').fill(word);
    const found = page.locator('#searchFound .result');
    // The index follows what is said.
    for (let tries = 0; tries < 600 && !(await found.count()); tries++) {
      await page.getByRole('searchbox').press('Enter');
      await page.locator('#searchPanel[aria-busy="false"]').waitFor();
      await page.waitForTimeout(100);
    }
    await tour.audit('results');
    await found.click();
    await tour.isAt(word);
    if (!tour.isNarrow) await page.getByRole('button', { name: 'Close' }).click();
  },

  async 'a closed room is made, found, renamed, given another passphrase and deleted, with sentences for what is wrong'(tour) {
    const { alice, bob, page } = tour;
    const [title, other] = [unique('Vault'), unique('Cellar')];
    await tour.toRooms();
    await page.getByRole('button', { name: 'New room' }).click();
    await page.locator('#roomName').fill('1234');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('A room needs a name of 2 to 70 characters that is not only digits').waitFor();
    await tour.audit('the form of a room');
    await alice.makeRoom(title, 'a good passphrase');
    await tour.audit('the way into a room');
    await alice.enterAs(unique('Alice'));
    await alice.connected();
    await page.locator('.room-link[aria-current]').getByText('closed').waitFor({ state: 'attached' });

    await bob.page.getByRole('textbox', { name: 'Find a room' }).fill(title);
    await bob.page.keyboard.press('Enter');
    await bob.enterAs(unique('Bob'), 'not the passphrase');
    await bob.page.getByText('That is not the passphrase').waitFor();

    await page.getByRole('button', { name: 'Change' }).click();
    await page.locator('#roomName').fill(other);
    await page.locator('#roomSecret').fill('a better passphrase');
    // The server lets her in again by the new one, which was typed once; what she says meanwhile waits.
    const door = /\/chats\/\d+\/token$/;
    let letIn;
    const held = new Promise((resolve) => (letIn = resolve));
    await page.route(door, (route) => held.then(() => route.continue()));
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('heading', { name: other }).waitFor();
    await page.getByText('Opening the room').waitFor({ state: 'attached' });
    const text = unique('still here');
    await alice.say(text);
    await page.locator('#outbox').getByText(text).waitFor();
    letIn();
    await alice.message(text).waitFor();
    await page.unroute(door);
    await bob.enterAs(unique('Bob'), 'a better passphrase');
    await bob.message(text).waitFor();
    await bob.page.evaluate(() => (location.hash = '#chat%2Fdemo'));
    await bob.connected();
    await page.getByRole('button', { name: 'Change' }).click();
    await page.getByRole('button', { name: 'Delete the room…' }).click();
    await page.getByRole('heading', { name: 'Delete this room?' }).waitFor();
    await page.locator('#askYes').click();
    await page.getByText('This room has been deleted.').waitFor();
    await page.evaluate(() => (location.hash = '#chat%2Fdemo'));
    await alice.connected();
  },

  async 'many who come and go are one line, and who wants to sees each'(tour) {
    const { alice, bob, page } = tour;
    const title = unique('Station');
    await tour.toRooms();
    await alice.makeRoom(title);
    await alice.enterAs('Alice');
    await alice.connected();
    const text = unique('All aboard');
    await alice.say(text);
    await alice.message(text).waitFor();
    await comeAndGo(bob.page, title);
    const summary = page.locator('#messages summary');
    await summary.getByText('12 people came, 9 left').waitFor();
    assert.equal(await page.getByText('Guest 3 has left the room.', { exact: true }).isVisible(), false);
    await summary.click();
    await page.getByText('Guest 3 has left the room.', { exact: true }).waitFor();
    await tour.audit('a crowd');
    await page.evaluate(() => (location.hash = '#chat%2Fdemo'));
    await alice.connected();
  },

  async 'what an input method still works on is not sent'({ alice }) {
    const text = unique('半分');
    await alice.field.fill(text);
    await alice.enterWhileComposing();
    assert.equal(await alice.field.inputValue(), text);
    await alice.field.press('Enter');
    await alice.message(text).waitFor();
  },

  async 'who is muted is told, and what was written can be sent afterwards'(tour) {
    const { alice, bob, page } = tour;
    const text = unique('May I?');
    const mute = (method) => backend(method, 'rooms/monitor%3Ademo/mutes/alice%40propromo.example');
    await mute('PUT');
    await alice.say(text);
    await page.locator('#outbox').getByText('You are muted in this room for now.').waitFor();
    await tour.audit('a message that was refused');
    await mute('DELETE');
    await page.locator('#outbox').getByRole('button', { name: 'Send again' }).click();
    await bob.message(text).waitFor();
    await page.locator('#problem').waitFor({ state: 'hidden' });
  },

  async 'messages that are copied together carry who said them and when'({ alice, page }) {
    const texts = [unique('first line'), unique('second line')];
    for (const text of texts) await alice.say(text);
    await alice.message(texts[1]).waitFor();
    const times = await Promise.all(texts.map((text) => alice.item(text).locator('time').textContent()));
    const copied = await page.evaluate(([first, last]) => {
      const item = (text) => [...document.querySelectorAll('#messages .text')].find((node) => node.textContent === text);
      getSelection().setBaseAndExtent(item(first).firstChild, 6, item(last).firstChild, 6);
      // Firefox lets no script fill the clipboard's data of an event that a script made.
      let copied = '';
      const clipboardData = { setData: (type, text) => (copied = text) };
      item(first).dispatchEvent(Object.assign(new Event('copy', { bubbles: true, cancelable: true }), { clipboardData }));
      getSelection().removeAllRanges();
      return copied;
    }, texts);
    assert.equal(copied, `[${times[0]}] Alice Demo: ${texts[0].slice(6)}\n[${times[1]}] Alice Demo: second`);
  },

  async 'a screen reader hears what others say, once, and a wide message sticks out nowhere'({ alice, bob, page }) {
    await page.evaluate(() => {
      window.spoken = [];
      new MutationObserver((records) => {
        for (const { addedNodes } of records) for (const node of addedNodes) spoken.push(node.textContent);
      }).observe(document.querySelector('#heard'), { childList: true });
    });
    const [own, other] = [unique('said by me'), unique(`https://example.org/${'long'.repeat(60)} by bob`)];
    await alice.say(own);
    await bob.say(other);
    await page.waitForFunction(() => spoken.length);
    await alice.item(other.slice(-8)).waitFor();
    const spoken = await page.evaluate(() => spoken);
    assert.deepEqual([spoken.length, spoken[0]?.startsWith('Bob Demo: ')], [1, true], `${spoken}`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'something sticks out');
  },

  async 'a notification and a sound come by choice'(tour) {
    const { alice, bob, page, isNarrow } = tour;
    await page.evaluate((isNarrow) => {
      window.told = [];
      window.beeps = 0;
      const tell = (title, { body }) => told.push([title, body]);
      window.Notification = class {
        static requestPermission = async () => 'granted';
        constructor(...words) {
          if (isNarrow) throw new TypeError('Illegal constructor'); // as phones have it
          tell(...words);
        }
      };
      navigator.serviceWorker.getRegistration = async () => ({ showNotification: tell });
      const { start } = OscillatorNode.prototype;
      OscillatorNode.prototype.start = function () { beeps++; start.call(this); };
    }, isNarrow);
    const seen = () => page.evaluate(() => [told.length, beeps]);
    await tour.go(HASH);
    const [quiet, loud] = [unique('for @Alice Demo'), unique('again for @Alice Demo')];
    await bob.say(quiet);
    await tour.badge('demo').getByText('1').waitFor({ state: 'attached' });
    assert.deepEqual(await seen(), [0, 0]);
    await tour.toRooms();
    await page.getByText('Notifications', { exact: true }).click();
    await page.getByLabel('Notify me of').selectOption('mentions');
    await bob.say(loud);
    await tour.badge('demo').getByText('2').waitFor();
    await page.waitForFunction(() => told.length);
    assert.deepEqual(await page.evaluate(() => told), [['Bob Demo · Demo', loud]]);
    await page.getByLabel('with a sound').check();
    await tour.audit('the choice of notifications');
    assert.deepEqual(await seen(), [1, 1], 'one hears what was chosen');
    await page.getByLabel('with a sound').uncheck();
    await page.getByLabel('Notify me of').selectOption('off');
    await alice.enter('demo');
  },

  async 'a session that is over says so, whatever is open, and throws nothing away'(tour) {
    const { alice, bob, page } = tour;
    const [text, draft] = [unique('before it was over'), unique('half a sentence')];
    await bob.say(text);
    await alice.field.fill(draft);
    await alice.act(text, 'React');
    await page.route('**/ws_ticket', (route) => route.fulfill({ status: 401, json: { success: false, message: 'expired' } }));
    await here.server.kill();
    await here.server.restart();
    await page.getByText('Your login has expired').waitFor();
    await page.locator('#password:focus').waitFor();
    await tour.audit('an expired login');
    await page.unroute('**/ws_ticket');
    await alice.logIn('alice');
    await alice.connected();
    await alice.message(text).waitFor();
    assert.equal(await alice.field.inputValue(), draft);
    await alice.field.fill('');
    await bob.connected();
  },

  async 'who logs out is asked if something is unsent, and a draft outlives a reload'(tour) {
    const { alice, page } = tour;
    const draft = unique('half a thought');
    await alice.field.fill(draft);
    await page.waitForFunction(() => localStorage.length > 0);
    await page.reload();
    await alice.connected();
    assert.equal(await alice.field.inputValue(), draft);
    await tour.toRooms();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'Log out?' }).waitFor();
    await tour.audit('the question before one logs out');
    await page.getByRole('button', { name: 'Stay' }).click();
    if (tour.isNarrow) await alice.enter();
    assert.equal(await alice.field.inputValue(), draft);
    await alice.field.fill('');
  },
});

const ON_A_DESKTOP = Object.entries({
  async 'two keys lead to where one writes, and others to rooms and messages'({ alice, page }) {
    const { keyboard } = page;
    await page.evaluate(() => {
      const top = Object.assign(document.createElement('span'), { tabIndex: -1 });
      document.body.prepend(top);
      top.focus();
      top.remove();
    });
    for (let tabs = 0; tabs < 2 && (await alice.focus()) !== 'skipText'; tabs++) await keyboard.press('Tab');
    assert.equal(await alice.focus(), 'skipText');
    await keyboard.press('Enter');
    assert.equal(await alice.focus(), 'text');
    await keyboard.press('Control+k');
    assert.equal(await alice.focus(), 'findName');
    await keyboard.press('Escape');
    assert.equal(await alice.focus(), 'text');
    await keyboard.press('Alt+ArrowDown');
    const isThere = (there) => page.waitForFunction((there) => (document.querySelector('.room-link[aria-current]').hash !== '#chat%2Fdemo') === there, there);
    await isThere(true);
    await keyboard.press('Alt+ArrowUp');
    await isThere(false);
    await alice.connected();

    const texts = [unique('one up'), unique('the last')];
    for (const text of texts) await alice.say(text);
    await alice.message(texts[1]).waitFor();
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    await keyboard.press('Shift+Tab');
    while (!(await page.evaluate(() => document.activeElement.matches('.message')))) await keyboard.press('Shift+Tab');
    assert.ok((await focused()).includes(texts[1]), await focused());
    await keyboard.press('ArrowUp');
    assert.ok((await focused()).includes(texts[0]), await focused());
    await keyboard.press('Enter');
    await keyboard.press('ArrowRight');
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Answer');
    await keyboard.press('Escape');
    assert.ok((await focused()).includes(texts[0]));
    await keyboard.press('Escape');
    assert.equal(await alice.focus(), 'text');
  },
});

const ON_A_PHONE = Object.entries({
  async 'a long press shows what can be done, and the finger that is lifted presses nothing'(tour) {
    const { alice, bob, page } = tour;
    const text = unique('pressed long');
    await bob.say(text);
    await alice.message(text).waitFor();
    // The page is told of a finger: Firefox can't be touched by a test.
    const finger = (...types) => alice.message(text).evaluate((node, types) => {
      const { left: clientX, top: clientY } = node.getBoundingClientRect();
      for (const type of types) node.dispatchEvent(new PointerEvent(type, { bubbles: true, cancelable: true, pointerType: 'touch', clientX, clientY }));
    }, types);
    await finger('pointerdown');
    const bar = alice.item(text).getByRole('toolbar');
    await bar.waitFor();
    await finger('pointerup', 'click');
    await tour.audit('what can be done');
    await bar.getByRole('button', { name: 'Answer' }).click();
    await page.locator('#context').getByText(text).waitFor();
    await page.locator('#contextCancel').click();
  },

  async 'the list of people covers nothing and closes by a press beside it'(tour) {
    const { page } = tour;
    await page.getByRole('button', { name: /here$/ }).click();
    await tour.audit('people');
    const [people, ...others] = await Promise.all(['#people', '#log', '#roomHead', '#composer'].map((one) => page.locator(one).boundingBox()));
    for (const { x, y, width, height } of others) {
      const apart = x >= people.x + people.width || people.x >= x + width || y >= people.y + people.height || people.y >= y + height;
      assert.ok(apart, 'something is covered');
    }
    await page.locator('#log').click({ position: { x: 20, y: 20 } });
    await page.locator('#people').waitFor({ state: 'hidden' });
  },

  async 'no field makes the page zoom'({ page }) {
    const fields = page.locator('input:not([type=checkbox]), textarea, select');
    const small = await fields.evaluateAll((fields) => fields.filter((field) => field.checkVisibility() && parseFloat(getComputedStyle(field).fontSize) < 16).map(({ id }) => id));
    assert.deepEqual(small, []);
  },
});
