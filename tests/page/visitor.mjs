// Somebody at the page: a browser context of their own, what they do, and what must never happen to them.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';

export const PATIENCE = Number(process.env.PATIENCE ?? 120_000); // ms; long, since the machine may be busy

const POINTED = 5_000; // ms after which one points again

export const MESSAGES = '#messages > .message';

export class Visitor {
  page;
  /** What broke a promise that holds for every visit: nothing from elsewhere, no policy breach, no exception. */
  breaches = [];

  #devTools;
  #asked = new Set(); // requests that are not answered yet

  static async at(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, serviceWorkers: 'block', ...options });
    if (process.env.PAGE_SOURCE) await serveSource(context, process.env.PAGE_SOURCE);
    const visitor = new Visitor();
    await visitor.#open(context, url);
    return visitor;
  }

  /** The same browser's other tab. It is closed with the first one. */
  async tab(url) {
    const tab = new Visitor();
    tab.breaches = this.breaches;
    await tab.#open(this.page.context(), url);
    return tab;
  }

  async #open(context, url) {
    const page = (this.page = await context.newPage());
    page.setDefaultTimeout(PATIENCE);
    // Reported in the console in words that change; this event does not.
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
        console.error(`breach of the policy: ${violatedDirective} by ${blockedURI}`);
      });
    });
    // How long the page waits for an answer is for people; a test's server may get no processor for longer than that.
    await page.addInitScript((patience) => {
      const { timeout } = AbortSignal;
      AbortSignal.timeout = (ms) => timeout.call(AbortSignal, Math.max(ms, patience));
    }, PATIENCE);
    const host = new URL(url).host;
    const check = (address) => {
      if (new URL(address).host === host || address.startsWith('data:')) return;
      this.breaches.push(`request to ${address}`);
    };
    page.on('request', (request) => {
      this.#asked.add(request);
      check(request.url());
    });
    for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => this.#asked.delete(request));
    page.on('websocket', (socket) => check(socket.url()));
    page.on('pageerror', ({ message, stack }) => {
      // Firefox counts it as an error of the page that a reload ends a WebSocket.
      if (!/was interrupted while the page was loading/.test(message)) this.breaches.push(stack ?? message);
    });
    page.on('dialog', (dialog) => this.breaches.push(`dialog: ${dialog.message()}`));
    page.on('console', (message) => {
      if (/breach of the policy|content.security.policy/i.test(message.text())) this.breaches.push(message.text());
    });
    await page.goto(url);
  }

  /** Waits for something; where it does not come, the error tells what the page says and which answers it waits for. */
  async #awaits(what, coming) {
    try {
      return await coming;
    } catch (cause) {
      const says = await this.page.locator(':is(.error, .banner.shown, dialog[open] h2):visible').allTextContents();
      const asked = [...this.#asked].map((request) => `${request.method()} ${new URL(request.url()).pathname}`);
      throw new Error(`${what} did not come. The page says ${JSON.stringify(says)} and waits for ${JSON.stringify(asked)}.`, { cause });
    }
  }

  async logIn(name, password = `${name}-password`) {
    const [email, wanted] = [this.page.getByLabel('Email'), `${name}@propromo.example`];
    // Playwright would put it behind what stands there, in Firefox.
    if ((await email.inputValue()) !== wanted) await email.fill(wanted);
    await this.page.getByLabel('Password').fill(password);
    await this.page.getByRole('button', { name: 'Log in' }).click();
  }

  /** Waits until one is logged in, and fails with what the page says if one is not. */
  async admitted() {
    const said = await this.#awaits('the answer to a login', this.page.waitForFunction(() => {
      if (!document.querySelector('#app').hidden) return 'admitted';
      return document.querySelector('#login .error').textContent;
    }));
    assert.equal(await said.jsonValue(), 'admitted');
  }

  /** Loads the page again, and waits until it goes on with the session. */
  async reload() {
    await this.page.reload();
    await this.#awaits('the session', this.page.locator('#app:not([hidden])').waitFor());
  }

  /** Opens a room of the list: one of the own chats, or `open/ID`. */
  async enter(room = 'demo') {
    await this.admitted();
    const key = room.startsWith('open/') ? room : `chat/${room}`;
    const link = `a[href="#${encodeURIComponent(key)}"]`;
    await this.page.locator(link).click();
    // Until then it is the room before that is shown, and connected.
    await this.page.locator(`${link}[aria-current]`).waitFor({ state: 'attached' });
    if (key === room) await this.page.locator('#enter').waitFor();
    else await this.connected();
  }

  /** Gives a name, and perhaps a passphrase, at the door of an open room. */
  async enterAs(name, passphrase = '') {
    await this.page.locator('#enterName').fill(name);
    if (passphrase) await this.page.locator('#enterSecret').fill(passphrase);
    await this.page.getByRole('button', { name: 'Enter', exact: true }).click();
  }

  /** Makes an open room, private with a passphrase, and is then at its door. */
  async makeRoom(title, passphrase = '') {
    if (!(await this.page.locator('#newDialog').isVisible())) await this.page.locator('#newRoom').click();
    await this.page.locator('#roomName').fill(title);
    if (passphrase) {
      await this.page.getByLabel('Who may enter').selectOption('private');
      await this.page.locator('#roomSecret').fill(passphrase);
    }
    await this.page.getByRole('button', { name: 'Create' }).click();
    await this.#awaits(`the room ${title}`, this.page.getByRole('heading', { name: title }).waitFor());
  }

  /** Waits until the room is open and all of its first messages have arrived. */
  async connected() {
    await this.page.locator('#talk').waitFor();
    await this.page.waitForFunction(
      () => !document.querySelector('#older').textContent.startsWith('Opening')
        && !document.querySelector('#offline').classList.contains('shown'),
    );
  }

  /** Waits until the page shows all that it has taken in so far. Of what comes by itself it paints no more than ten times a second. */
  painted() {
    return this.page.evaluate(() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 150)));
  }

  /** The id of the element that has the focus. */
  focus() {
    return this.page.evaluate(() => document.activeElement.id);
  }

  /**
   * Fails if axe finds anything to complain about, in light or dark, in the page's colours or those that a system forces. Firefox
   * can't be told these while it runs: it is asked once, in those that it was started with.
   */
  async audit(what, firefoxRules = '{}') {
    const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    await this.page.evaluate(`if (!globalThis.axe) { ${axe}; }`);
    const run = async (look, rules) => {
      const { violations } = await this.page.evaluate(`axe.run(${rules})`);
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
      assert.deepEqual(found, [], `${what}, ${look}`);
    };
    if (this.page.context().browser().browserType().name() !== 'chromium') return run('as it was started', firefoxRules);
    const contrast = `{ runOnly: ['color-contrast'] }`;
    for (const [colorScheme, forcedColors, rules] of [
      ['dark', 'none', contrast],
      ['dark', 'active', contrast],
      ['light', 'active', contrast],
      ['light', 'none', '{}'],
    ]) {
      await this.page.emulateMedia({ colorScheme, forcedColors });
      await run(`${colorScheme}, forced colours: ${forcedColors}`, rules);
    }
  }

  /** Seconds that the page's main thread has worked so far: not a clock's, as the machine may be busy with others. */
  async worked() {
    if (!this.#devTools) {
      this.#devTools = await this.page.context().newCDPSession(this.page);
      await this.#devTools.send('Performance.enable', { timeDomain: 'threadTicks' });
    }
    const { metrics } = await this.#devTools.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value;
  }

  /**
   * Watches the page's main thread from now on; what is given ends that, and gives how long its longest task has worked, in ms.
   * Not a `PerformanceObserver` of long tasks: that would count the time in which the machine was busy with others.
   */
  async heaviestTask() {
    const devTools = await this.page.context().newCDPSession(this.page);
    const events = [];
    devTools.on('Tracing.dataCollected', ({ value }) => events.push(...value));
    await devTools.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['toplevel'] } });
    return async () => {
      const ended = new Promise((resolve) => devTools.once('Tracing.tracingComplete', resolve));
      await devTools.send('Tracing.end');
      await ended;
      const isMain = ({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain';
      const mains = new Set(events.filter(isMain).map(({ pid, tid }) => `${pid} ${tid}`));
      const tasks = events.filter(({ name, pid, tid }) => name.endsWith('RunTask') && mains.has(`${pid} ${tid}`));
      return tasks.reduce((most, { tdur = 0 }) => Math.max(most, tdur), 0) / 1000;
    };
  }

  get field() {
    return this.page.getByRole('textbox', { name: 'Message' });
  }

  async say(text) {
    await this.field.fill(text);
    await this.field.press('Enter');
  }

  /** Presses Enter while an input method works on the text. As Safari says it: the composition is over, the key that ended it is not. */
  async enterWhileComposing() {
    await this.field.evaluate((field) => {
      for (const init of [{ keyCode: 229 }, { isComposing: true }]) {
        field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...init }));
      }
    });
  }

  /** The message with exactly this text. */
  message(text) {
    return this.page.locator(`${MESSAGES} .text`).filter({ hasText: text });
  }

  /** The item of the message with exactly this text. */
  item(text) {
    return this.page.locator(MESSAGES).filter({ has: this.page.locator('.text', { hasText: text }) });
  }

  /**
   * Points at a message, and presses one of the buttons that appear. A pointer that rests while messages move below it means
   * none of them: as anybody would, one then points again.
   */
  async act(text, button) {
    const wanted = this.item(text).getByRole('button', { name: button, exact: true });
    for (let left = PATIENCE / POINTED; ; left--) {
      await this.item(text).hover();
      try {
        return await wanted.click({ timeout: POINTED });
      } catch (error) {
        if (left <= 0) throw error;
      }
      await this.page.mouse.move(0, 0);
    }
  }

  /** The texts on screen that begin with `prefix`, in order, sent or waiting. */
  texts(prefix) {
    return this.page.locator('#log .text').evaluateAll(
      (nodes, start) => nodes.map((node) => node.textContent).filter((text) => text.startsWith(start)),
      prefix,
    );
  }

  /** Waits until the texts that begin with `prefix` are exactly these. */
  async sees(prefix, expected) {
    try {
      await this.page.waitForFunction(
        ([start, wanted]) => {
          const texts = [...document.querySelectorAll('#messages .text')].map((node) => node.textContent);
          return JSON.stringify(texts.filter((text) => text.startsWith(start))) === JSON.stringify(wanted);
        },
        [prefix, expected],
      );
    } catch {
      assert.deepEqual(await this.texts(prefix), expected);
    }
  }

  /** Closes the page, and fails if any breach was seen. */
  async leave() {
    await this.page.context().close();
    assert.deepEqual(this.breaches, []);
  }
}

/** Takes the page's files from a folder rather than from the binary, so that a change needs no build to be tried. */
async function serveSource(context, folder) {
  const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.webmanifest': 'application/manifest+json' };
  await context.route(/^[^?#]*\/(assets\/[^/?#]+)?$/, async (route) => {
    const name = new URL(route.request().url()).pathname.slice('/assets/'.length) || 'index.html';
    const file = { path: name === 'client.js' ? join(folder, '../../clients/js/propromo-chat.js') : join(folder, name) };
    if (name === 'index.html') return route.fulfill({ response: await route.fetch(), body: await readFile(file.path) });
    return route.fulfill({ ...file, contentType: types[extname(name)] });
  });
}

/** Sends `count` messages to a room as fast as the server takes them, or `perSecond`; resolves when all are stored. */
export function flood(page, { name, count, perSecond = 0, text = 'message' }) {
  return page.evaluate(async ({ name, count, perSecond, text }) => {
    const post = async (path, body, bearer) => {
      const headers = { 'Content-Type': 'application/json', ...(bearer && { Authorization: `Bearer ${bearer}` }) };
      return (await fetch(path, { method: 'POST', headers, body: body && JSON.stringify(body) })).json();
    };
    const login = await post('/login', { email: `${name}@propromo.example`, password: `${name}-password` });
    const { ticket } = await post('/ws_ticket', undefined, login.access_token);
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/channel/demo`, [ticket]);
    await new Promise((resolve, reject) => {
      let sent = 0;
      let stored = 0;
      const started = performance.now();
      const more = () => {
        const due = perSecond ? ((performance.now() - started) / 1000) * perSecond : Infinity;
        while (sent < count && sent < due && sent - stored < 1_000) {
          const frame = { type: 'message', text: `${text} ${sent}`, ref: `${text}-${started}-${sent}` };
          socket.send(JSON.stringify(frame));
          sent++;
        }
      };
      socket.onopen = perSecond ? () => setInterval(more, 10) : more;
      socket.onmessage = ({ data }) => {
        if (!data.includes('"ack"') || JSON.parse(data).type !== 'ack') return;
        if (++stored === count) resolve();
        else if (!perSecond) more();
      };
      socket.onclose = ({ code }) => reject(new Error(`flood: closed with ${code} after ${stored} of ${count}`));
    });
    socket.onclose = null;
    socket.close();
  }, { name, count, perSecond, text });
}

/** Lets the page see 61 rooms and 202 people besides those that are here; the server has neither. */
export async function crowd({ page }) {
  const rooms = Array.from({ length: 60 }, (_, i) => ({ id: 1000 + i, title: `Room ${i}`, description: 'Many', visibility: i % 2 ? 'private' : 'public' }));
  await page.route('**/chats/all', async (route) => {
    const response = await route.fetch();
    return route.fulfill({ response, json: [...(await response.json()), ...rooms] });
  });
  const users = Array.from({ length: 202 }, (_, i) => `user${i}@propromo.example`);
  await page.routeWebSocket(/\/channel\//, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((data) => {
      const frame = data.startsWith('{') ? JSON.parse(data) : {};
      if (frame.type === 'presence') frame.users.push(...users);
      socket.send(frame.type === 'presence' ? JSON.stringify(frame) : data);
    });
  });
}

/** Has twelve guests enter the open room of this title, of whom nine leave. */
export function comeAndGo(page, title) {
  return page.evaluate(async (title) => {
    const { id } = await (await fetch(`/chats/${encodeURIComponent(title)}`)).json();
    const visit = (name, leaves) => new Promise((resolve) => {
      const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/chats/${id}/ws`);
      const send = (event_type) => socket.send(JSON.stringify({ event_type, name, color: '#000', msg: '', room_id: id, time: new Date().toISOString() }));
      socket.onopen = () => send('join');
      socket.onmessage = ({ data }) => {
        if (JSON.parse(data).name !== name) return;
        if (leaves && JSON.parse(data).event_type === 'join') send('leave');
        else resolve(socket);
      };
    });
    window.kept = [];
    for (let i = 0; i < 12; i++) kept.push(await visit(`Guest ${i}`, i < 9));
  }, title);
}
