// A week of use, by a clock of the server's own: nobody is asked to log in again until a session ends.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { BROWSERS, here, unique } from './setting.mjs';
import { PATIENCE } from './visitor.mjs';

const DAY = 86_400;
const HOUR = 3_600;

let now = 0;

before(() => here.withOwnClock());

/** Time passes, and the server starts anew meanwhile; then laptops wake. */
async function later(seconds, pages) {
  await here.server.kill();
  await here.server.setClock((now += seconds));
  await here.server.restart();
  // All at the same moment, each with an access token that has expired and with the one cookie.
  await Promise.all(pages.map((page) => page.evaluate(() => dispatchEvent(new Event('online')))));
}

const field = (page) => page.getByRole('textbox', { name: 'Message' });
const message = (page, text) => page.locator('#messages .text').filter({ hasText: text });

async function says(page, text) {
  await field(page).fill(text);
  await field(page).press('Enter');
}

/** Somebody with two tabs in the same room. */
async function twoTabs(browser) {
  const alice = await here.visitor('alice', { browser });
  const second = await alice.page.context().newPage();
  await second.goto(`${here.url}/#chat%2Fdemo`);
  await field(second).waitFor();
  return { alice, second, pages: [alice.page, second] };
}

for (const browser of Object.keys(BROWSERS)) {
  test(`in ${browser} two tabs go on through a week of sleep and restarts, with what was said and what was not sent yet`, async () => {
    const { alice, second, pages } = await twoTabs(browser);
    const draft = unique('still to be said');
    const said = [];
    for (const days of [1, 1, 5]) {
      await later(days * DAY, pages);
      for (const page of pages) {
        said.push(unique(`after ${now / DAY} days`));
        await says(page, said.at(-1));
        for (const tab of pages) await message(tab, said.at(-1)).waitFor();
      }
    }
    await field(alice.page).fill(draft);
    await alice.page.waitForFunction(() => localStorage.length > 0);
    await later(7 * DAY, []);
    // Both tabs are loaded again at once.
    await Promise.all(pages.map((page) => page.reload()));
    for (const page of pages) for (const text of said) await message(page, text).waitFor();
    assert.equal(await field(alice.page).inputValue(), draft);
    for (const page of pages) assert.equal(await page.locator('#login').isVisible(), false);
    await second.close();
    await alice.leave();
  });
}

test('a stolen cookie that is used later ends the session, which says so and throws nothing away', async () => {
  const { alice, second, pages } = await twoTabs('chromium');
  const [text, draft] = [unique('before the theft'), unique('not yet sent')];
  await says(alice.page, text);
  await message(alice.page, text).waitFor();
  const cookie = async () => (await alice.page.context().cookies(`${here.url}/session`))[0];
  const stolen = await cookie();
  assert.ok(stolen?.httpOnly, 'there is no cookie');
  await later(DAY, pages);
  for (let tries = 0; (await cookie()).value === stolen.value; tries++) {
    assert.ok(tries < PATIENCE / 100, 'the cookie is not renewed');
    await alice.page.waitForTimeout(100);
  }
  // Both tabs go on with the new one.
  for (const page of pages) {
    const after = unique('after a day');
    await says(page, after);
    for (const tab of pages) await message(tab, after).waitFor();
  }
  await field(alice.page).fill(draft);
  const headers = { Cookie: `${stolen.name}=${stolen.value}` };
  await here.server.setClock((now += HOUR));
  const answer = await fetch(`${here.url}/session/renew`, { method: 'POST', headers });
  assert.equal(answer.status, 401);
  await later(HOUR, pages);
  for (const page of pages) await page.getByText('Your login has expired').waitFor();
  await alice.logIn('alice');
  await alice.connected();
  await message(alice.page, text).waitFor();
  assert.equal(await field(alice.page).inputValue(), draft);
  await second.close();
  await alice.leave();
});

test('a changed password ends the session in every tab, at the latest when its hour is over', async () => {
  const { alice, second, pages } = await twoTabs('chromium');
  here.server.commandWith('another password\n', 'account', 'passwd', 'alice@propromo.example', '--password-stdin');
  await later(2 * HOUR, pages);
  for (const page of pages) await page.getByText('Your login has expired').waitFor();
  await alice.logIn('alice');
  await alice.page.getByRole('alert').filter({ hasText: 'Email or password is wrong' }).waitFor();
  await alice.logIn('alice', 'another password');
  await alice.connected();
  await second.close();
  await alice.leave();
});
