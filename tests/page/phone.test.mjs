// The page as an app: installed, without a connection, on a phone's keyboard; and pages beside it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, PHONE, here } from './setting.mjs';

for (const browser of Object.keys(BROWSERS)) {
  test(`in ${browser} the page can be installed, and its shell opens without a connection`, async () => {
    const place = browser === 'chromium' ? PHONE : {};
    const alice = await here.stranger({ browser, ...place, serviceWorkers: 'allow' });
    const manifest = await alice.page.evaluate(async () => (await fetch(document.querySelector('link[rel=manifest]').href)).json());
    assert.equal(manifest.display, 'standalone');
    for (const { src, type } of manifest.icons) {
      const icon = await alice.page.request.get(here.url + src);
      assert.equal(icon.status(), 200, src);
      assert.ok(icon.headers()['content-type'].startsWith(type), src);
    }
    await alice.page.evaluate(() => navigator.serviceWorker.ready);
    // What the worker keeps is the shell, and nothing that was said or is secret.
    await alice.logIn('alice');
    await alice.enter();
    await alice.reload(); // by the worker from now on
    await alice.connected();
    const kept = await alice.page.evaluate(async () => {
      const cache = await caches.open('shell');
      return (await cache.keys()).map(({ url }) => new URL(url).pathname);
    });
    assert.ok(kept.includes('/') && kept.includes('/assets/app.js'), `${kept}`);
    assert.deepEqual(kept.filter((path) => path !== '/' && !path.startsWith('/assets/')), []);
    await here.server.kill();
    await alice.page.reload();
    await alice.page.getByRole('button', { name: 'Log in' }).waitFor();
    await alice.logIn('alice');
    await alice.page.getByRole('alert').getByText("The server can't be reached.").waitFor();
    await here.server.restart();
    await alice.leave();
  });
}

test('on a phone the keyboard takes its place from the page, and no field makes it zoom', async () => {
  const alice = await here.visitor('alice', PHONE);
  const viewport = await alice.page.locator('meta[name=viewport]').getAttribute('content');
  assert.match(viewport, /interactive-widget=resizes-content/);
  assert.match(viewport, /viewport-fit=cover/);
  const small = await alice.page.locator('input, textarea, select').evaluateAll((fields) =>
    fields.filter((field) => parseFloat(getComputedStyle(field).fontSize) < 16).map((field) => field.id));
  assert.deepEqual(small, []);
  await alice.leave();
});

for (const browser of Object.keys(BROWSERS)) {
  test(`in ${browser} the list of rooms and a wrong address look like the rest`, async () => {
    const alice = await here.stranger({ browser });
    for (const [path, heading, status] of [['/chats', 'Rooms', 200], ['/no/such/page', 'There is nothing here', 404]]) {
      const response = await alice.page.goto(here.url + path);
      assert.equal(response.status(), status);
      await alice.page.getByRole('heading', { name: heading }).waitFor();
      await alice.audit(path);
      const image = await alice.page.locator('.brand img').evaluate((node) => node.naturalWidth);
      assert.ok(image > 0, 'the page has no picture');
    }
    await alice.page.goto(`${here.url}/chats`);
    await alice.page.getByRole('link', { name: 'Public Chat' }).click();
    await alice.logIn('alice');
    await alice.page.getByRole('heading', { name: 'Public Chat' }).waitFor();
    await alice.leave();
  });
}
