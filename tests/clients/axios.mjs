// axios as Laravel sets it up, in a browser's page of another site; see tests/clients/logins.rs.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

// The page's own tests have the browser's driver already.
const { chromium } = createRequire(new URL('../page/package.json', import.meta.url))('playwright-core');
const order = JSON.parse(process.argv[2]);
const { CHROMIUM = '/usr/bin/chromium' } = process.env;
const PATIENCE = 120_000; // ms; long, since the machine may be busy

const axios = await readFile(new URL('node_modules/axios/dist/axios.min.js', import.meta.url));
const site = createServer((request, response) => {
  const script = request.url === '/axios.js';
  response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
  response.end(script ? axios : '<!doctype html><meta charset=utf-8><script src=/axios.js></script>');
});
await new Promise((listening) => site.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: PATIENCE,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(`http://localhost:${site.address().port}/`);
  const said = await page.evaluate(async ({ host, email, password, path }) => {
    // resources/js/bootstrap.js, and what a form's page adds.
    window.axios.defaults.headers.common['X-Requested-With'] = 'XMLHttpRequest';
    window.axios.defaults.headers.common['X-CSRF-TOKEN'] = 'a token of the site';
    const post = (body) => window.axios.post(`http://${host}/login`, body, { validateStatus: () => true });
    const login = await post({ email, password });
    const large = await post({ email, password: 'x'.repeat(100_000) });
    const socket = new WebSocket(`ws://${host}${path}?auth=${login.data.token}`, ['chat']);
    const heard = await new Promise((resolve) => {
      socket.onopen = () => socket.send('hello');
      socket.onmessage = ({ data }) => resolve(JSON.parse(data).text);
      socket.onclose = ({ code }) => resolve(`closed with ${code}`);
    });
    const protocol = socket.protocol;
    return { status: login.status, large: [large.status, large.data.reason], protocol, heard };
  }, order);
  console.log(JSON.stringify(said));
} finally {
  await browser.close();
  site.close();
}
