// Staying logged in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { here, unique } from './setting.mjs';

test('a reload, a second tab and a restart leave one logged in; logging out does not', async () => {
  const alice = await here.visitor('alice');
  const draft = unique('still there');
  await alice.field.fill(draft);
  await alice.page.reload();
  await alice.connected();
  assert.equal(await alice.field.inputValue(), draft);
  await alice.field.fill('');
  const second = await alice.page.context().newPage();
  await second.goto(`${here.url}/#chat%2Fdemo`);
  await second.getByRole('textbox', { name: 'Message' }).waitFor();
  await here.server.kill();
  await here.server.restart();
  // Both at once, with the same cookie.
  await Promise.all([alice.page.reload(), second.reload()]);
  await second.getByRole('textbox', { name: 'Message' }).waitFor();
  await alice.connected();
  await second.close();
  await alice.page.getByRole('button', { name: 'Log out' }).click();
  await alice.page.getByRole('button', { name: 'Log in' }).waitFor();
  await alice.page.reload();
  await alice.page.getByRole('button', { name: 'Log in' }).waitFor();
  await alice.leave();
});

test('an access token that has expired is renewed without a word', async () => {
  const alice = await here.visitor('alice');
  let refused = 0;
  await alice.page.route('**/ws_ticket', (route) => {
    if (refused++) return route.continue();
    return route.fulfill({ status: 401, json: { success: false, reason: 'token_expired', message: 'expired' } });
  });
  await here.server.kill();
  await here.server.restart();
  const text = unique('after an hour');
  await alice.say(text);
  await alice.message(text).waitFor();
  assert.ok(refused > 1, 'the expired token was not met');
  assert.equal(await alice.page.locator('#login').isVisible(), false);
  await alice.leave();
});
