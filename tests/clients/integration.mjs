// A page of docs/INTEGRATION.md in a real browser: opens it, does one step after the other, prints what is in it at the end.

import { createRequire } from 'node:module';

// The page's own tests have the browser's driver already.
const { chromium } = createRequire(new URL('../page/package.json', import.meta.url))('playwright-core');
const { url, user, steps } = JSON.parse(process.argv[2]);
const { CHROMIUM = '/usr/bin/chromium' } = process.env;
const PATIENCE = 120_000; // ms; long, since the machine may be busy

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: PATIENCE,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
});
try {
  const context = await browser.newContext();
  if (user) await context.addCookies([{ name: 'user', value: encodeURIComponent(user), url }]);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on('console', (message) => console.error(message.text()));
  await page.goto(url);
  for (const [what, where, text] of steps) {
    if (what === 'fill') await page.getByLabel(where).fill(text);
    if (what === 'click') await page.getByRole('button', { name: where }).click();
    if (what === 'see') await page.getByText(where).waitFor();
  }
  console.log(await page.locator('body').innerText());
} finally {
  await browser.close();
}
