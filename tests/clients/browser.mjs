// A browser's WebSocket, in a page of the server: opens, says, hears, closes; see tests/clients/others.rs.

import { createRequire } from 'node:module';

// The page's own tests have the browser's driver already.
const { chromium } = createRequire(new URL('../page/package.json', import.meta.url))('playwright-core');
const order = JSON.parse(process.argv[2]);
const { CHROMIUM = '/usr/bin/chromium' } = process.env;
const PATIENCE = 120_000; // ms; long, since the machine may be busy

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: PATIENCE,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(new URL('/', order.url.replace('ws', 'http')).href);
  const said = await page.evaluate(({ url, protocols, say, hear }) => new Promise((resolve) => {
    const said = [];
    const socket = new WebSocket(url, protocols);
    let heard = 0;
    socket.onopen = () => {
      said.push({ protocol: socket.protocol });
      for (const text of say) socket.send(text);
    };
    socket.onmessage = ({ data }) => {
      said.push(typeof data === 'string' ? { text: data } : { binary: true });
      if (++heard === hear) socket.close(1000);
    };
    socket.onclose = ({ code }) => resolve([...said, { closed: code }]);
  }), order);
  for (const value of said) console.log(JSON.stringify(value));
} finally {
  await browser.close();
}
