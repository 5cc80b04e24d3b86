// What every file of tests begins with: a server of its own, a browser, and people who visit the page.
//
// PROPROMO_CHAT_BIN names the server's binary. CHROMIUM and FIREFOX name other browsers than Debian's.
// PAGE_SOURCE names a folder (src/web) from which the page is taken in place of the binary, PATIENCE how many ms tests wait.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { chromium, firefox } from 'playwright-core';
import { Server } from './server.mjs';
import { PATIENCE, Visitor } from './visitor.mjs';

const { PROPROMO_CHAT_BIN: binary, CHROMIUM = '/usr/bin/chromium', FIREFOX = '/usr/bin/firefox-esr' } = process.env;

/** The monitor of the demo accounts whose name is as awkward as real ones are. */
export const HASH = '$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12';

export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** Two widths for which the page has a layout of its own, in any browser. */
export const SCREENS = [['a desktop', { width: 1280, height: 800 }], ['a phone', { width: 390, height: 844 }]];

/** The secret of a backend's key. */
export const API_KEY = 'a-key-of-the-tests-of-the-page-in-a-browser';

export const here = {
  /** The server, from the first test of the file on. */
  server: null,
  url: '',

  /** Puts a server whose clock can be set in the place of the first one. */
  async withOwnClock() {
    await begun; // Node does not wait for one `before` before it begins the next
    await here.server.stop();
    await begin({ ownClock: true });
  },

  /** Somebody at the login form, in Chromium unless `browser` is another of `BROWSERS`. */
  stranger: async ({ browser = 'chromium', ...options } = {}) => Visitor.at(await (running[browser] ??= BROWSERS[browser]()), here.url, options),

  /** Somebody who is logged in and, unless `room` is null, in a room. */
  async visitor(name, { room = 'demo', ...options } = {}) {
    const someone = await here.stranger(options);
    await someone.logIn(name);
    await someone.admitted();
    if (room) await someone.enter(room);
    return someone;
  },
};

/** How each is started, which is done when a test first wants it. */
export const BROWSERS = {
  chromium: () => chromium.launch({
    executablePath: CHROMIUM,
    timeout: PATIENCE,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
      // A page that is served from a folder counts as one from elsewhere.
      ...(process.env.PAGE_SOURCE ? ['--disable-features=LocalNetworkAccessChecks'] : []),
    ],
  }),
  firefox: () => startFirefox(),
};

/** Firefox where the system is dark, and where it forces its colours on pages. */
export const LOOKS = {
  dark: { 'layout.css.prefers-color-scheme.content-override': 0 },
  'forced colours': { 'browser.display.document_color_use': 2 },
};

/** The browser as people have it, by WebDriver BiDi. */
export function startFirefox(firefoxUserPrefs) {
  return firefox.launch({ channel: 'moz-firefox', executablePath: FIREFOX, timeout: PATIENCE, firefoxUserPrefs });
}

/** What a backend asks of the server. */
export async function backend(method, path, body) {
  const headers = { Authorization: `Bearer ${API_KEY}`, 'Content-Type': 'application/json' };
  const response = await fetch(`${here.url}/api/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${path}: ${response.status}`);
}

/** Waits until something is so of which no page tells. */
export async function until(isSo, what) {
  for (const end = Date.now() + PATIENCE; !isSo(); await new Promise((resolve) => setTimeout(resolve, 20))) {
    assert.ok(Date.now() < end, `${what} never came`);
  }
}

const running = {};
let used = 0;

/** A text that no other test says. */
export const unique = (text) => `${text} #${process.pid}-${++used}`;

const SETTINGS = {
  MESSAGE_RATE: '0', LOGIN_RATE: '0', ROOM_RATE: '0', ROOMS_PER_ADDRESS: '0', ROOM_CHANGE_RATE: '0', SEARCH_RATE: '0', API_KEYS: `tests publish,moderate ${API_KEY}`,
};

async function begin(options) {
  here.server = await Server.start(binary, SETTINGS, options);
  here.url = here.server.url;
}

let begun;
before(() => {
  assert.ok(binary, 'set PROPROMO_CHAT_BIN to the path of the server');
  return (begun = begin());
});

after(async () => {
  await Promise.all(Object.values(running).map(async (browser) => (await browser).close()));
  await here.server?.stop();
});
