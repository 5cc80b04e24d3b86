// Message text to DOM nodes: links, `code`, fenced blocks. Text is only ever put in as text.

const FENCE = '\x60\x60\x60'; // three backticks
const LANGUAGE = /^[\w+#.-]*[^\S\n]*\n/;

// Direction marks and overrides end a link: they could make it read as another address.
const INLINE = /`([^`\n]+)`|\bhttps?:\/\/[^\s<>"`\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069]+/giu;
const TRAILING = '.,;:!?\'*_~…';

const PICTURES = /^(?:\p{RGI_Emoji}\s?){1,3}$/v;

/** What a message's text looks like, as nodes. */
export function markup(text) {
  const nodes = document.createDocumentFragment();
  let done = 0;
  for (;;) {
    const open = text.indexOf(FENCE, done);
    const close = open < 0 ? -1 : text.indexOf(FENCE, open + FENCE.length);
    if (close < 0) break;
    const code = text.slice(open + FENCE.length, close).replace(LANGUAGE, '').replace(/\n$/, '');
    // The line breaks around a block belong to the fence.
    inline(nodes, text.slice(done, open).replace(/\n$/, ''));
    if (code) nodes.append(block(code));
    done = close + FENCE.length;
    if (text[done] === '\n') done++;
  }
  inline(nodes, text.slice(done));
  return nodes;
}

/** Whether a text is nothing but a few emoji. */
export const isPictures = (text) => text.length <= 40 && PICTURES.test(text.trim());

function inline(nodes, text) {
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    const [found, code] = match;
    const node = code === undefined ? link(found) : leaf('code', code);
    if (!node) continue;
    nodes.append(text.slice(done, match.index), node);
    done = match.index + (code === undefined ? node.textContent.length : found.length);
  }
  if (done < text.length) nodes.append(text.slice(done));
}

function block(code) {
  const pre = document.createElement('pre');
  pre.append(leaf('code', code));
  pre.dir = 'ltr';
  pre.tabIndex = 0; // so that the keyboard can scroll long lines
  return pre;
}

function link(found) {
  const text = found.slice(0, linkEnd(found));
  if (!URL.canParse(text)) return null;
  const a = leaf('a', text);
  a.href = text;
  a.target = '_blank';
  a.rel = 'noopener noreferrer nofollow';
  return a;
}

/** Where a link ends: before the punctuation of the sentence around it, and before a `)` that it didn't open. */
function linkEnd(url) {
  let unopened = url.split(')').length - url.split('(').length;
  let end = url.length;
  for (; end > 0; end--) {
    const last = url[end - 1];
    if (last === ')' && unopened > 0) unopened--;
    else if (!TRAILING.includes(last)) break;
  }
  return end;
}

function leaf(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
