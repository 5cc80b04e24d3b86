// Message text to DOM nodes, with the Markdown that people write in chats. Text is only ever put in as text.

import { EMOJI } from './emoji.js';
import { link, linkEnd } from './links.js';

const FENCE = '\x60\x60\x60'; // three backticks
const LANGUAGE = /^([\w+#.-]{0,30})[^\S\n]*\n/;

const QUOTED = /^ {0,3}> ?/;
const LISTED = /^( {0,12})(?:[-*+]|(\d{1,3})[.)]) +(?=\S)/;
const DEEPEST = 4; // quotes in quotes, lists in lists
const NESTED = 6; // emphasis in emphasis

// What may begin something, by its first characters.
const START = /\\[\\*_~`]|`+|\*\*|__|~~|[*_~[:@]|\bhttps?:\/\//giu;
const EMPHASIS = { '**': 'strong', __: 'strong', '~~': 's', '*': 'em', _: 'em' };
// Direction marks and overrides end a link: they could make it read as another address.
const URL_TEXT = /https?:\/\/[^\s<>"\x60\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069]+/iuy;
const LABELLED = /\[([^[\]\n]{1,300})\]\((https?:\/\/(?:[^\s()<>"\x60\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069]|\([^\s()<>]*\))+)\)/iuy;
const NAMED = /:([\w+-]{1,32}):/y;
const WORD = /[\p{L}\p{N}_]/u;

const PICTURES = /^(?:\p{RGI_Emoji}\s?){1,3}$/v;
// More marks than these on one letter are no language; they would be drawn over other messages.
const STACKED = /(\p{M}{6})\p{M}+/gu;

/** What a message's text looks like, as nodes. `mention(text, at)` gives how long the name is that an `@` begins. */
export function markup(text, mention = () => 0) {
  const nodes = document.createDocumentFragment();
  const calm = text.replace(STACKED, '$1');
  let done = 0;
  for (;;) {
    const open = calm.indexOf(FENCE, done);
    const close = open < 0 ? -1 : calm.indexOf(FENCE, open + FENCE.length);
    if (close < 0) break;
    const inside = calm.slice(open + FENCE.length, close);
    const [first, language] = inside.match(LANGUAGE) ?? ['', ''];
    const code = inside.slice(first.length).replace(/\n$/, '');
    // The line breaks around a block belong to the fence.
    blocks(nodes, calm.slice(done, open).replace(/\n$/, ''), mention, 0);
    if (code) nodes.append(codeBlock(code, language));
    done = close + FENCE.length;
    if (calm[done] === '\n') done++;
  }
  blocks(nodes, calm.slice(done), mention, 0);
  return nodes;
}

/** Whether a text is nothing but a few emoji. */
export function isPictures(text) {
  return text.length <= 100 && PICTURES.test(text.trim().replace(/:([\w+-]+):/g, (all, name) => EMOJI.get(name) ?? all));
}

/** Quotes, lists, and what is neither; line by line. */
function blocks(nodes, text, mention, depth) {
  if (!text) return;
  const lines = text.split('\n');
  const kindOf = (line) => (depth < DEEPEST ? (QUOTED.test(line) ? 'quote' : LISTED.test(line) ? 'list' : '') : '');
  for (let from = 0, to = 0; from < lines.length; from = to) {
    const kind = kindOf(lines[from]);
    while (to < lines.length && kindOf(lines[to]) === kind) to++;
    const run = lines.slice(from, to);
    if (kind === 'quote') {
      const quote = document.createElement('blockquote');
      blocks(quote, run.map((line) => line.replace(QUOTED, '')).join('\n'), mention, depth + 1);
      nodes.append(quote);
    } else if (kind === 'list') {
      lists(nodes, run.map((line) => line.match(LISTED)), mention, depth);
    } else {
      inline(nodes, run.join('\n'), mention, 0);
    }
  }
}

/** Lists of items as `LISTED` matched them, with those that are further in as lists of their own. */
function lists(nodes, items, mention, depth) {
  let node = null;
  for (let i = 0; i < items.length; ) {
    const { 0: mark, 1: indent, 2: number, input } = items[i++];
    const name = number ? 'ol' : 'ul';
    if (node?.localName !== name) {
      node = document.createElement(name);
      if (number) node.start = Number(number);
      nodes.append(node);
    }
    const item = document.createElement('li');
    inline(item, input.slice(mark.length), mention, 0);
    node.append(item);
    const further = i;
    while (depth < DEEPEST && i < items.length && items[i][1].length > indent.length + 1) i++;
    if (i > further) lists(item, items.slice(further, i), mention, depth + 1);
  }
}

function codeBlock(code, language) {
  const pre = document.createElement('pre');
  pre.append(leaf('code', code));
  pre.dir = 'ltr';
  pre.tabIndex = 0; // so that the keyboard can scroll long lines
  pre.role = 'group';
  pre.ariaLabel = language ? `Code in ${language}` : 'Code';
  if (language) pre.dataset.language = language;
  return pre;
}

function inline(nodes, text, mention, depth) {
  const shut = new Map(); // marks that are closed nowhere further on, and up to where that is so
  let done = 0;
  let at = 0;
  for (;;) {
    START.lastIndex = at;
    const start = START.exec(text);
    if (!start) break;
    at = start.index;
    const found = element(text, at, start[0], { shut, depth, mention });
    if (!found) {
      at += start[0].length;
      continue;
    }
    const [node, end] = found;
    nodes.append(text.slice(done, at), node);
    done = at = end;
  }
  if (done < text.length) nodes.append(text.slice(done));
}

/** The node that begins here, and where it ends; nothing if it is plain text after all. */
function element(text, at, start, { shut, depth, mention }) {
  const [first] = start;
  if (first === '\\') return [start[1], at + 2];
  if (shut.get(start) > at) return null;
  if (first === '\x60') {
    const code = codeSpan(text, at, start);
    if (!code) shut.set(start, lineEnd(text, at));
    return code;
  }
  if (first === '[') return labelled(text, at);
  if (first === ':') return emoji(text, at);
  if (first === '@') {
    const length = mention(text, at);
    return length ? [Object.assign(leaf('span', text.slice(at, at + length)), { className: 'mention' }), at + length] : null;
  }
  if (first === 'h' || first === 'H') return address(text, at);
  if (depth >= NESTED || !(start in EMPHASIS) || !opens(text, at, start)) return null;
  const end = closing(text, at + start.length, start);
  if (end < 0) {
    shut.set(start, text.length);
    return null;
  }
  const node = document.createElement(EMPHASIS[start]);
  inline(node, text.slice(at + start.length, end), mention, depth + 1);
  return [node, end + start.length];
}

function opens(text, at, mark) {
  const next = text[at + mark.length];
  const before = text[at - 1] ?? '';
  // Not in a word: snake_case, 2*3*4.
  return next !== undefined && /\S/.test(next) && next !== mark[0] && (mark === '**' || mark === '~~' || !WORD.test(before));
}

/** Where the mark that was opened before `from` is closed, outside of code. */
function closing(text, from, mark) {
  const single = mark.length === 1;
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\x60') {
      const run = text.slice(at).match(/^\x60+/)[0];
      at = (codeSpan(text, at, run)?.[1] ?? at + run.length) - 1;
    } else if (text.startsWith(mark, at) && /\S/.test(text[at - 1])) {
      if (single && text[at + 1] === mark) at++; // half of a longer mark
      else if (!(single || mark === '__') || !WORD.test(text[at + mark.length] ?? '')) return at;
    }
  }
  return -1;
}

/** Code on one line, between as many backticks as it begins with. */
function codeSpan(text, at, ticks) {
  const from = at + ticks.length;
  const line = text.slice(from, lineEnd(text, from));
  for (let end = line.indexOf(ticks); end >= 0; end = line.indexOf(ticks, end)) {
    let after = end + ticks.length;
    while (line[after] === '\x60') after++;
    if (after - end === ticks.length) {
      if (!end) return null;
      return [leaf('code', line.slice(0, end).replace(/^ (.*\S.*) $/, '$1')), from + after];
    }
    end = after;
  }
  return null;
}

function lineEnd(text, from) {
  const newline = text.indexOf('\n', from);
  return newline < 0 ? text.length : newline;
}

function labelled(text, at) {
  LABELLED.lastIndex = at;
  const match = LABELLED.exec(text);
  const node = match && link(match[2], match[1]);
  return node && [node, at + match[0].length];
}

function address(text, at) {
  URL_TEXT.lastIndex = at;
  const match = URL_TEXT.exec(text);
  if (!match) return null;
  const found = match[0].slice(0, linkEnd(match[0]));
  const node = link(found);
  return node && [node, at + found.length];
}

function emoji(text, at) {
  NAMED.lastIndex = at;
  const [all, name] = NAMED.exec(text) ?? [];
  const picture = EMOJI.get(name);
  if (!picture || /\w/.test(text[at - 1] ?? '')) return null;
  return [Object.assign(leaf('span', picture), { title: all }), at + all.length];
}

function leaf(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
