// Markdown as chats do it, and never HTML.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { here, unique } from './setting.mjs';

/** What the page makes of texts: `[textContent, innerHTML]` of each, in the page itself. */
const shown = (someone, texts) => someone.page.evaluate(async (texts) => {
  const { markup } = await import('/assets/markup.js');
  return texts.map((text) => {
    const node = document.createElement('div');
    node.append(markup(text));
    return node.innerHTML;
  });
}, texts);

test('emphasis, quotes, lists, code and links are shown as chats do it', async () => {
  const alice = await here.stranger();
  const expected = {
    '**bold**, *italic*, _italic_, __bold__ and ~~gone~~':
      '<strong>bold</strong>, <em>italic</em>, <em>italic</em>, <strong>bold</strong> and <s>gone</s>',
    '**bold with *italic* in it**': '<strong>bold with <em>italic</em> in it</strong>',
    'snake_case_name, 2*3*4, ** no **, * no *, 5 * 3, _open': null,
    '\\*as it is\\*': '*as it is*',
    '`**code**` and ``a`b``': '<code>**code**</code> and <code>a`b</code>',
    '**bold `**` on**': '<strong>bold <code>**</code> on</strong>',
    '> a quote\n> of two lines\nand an answer': '<blockquote>a quote\nof two lines</blockquote>and an answer',
    '> > deeper': '<blockquote><blockquote>deeper</blockquote></blockquote>',
    'Two things:\n- one\n- two\n  - and a half\n- three':
      'Two things:<ul><li>one</li><li>two<ul><li>and a half</li></ul></li><li>three</li></ul>',
    '3. three\n4. four': '<ol start="3"><li>three</li><li>four</li></ol>',
    '- one\n1. two': '<ul><li>one</li></ul><ol start="1"><li>two</li></ol>',
    '- no\nlist goes on': '<ul><li>no</li></ul>list goes on',
    '-not a list, 1.5 neither, 2026. nor this': null,
    ':tada: at 10:30:45, :nosuchname: and a:tada:': '<span title=":tada:">🎉</span> at 10:30:45, :nosuchname: and a:tada:',
    '<b>bold</b> &lt;': '&lt;b&gt;bold&lt;/b&gt; &amp;lt;',
    '[label](javascript:alert(1)) [](a) [a]': null,
  };
  const html = await shown(alice, Object.keys(expected));
  const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  Object.entries(expected).forEach(([text, wanted], i) => assert.equal(html[i], wanted ?? escaped(text), text));

  const code = await shown(alice, ['```rust\nlet a = 1;\n```']);
  assert.match(code[0], /^<pre [^>]*data-language="rust"[^>]*><code>let a = 1;<\/code><\/pre>$/);
  await alice.leave();
});

test('a link shows where it leads, also where its host looks like another', async () => {
  const alice = await here.stranger();
  const hosts = {
    'https://example.org/a_(b)_c': 'https://example.org/a_(b)_c',
    'https://münchen.de/strasse': 'https://münchen.de/strasse',
    'https://пример.рф': 'https://пример.рф',
    'https://例え.jp/': 'https://例え.jp/',
    'https://аррӏе.com/login': 'https://xn--80ak6aa92e.com/login', // Cyrillic
    'https://раураl.com': 'https://xn--l-7sba6dbr.com', // Cyrillic and Latin
    'https://gοοgle.com': 'https://xn--ggle-0nda.com', // Greek
    'https://ｇoogle.com/a': 'https://google.com/a', // full width
    'https://bank.example@evil.example/a': 'https://evil.example/a',
  };
  const html = await shown(alice, Object.keys(hosts));
  Object.values(hosts).forEach((text, i) => assert.equal(html[i].replace(/<[^>]*>/g, ''), text));
  const [labelled] = await shown(alice, ['[https://bank.example](https://evil.example/a_(b))']);
  assert.match(labelled, /href="https:\/\/evil.example\/a_\(b\)"/);
  assert.equal(labelled.replace(/<[^>]*>/g, ''), 'https://bank.example (evil.example)');
  await alice.leave();
});

test('whatever is said, only harmless elements come of it, and no word is lost', async () => {
  const alice = await here.stranger();
  const found = await alice.page.evaluate(async () => {
    const { markup } = await import('/assets/markup.js');
    const PIECES = [
      '**', '*', '_', '__', '~~', '`', '``', '```', '```\n', '> ', '\n> ', '\n- ', '\n1. ', '\n  * ', '[', ']', '](', ')', '(', '\\', ':', '@', ' ',
      ' ', '\n', '\n\n', 'https://example.org/', 'HTTPS://а.com', 'http://', 'javascript:', 'data:text/html,', '<img src=x onerror=alert(1)>', '</div>',
      '<script>', '&lt;', '"', "'", 'style=', '\u202e', '\u2067', '\u200b', '\ud83d', '🎉', ':tada:', 'e\u0301', '\0', '\r',
    ];
    const ELEMENTS = /^(strong|em|s|blockquote|ul|ol|li|pre|code|a|span)$/;
    const ATTRIBUTES = /^(start|dir|tabindex|role|aria-label|data-language|href|target|rel|title|class)$/;
    let seed = 1;
    const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
    for (let round = 0; round < 3000; round++) {
      const words = [];
      let text = '';
      for (let i = 1 + random(40); i > 0; i--) {
        text += PIECES[random(PIECES.length)];
        if (random(2)) words.push(`w${round}q${i}`), (text += words.at(-1));
      }
      const node = document.createElement('div');
      node.append(markup(text));
      let all = node.textContent;
      for (const element of node.querySelectorAll('*')) {
        if (!ELEMENTS.test(element.localName)) return `${element.localName} of ${JSON.stringify(text)}`;
        for (const { name, value } of element.attributes) {
          if (!ATTRIBUTES.test(name)) return `${name} of ${JSON.stringify(text)}`;
          if (name === 'href' && !/^https?:$/.test(new URL(value).protocol)) return `${value} of ${JSON.stringify(text)}`;
          all += ` ${value}`;
        }
      }
      const lost = words.find((word) => !all.toLowerCase().includes(word));
      if (lost) return `${lost} is lost of ${JSON.stringify(text)}: ${node.innerHTML}`;
    }
    return '';
  });
  assert.equal(found, '');
  await alice.leave();
});

test('no text takes long to show', async (t) => {
  const alice = await here.stranger();
  const took = await alice.page.evaluate(async () => {
    const { markup } = await import('/assets/markup.js');
    const pieces = ['**a ', '*', '_a', '~~a ', '`', '`a ``b ', '[', '[a](', '> ', '- ', '\n  - a', ':a', '@a', 'http://', '```', '*a _b **c __d ~~e ', '*a* ', 'e\u0301\u0301'];
    // Seen to fail where each single backtick is looked for to the end of the line.
    pieces.push('\\\x60\x60');
    return pieces.map((piece) => {
      const text = piece.repeat(16_384 / piece.length);
      const started = performance.now();
      markup(text);
      return [piece, performance.now() - started];
    });
  });
  for (const [piece, ms] of took) {
    if (ms > 50) t.diagnostic(`${JSON.stringify(piece)}: ${Math.round(ms)} ms`);
    assert.ok(ms < 500, `${JSON.stringify(piece)} took ${ms} ms`);
  }
  await alice.leave();
});

// Seen to fail where each `@` is compared with all names: it takes seconds for every such message.
test('a text full of @ does not take long to show, however many people could be meant', async () => {
  const alice = await here.stranger();
  const [ms, first, marked, plain] = await alice.page.evaluate(async () => {
    const [{ markup }, { mentionsIn, mentionsMe }] = await Promise.all([import('/assets/markup.js'), import('/assets/mentions.js')]);
    const names = new Map(Array.from({ length: 2_000 }, (_, i) => [`person${i}@propromo.example`, `Person ${i}`]));
    names.set('bob@propromo.example', 'Bob Demo');
    const room = { people: new Set(names.keys()), names, me: 'me@propromo.example', nameOf: (user) => names.get(user) ?? user, isMe: () => false };
    const shown = (text) => [...markup(text, mentionsIn(room)).querySelectorAll('.mention')].map((node) => node.textContent);
    const started = performance.now();
    for (const piece of ['@', '@a ', '@Person ', '@person1@']) {
      const text = piece.repeat(16_384 / piece.length);
      shown(text);
      mentionsMe(text, room);
    }
    const took = performance.now() - started;
    return [took, shown('@bob demo and @bob, @bobby, @person7@propromo.example'), shown('@Bob '.repeat(50)).length, shown(`${'@a '.repeat(50)}@Bob`)];
  });
  assert.ok(ms < 1_000, `it took ${ms} ms`);
  assert.deepEqual(first, ['@bob demo', '@bob', '@person7@propromo.example']);
  assert.equal(marked, 50);
  assert.deepEqual(plain, []);
  await alice.leave();
});

// Seen to fail where only what is shown looks before the `@`: an address in a text notifies.
test('an address in a text is no mention, neither shown nor as a notification', async () => {
  const alice = await here.stranger();
  const found = await alice.page.evaluate(async () => {
    const [{ markup }, { mentionsIn, mentionsMe }] = await Promise.all([import('/assets/markup.js'), import('/assets/mentions.js')]);
    const room = { people: new Set(), names: new Map(), me: 'bob@propromo.example', nameOf: () => 'Bob', isMe: (name) => name.toLowerCase() === 'bob' };
    const shown = (text) => [...markup(text, mentionsIn(room)).querySelectorAll('.mention')].map((node) => node.textContent);
    return ['ann@bob', '_@bob', '(@bob)', '@bob'].map((text) => [text, mentionsMe(text, room), ...shown(text)]);
  });
  assert.deepEqual(found, [['ann@bob', false], ['_@bob', false], ['(@bob)', true, '@bob'], ['@bob', true, '@bob']]);
  await alice.leave();
});

test('letters with many marks stay in their line, and a long message folds again', async () => {
  const alice = await here.visitor('alice');
  const [zalgo, long] = [unique(`H${'\u0301\u0300'.repeat(200)}i`), unique('line\n'.repeat(40))];
  await alice.say(zalgo);
  await alice.say(long);
  const fold = alice.page.locator('#messages').getByRole('button', { name: 'Show the whole message' });
  await fold.waitFor();
  const marks = await alice.page.locator('#messages .text').evaluateAll((nodes) =>
    Math.max(...nodes.map((node) => node.textContent.match(/\p{M}*/gu).reduce((most, run) => Math.max(most, run.length), 0))));
  assert.ok(marks <= 6, `${marks} marks on one letter`);
  const height = () => alice.page.locator('#messages .text').last().evaluate((node) => node.clientHeight);
  const folded = await height();
  await fold.click();
  assert.ok((await height()) > folded);
  await alice.page.getByRole('button', { name: 'Show less' }).click();
  assert.equal(await height(), folded);
  await alice.leave();
});
