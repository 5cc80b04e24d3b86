// Much to show: long histories, and rooms in which much is said.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { here } from './setting.mjs';
import { MESSAGES, flood } from './visitor.mjs';

const SEEDED = 50_000;
const MOST = 400; // messages that may be in the document at once

test(`a room of ${SEEDED} messages opens in under a second and scrolls back to the first`, async (t) => {
  const bob = await here.visitor('bob', { room: null });
  await flood(bob.page, { name: 'bob', count: SEEDED, text: 'seeded' });
  await bob.leave();
  const alice = await here.visitor('alice');
  // Again if it was slow, as the machine may be busy with other things.
  let took = Infinity;
  for (let i = 0; i < 10 && took >= 1_000; i++) took = await opening(alice);
  t.diagnostic(`opened in ${Math.round(took)} ms`);
  assert.ok(took < 1_000, `opening took ${took} ms`);

  const before = await alice.worked();
  const heaviest = await alice.heaviestTask();
  const { first, most, frames } = await alice.page.evaluate(scrollBack);
  const task = await heaviest();
  const frame = ((await alice.worked()) - before) / frames;
  t.diagnostic(`scrolled back in ${frames} frames of ${(frame * 1000).toFixed(1)} ms; the longest task worked for ${task.toFixed()} ms`);
  assert.equal(first, 'seeded 0');
  assert.ok(most <= MOST, `${most} messages in the document at once`);
  assert.ok(frame < 0.1, `a frame took ${frame} s`);
  assert.ok(task > 0 && task < 100, `a task worked for ${task} ms`);

  await alice.page.getByRole('button', { name: 'Latest messages' }).click();
  await alice.message(`seeded ${SEEDED - 1}`).waitFor();
  await alice.page.waitForFunction(() => {
    const log = document.querySelector('#log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });
  await alice.leave();
});

/** From the moment at which one is logged in to the last message of the room on screen, in ms. */
async function opening(someone) {
  await someone.page.reload();
  const opened = someone.page.evaluate(async (last) => {
    const passes = async (done) => {
      while (!done()) await new Promise(requestAnimationFrame);
      return performance.now();
    };
    const loggedIn = await passes(() => !document.querySelector('#app').hidden);
    const shown = () => document.querySelector('#messages > li:last-child .text')?.textContent === last;
    return (await passes(shown)) - loggedIn;
  }, `seeded ${SEEDED - 1}`);
  await someone.page.locator('#app:not([hidden])').waitFor();
  return opened;
}

/** Scrolls up as if the bar were held at its top. In the page. */
async function scrollBack() {
  const log = document.querySelector('#log');
  let frames = 0;
  let most = 0;
  while (document.querySelector('#older').textContent !== 'This is where the room begins.' || log.scrollTop > 0) {
    log.scrollTop = 0;
    await new Promise(requestAnimationFrame);
    frames++;
    most = Math.max(most, document.querySelectorAll('#messages > li').length);
  }
  return { first: document.querySelector('#messages .text').textContent, most, frames };
}

test('a hundred messages a second leave the page usable', async (t) => {
  const [alice, bob] = await Promise.all([here.visitor('alice'), here.visitor('bob', { room: null })]);
  const draft = 'typed in the middle of it';
  await alice.page.evaluate(watchPaints);
  const flooding = flood(bob.page, { name: 'bob', count: 500, perSecond: 100, text: 'flood' });
  await Promise.all([flooding, alice.field.pressSequentially(draft, { delay: 100 })]);
  await alice.message('flood 499').waitFor();
  const { paints, seconds } = await alice.page.evaluate(() => watched());
  assert.equal(await alice.field.inputValue(), draft);
  assert.ok((await alice.page.locator(MESSAGES).count()) <= MOST);
  t.diagnostic(`500 messages in ${seconds.toFixed(1)} s were drawn ${paints} times`);
  // Ten times a second, and at each key; one frame a message would be three times as often.
  assert.ok(paints <= 11 * seconds + draft.length, `drawn ${paints} times in ${seconds} s`);
  await Promise.all([alice.leave(), bob.leave()]);
});

/** Counts from now on how often messages are drawn. In the page. */
function watchPaints() {
  const started = performance.now();
  let paints = 0;
  new MutationObserver(() => paints++).observe(document.querySelector('#messages'), { childList: true });
  window.watched = () => ({ paints, seconds: (performance.now() - started) / 1000 });
}
