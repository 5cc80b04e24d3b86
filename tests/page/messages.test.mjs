// What can be done with a message that has been said.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PHONE, backend, here, unique, until } from './setting.mjs';
import { MESSAGES, flood } from './visitor.mjs';

const CLIPBOARD = { permissions: ['clipboard-read', 'clipboard-write'] };

test('edits, deletions and reactions are seen at once, and after a reload', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const [first, second] = [unique('a mistkae'), unique('to be forgotten')];
  const corrected = first.replace('mistkae', 'mistake');
  await alice.say(first);
  await alice.say(second);
  await bob.message(second).waitFor();

  await alice.act(first, 'Edit');
  assert.equal(await alice.field.inputValue(), first);
  await alice.audit('editing');
  await alice.field.fill(corrected);
  await alice.field.press('Enter');
  await bob.item(corrected).getByText('(edited)').waitFor();

  await bob.act(corrected, 'React');
  await bob.audit('the choice of an emoji');
  await bob.page.getByLabel('An emoji, or its name').fill('tada');
  await bob.page.keyboard.press('Enter');
  const reaction = alice.item(corrected).getByRole('button', { name: /^🎉 1: Bob|^🎉 1: bob@/ });
  await reaction.click();
  const both = bob.item(corrected).getByRole('button', { name: /^🎉 2: you and / });
  await both.waitFor();
  assert.equal(await both.getAttribute('aria-pressed'), 'true');

  await alice.act(second, 'Delete');
  await alice.audit('the question before a deletion');
  await alice.page.getByRole('button', { name: 'Delete', exact: true }).last().click();
  await bob.message(second).waitFor({ state: 'detached' });
  await bob.page.getByText('This message was deleted.').waitFor();
  await bob.audit('messages that were changed');

  await bob.reload();
  await bob.item(corrected).getByText('(edited)').waitFor();
  await bob.item(corrected).getByRole('button', { name: /^🎉 2: you and / }).click();
  await alice.item(corrected).getByRole('button', { name: /^🎉 1: you$/ }).waitFor();
  assert.equal(await bob.message(second).count(), 0);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('the up arrow in an empty field edits the last message, Escape goes back to the draft', async () => {
  const alice = await here.visitor('alice');
  const [text, draft] = [unique('nearly right'), unique('a draft')];
  await alice.say(text);
  await alice.message(text).waitFor();
  await alice.field.press('ArrowUp');
  assert.equal(await alice.field.inputValue(), text);
  await alice.field.press('Escape');
  assert.equal(await alice.field.inputValue(), '');
  await alice.field.fill(draft);
  await alice.field.press('ArrowUp');
  assert.equal(await alice.field.inputValue(), draft, 'a draft is no empty field');
  await alice.act(text, 'Edit');
  await alice.field.fill('');
  await alice.field.press('Enter');
  await alice.page.getByRole('heading', { name: 'Delete this message?' }).waitFor();
  await alice.page.getByRole('button', { name: 'Keep it' }).click();
  await alice.page.locator('#contextCancel').click();
  assert.equal(await alice.field.inputValue(), draft);
  await alice.leave();
});

// Seen to fail where an edit is let go before it is confirmed.
test('an edit that is refused is given back to who wrote it', async () => {
  const alice = await here.visitor('alice');
  const [text, other] = [unique('to be edited'), unique('thought about for long')];
  const mute = (method) => backend(method, 'rooms/monitor%3Ademo/mutes/alice%40propromo.example');
  await alice.say(text);
  await alice.message(text).waitFor();
  await alice.act(text, 'Edit');
  // It fits in a new message, and not in an edit, whose frame is longer.
  await alice.field.fill('x'.repeat(16_300));
  await alice.page.getByText('bytes too long').waitFor();
  await alice.field.fill(other);
  await mute('PUT');
  await alice.field.press('Enter');
  await alice.page.getByText('What you wrote is where you write new messages').waitFor();
  assert.equal(await alice.field.inputValue(), other);
  await mute('DELETE');
  await alice.field.fill('');
  await alice.leave();
});

test('an answer shows what it answers, and leads there however far back that is', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const [question, answer] = [unique('Who has the key?'), unique('I have it.')];
  await bob.say(question);
  await alice.act(question, 'Answer');
  await alice.page.locator('#context').getByText(question).waitFor();
  await alice.audit('answering');
  const noise = unique('noise');
  await flood(bob.page, { name: 'bob', count: 900, text: noise });
  await alice.say(answer);
  const quote = alice.item(answer).getByRole('button', { name: `Answers Bob Demo ${question}` });
  await quote.waitFor();
  // After a reload the original is far away, and comes when it is asked for.
  await bob.reload();
  await bob.item(answer).getByRole('button', { name: 'Answers An earlier message' }).click();
  await bob.item(question).waitFor();
  await bob.page.waitForFunction((text) => document.activeElement.textContent.includes(text), question);
  const inView = await bob.item(question).evaluate((item) => {
    const { top, bottom } = item.getBoundingClientRect();
    const log = document.querySelector('#log').getBoundingClientRect();
    return top >= log.top && bottom <= log.bottom;
  });
  assert.ok(inView, 'the message is not in view');
  await bob.page.getByRole('button', { name: 'Latest messages' }).click();
  await bob.item(answer).getByRole('button', { name: `Answers Bob Demo ${question}` }).waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('text and link of a message are copied, and the link leads to it', async () => {
  const alice = await here.visitor('alice', CLIPBOARD);
  const text = unique('**worth** keeping');
  await alice.say(text);
  const key = await alice.item('keeping').last().getAttribute('data-key');
  const clipboard = () => alice.page.evaluate(() => navigator.clipboard.readText());
  const act = async (button) => {
    const item = alice.page.locator(`[data-key="${key}"]`);
    await item.hover();
    await item.getByRole('button', { name: button, exact: true }).click();
  };
  await act('Copy text');
  await alice.page.getByRole('status').getByText('Copied.').waitFor();
  assert.equal(await clipboard(), text);
  await act('Copy link');
  await alice.page.getByRole('status').getByText('Link copied.').waitFor();
  const link = await clipboard();
  const bob = await here.stranger();
  await bob.page.goto(link);
  await bob.page.reload(); // another fragment alone loads nothing
  await bob.logIn('bob');
  await bob.page.waitForFunction((key) => document.activeElement.dataset.key === key, key);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('messages and what can be done with them are reached by the keyboard', async () => {
  const alice = await here.visitor('alice');
  const [first, second] = [unique('one up'), unique('the last')];
  for (const text of [first, second]) await alice.say(text);
  await alice.message(second).waitFor();
  const { keyboard } = alice.page;
  const focused = () => alice.page.evaluate(() => document.activeElement.textContent);
  await keyboard.press('Shift+Tab');
  while (!(await alice.page.evaluate(() => document.activeElement.matches('.message')))) await keyboard.press('Shift+Tab');
  assert.ok((await focused()).includes(second), await focused());
  await keyboard.press('ArrowUp');
  assert.ok((await focused()).includes(first), await focused());
  await alice.audit('a message with the focus');
  await keyboard.press('Enter');
  await keyboard.press('ArrowRight');
  assert.equal(await alice.page.evaluate(() => document.activeElement.ariaLabel), 'Answer');
  await keyboard.press('Escape');
  assert.ok((await focused()).includes(first));
  await keyboard.press('Enter');
  await keyboard.press('End');
  await keyboard.press('Enter');
  await alice.page.getByRole('heading', { name: 'Delete this message?' }).waitFor();
  await keyboard.press('Enter');
  await alice.message(first).waitFor({ state: 'detached' });
  assert.equal(await alice.focus(), 'text');
  await alice.leave();
});

test('on a phone a long press shows what can be done', async () => {
  const alice = await here.visitor('alice', PHONE);
  const text = unique('pressed long');
  await alice.say(text);
  await alice.message(text).waitFor();
  const { x, y, width, height } = await alice.message(text).boundingBox();
  const devTools = await alice.page.context().newCDPSession(alice.page);
  const touch = (type, touchPoints) => devTools.send('Input.dispatchTouchEvent', { type, touchPoints });
  const point = { x: x + width / 3, y: y + height / 2 };
  const bar = alice.page.getByRole('toolbar');
  await alice.page.mouse.move(0, 0); // phones have none, and this one came in by a click
  // A finger that scrolls means something else.
  await Promise.all([touch('touchStart', [point]), touch('touchMove', [{ ...point, y: point.y - 60 }])]);
  await alice.page.waitForTimeout(700);
  await touch('touchEnd', []);
  assert.equal(await bar.count(), 0);
  await touch('touchStart', [point]);
  await bar.waitFor();
  await touch('touchEnd', []);
  await alice.audit('what can be done on a phone');
  const fits = await bar.evaluate((node) => {
    const { left, right } = node.getBoundingClientRect();
    return left >= 0 && right <= innerWidth && document.documentElement.scrollWidth <= innerWidth;
  });
  assert.ok(fits, 'the buttons stick out');
  await bar.getByRole('button', { name: 'Edit' }).tap();
  assert.equal(await alice.field.inputValue(), text);
  await alice.leave();
});

test('a program is marked as one, and operators are heard in every room', async () => {
  const alice = await here.visitor('alice', { room: null });
  const [text, notice] = [unique('The build is green.'), unique('Back in five minutes.')];
  await alice.enter();
  await backend('POST', 'rooms/monitor:demo/messages', { text });
  await alice.item(text).getByText('bot', { exact: true }).waitFor();
  await backend('POST', 'notices', { text: notice });
  await alice.page.locator('#notice').getByText(notice).waitFor();
  await alice.audit('a notice');
  await alice.page.locator('#notice').getByRole('button', { name: 'Dismiss' }).click();
  assert.equal(await alice.page.locator('#notice').isVisible(), false);
  await alice.leave();
});

test('people are shown by their names once these are known', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const text = unique('It is me.');
  await bob.say(text);
  await alice.item(text).locator('.who').getByText('Bob Demo').waitFor({ state: 'attached' });
  assert.equal(await alice.item(text).locator('.avatar').textContent(), 'BD');
  await alice.page.locator('#people').getByText('Bob Demo').waitFor();
  await bob.field.pressSequentially('Ve');
  await alice.page.getByText(/Bob Demo.* is writing/).waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

test('messages that are copied together carry who said them and when', async () => {
  const alice = await here.visitor('alice', CLIPBOARD);
  const texts = [unique('first line'), unique('second line')];
  for (const text of texts) await alice.say(text);
  await alice.message(texts[1]).waitFor();
  const times = await Promise.all(texts.map((text) => alice.item(text).locator('time').textContent()));
  for (const text of texts) assert.ok(await alice.item(text).locator('time').isVisible(), 'a message without a time');
  await alice.page.evaluate(([first, last]) => {
    const item = (text) => [...document.querySelectorAll('#messages .text')].find((node) => node.textContent === text);
    getSelection().setBaseAndExtent(item(first).firstChild, 6, item(last).firstChild, 6);
  }, texts);
  await alice.page.keyboard.press('Control+c');
  const copied = await alice.page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `[${times[0]}] Alice Demo: ${texts[0].slice(6)}\n[${times[1]}] Alice Demo: second`);
  await alice.leave();
});

test('a reaction without a connection is made afterwards', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  const text = unique('react to this');
  await bob.say(text);
  await alice.message(text).waitFor();
  await here.server.kill();
  await alice.page.getByText(/^Offline/).waitFor();
  await alice.act(text, 'React');
  await alice.page.getByRole('button', { name: 'thumbsup' }).click();
  await here.server.restart();
  await bob.item(text).getByRole('button', { name: /^👍 1/ }).waitFor();
  await Promise.all([alice.leave(), bob.leave()]);
});

// Seen to fail where each refusal has a timer of its own: there are twice as many attempts with each round.
test('changes that can not be stored now are tried again once in a while, each once', async () => {
  const bob = await here.visitor('bob');
  const alice = await here.stranger();
  const asked = [];
  await alice.page.routeWebSocket(/\/channel\/demo/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((frame) => {
      const { type, ref } = JSON.parse(frame);
      if (type === 'react') asked.push(performance.now());
      if (type !== 'react' || asked.length > 4) return server.send(frame);
      socket.send(JSON.stringify({ type: 'error', code: 'unavailable', message: 'not now', ref }));
    });
  });
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.enter();
  const texts = [unique('react to this'), unique('and to that')];
  for (const text of texts) {
    await bob.say(text);
    await alice.act(text, 'React');
    await alice.page.getByRole('button', { name: 'thumbsup' }).click();
  }
  for (const text of texts) await bob.item(text).getByRole('button', { name: /^👍 1/ }).waitFor();
  assert.equal(asked.length, 6);
  assert.ok(asked[4] - asked[2] > 4_000, 'it asks again before the time');
  await Promise.all([alice.leave(), bob.leave()]);
});

// Seen to fail where the answer to the second attempt is shown: "The message is already in that state."
test('a reaction that is stored when its connection breaks is made once, and nothing is said to be wrong', async () => {
  const bob = await here.visitor('bob');
  const alice = await here.stranger();
  const refusals = [];
  let first = null;
  await alice.page.routeWebSocket(/\/channel\/demo/, (socket) => {
    const server = socket.connectToServer();
    const isFirst = !first;
    first ??= socket;
    server.onMessage((frame) => {
      if (isFirst && frame.includes('"type":"reacted"')) return;
      socket.send(frame);
      if (frame.includes('"code":"unchanged"')) refusals.push(frame);
    });
  });
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.enter();
  const text = unique('react to this');
  await bob.say(text);
  await alice.message(text).waitFor();
  await alice.act(text, 'React');
  await alice.page.getByRole('button', { name: 'thumbsup' }).click();
  await bob.item(text).getByRole('button', { name: /^👍 1/ }).waitFor();
  await first.close({ code: 1001 });
  await alice.item(text).getByRole('button', { name: /^👍 1: you$/ }).waitFor();
  await until(() => refusals.length, 'the answer to the second attempt');
  await alice.painted();
  assert.equal(await alice.page.locator('#problem.shown').count(), 0);
  await Promise.all([alice.leave(), bob.leave()]);
});

// Seen to fail where changes outlive the messages: the text of before is shown.
test('a room that begins anew shows messages as they are now, whatever changes came before', async () => {
  const bob = await here.visitor('bob');
  const alice = await here.stranger();
  const said = unique('as it was said');
  const [edited, latest] = [`${said}, and edited`, `${said}, and edited while one was away`];
  let [first, message] = [null, null];
  await alice.page.routeWebSocket(/\/channel\/demo/, (socket) => {
    if (!first) {
      first = socket;
      return socket.connectToServer().onMessage((data) => {
        if (data.includes('"type":"message"') && data.includes(said)) message = JSON.parse(data);
        socket.send(data);
      });
    }
    // What a server says that no longer keeps what the page has heard last.
    const frames = [{ type: 'error', code: 'reload', message: 'not kept' }, { ...message, text: latest, edited: new Date() }];
    for (const frame of frames) socket.send(JSON.stringify(frame));
    return socket.onMessage((data) => data.includes('"presence"') && socket.send(JSON.stringify({ type: 'presence', users: [], names: {} })));
  });
  await alice.page.reload();
  await alice.logIn('alice');
  await alice.enter();
  await bob.say(said);
  await bob.act(said, 'Edit');
  await bob.field.fill(edited);
  await bob.field.press('Enter');
  await bob.act(edited, 'React');
  await bob.page.getByRole('button', { name: 'thumbsup' }).click();
  await alice.item(edited).getByRole('button', { name: /^👍 1/ }).waitFor();
  await first.close({ code: 1001 });
  await alice.sees(said, [latest]);
  assert.equal(await alice.page.locator('#messages .reaction').count(), 0);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a screen reader hears each new message once, and none of the old ones', async () => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob')]);
  await alice.page.evaluate(() => {
    window.spoken = [];
    new MutationObserver((records) => {
      for (const { addedNodes } of records) for (const node of addedNodes) spoken.push(node.textContent);
    }).observe(document.querySelector('#heard'), { childList: true });
  });
  const [own, other] = [unique('said by me'), unique('said by bob')];
  await alice.say(own);
  await bob.say(other);
  await alice.message(other).waitFor();
  await bob.act(other, 'React');
  await bob.page.getByRole('button', { name: 'heart' }).click();
  await alice.item(other).getByRole('button', { name: /^❤️ 1/ }).waitFor();
  assert.deepEqual(await alice.page.evaluate(() => spoken), [`Bob Demo: ${other}`]);
  assert.equal(await alice.page.locator('#heard').evaluate((node) => node.role), 'log');
  // Nothing else that changes with messages is a live region.
  assert.equal(await alice.page.locator(MESSAGES).first().evaluate((node) => node.closest('[aria-live], [role=log]')), null);
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a moderator deletes what another has said, and nobody else may', async () => {
  const [bob, text] = [await here.visitor('bob'), unique('out of place')];
  await bob.say(text);
  const alice = await here.visitor('alice');
  const button = (name) => alice.item(text).getByRole('button', { name, exact: true });
  await alice.item(text).hover();
  await button('React').waitFor();
  assert.equal(await button('Delete').isVisible(), false);

  here.server.command('moderator', 'add', 'demo', 'alice@propromo.example');
  await alice.reload();
  await alice.connected();
  await alice.act(text, 'Delete');
  await alice.audit('asking whether to delete what another said');
  await alice.page.getByRole('button', { name: 'Delete', exact: true }).last().click();
  for (const someone of [alice, bob]) await someone.message(text).waitFor({ state: 'detached' });
  here.server.command('moderator', 'remove', 'demo', 'alice@propromo.example');
  await Promise.all([alice.leave(), bob.leave()]);
});

test('a pointer that moves within a message shows its buttons, also if the message came below it by itself', async () => {
  const alice = await here.visitor('alice');
  const tall = (text) => `${text}\n${'line\n'.repeat(8)}end`;
  const [first, second] = [unique('before'), unique('after')];
  await alice.say(tall(first));
  await alice.message(first).waitFor();
  const log = await alice.page.locator('#log').boundingBox();
  const [x, y] = [log.x + 120, log.y + log.height - 100];
  await alice.page.mouse.move(x, y);
  await alice.item(first).locator('.message-tools').waitFor();
  await alice.page.evaluate((text) => addEventListener('pointerover', ({ target }) => {
    if (target.closest('.message')?.textContent.includes(text)) globalThis.isBelow = true;
  }), second);
  await alice.say(tall(second));
  await alice.page.waitForFunction(() => globalThis.isBelow);
  await alice.page.mouse.move(x + 3, y + 3);
  await alice.item(second).locator('.message-tools').waitFor();
  await alice.leave();
});
