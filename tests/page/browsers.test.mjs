// What people do most, in each of two browsers, on a desktop and as wide as a phone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, HASH, SCREENS, here, unique } from './setting.mjs';

for (const browser of Object.keys(BROWSERS)) {
  for (const [screen, viewport] of SCREENS) {
    test(`in ${browser} on ${screen} one talks, reloads, reads, edits and finds`, async () => {
      const alice = await here.visitor('alice', { browser, viewport });
      const { page } = alice;
      const word = `zypresse${unique('').replace(/\W/g, '')}`;
      await alice.say(`A green ${word}`);
      await alice.message(`A green ${word}`).waitFor();

      const draft = unique('not yet sent');
      await alice.field.fill(draft);
      await page.reload();
      await alice.connected();
      assert.equal(await alice.field.inputValue(), draft);
      await alice.field.fill('');

      await alice.act(`A green ${word}`, 'Edit');
      await alice.field.fill(`A yellow ${word}`);
      await alice.field.press('Enter');
      await alice.message(`A yellow ${word}`).waitFor();
      await alice.item(`A yellow ${word}`).getByText('edited').waitFor();

      const bob = await here.visitor('bob', { browser, room: HASH });
      const news = unique('over there');
      await bob.say(news);
      const badge = page.locator(`a[href="#${encodeURIComponent(`chat/${HASH}`)}"] .badge`);
      await badge.getByText('1').waitFor({ state: 'attached' });
      await page.waitForFunction(() => document.title.startsWith('(1)'));
      if (viewport.width < 500) await page.getByRole('link', { name: 'All rooms' }).click();
      await alice.enter(HASH);
      await alice.message(news).waitFor();
      await badge.waitFor({ state: 'hidden' });
      await bob.leave();

      if (viewport.width < 500) await page.getByRole('link', { name: 'All rooms' }).click();
      await alice.enter();
      await page.getByRole('button', { name: 'Search this room' }).click();
      await page.getByRole('searchbox').fill(word);
      const found = page.locator('#searchFound .result');
      // The index follows what is said.
      for (let tries = 0; tries < 600 && !(await found.count()); tries++) {
        await page.getByRole('searchbox').press('Enter');
        await page.locator('#searchPanel[aria-busy="false"]').waitFor();
        await page.waitForTimeout(100);
      }
      await found.click();
      await page.waitForFunction((word) => document.activeElement.textContent.includes(word), word);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'something sticks out');

      await page.reload();
      await alice.connected();
      if (viewport.width < 500) await page.getByRole('link', { name: 'All rooms' }).click();
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByRole('button', { name: 'Log in' }).waitFor();
      await alice.leave();
    });
  }
}
