// The words of a search, as the server takes them (PROTOCOL section 5), and where a text has them.

import { el } from './dom.js';

const BEFORE = 60; // characters shown before the first word that was looked for
const LENGTH = 180; // characters shown of a text

// Scripts that put nothing between words are taken letter by letter.
const WORD = /[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]|[[\p{Alphabetic}\p{N}]--[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]]+/gv;
const OPEN = 3; // letters from which on the last word may go on

/** The words of a query: what each is, and whether it may go on. */
export function wordsOf(query) {
  const words = [...query.matchAll(WORD)];
  return words.map(({ 0: word, index }) => ({
    word: word.toLowerCase(),
    isOpen: index + word.length === query.length && [...word].length >= OPEN,
  }));
}

/** The part of a text in which the words stand, with each of them marked; on one line. */
export function excerpt(text, wanted) {
  const line = text.replace(/\s+/g, ' ').trim();
  const isWanted = (found) => {
    const said = found.toLowerCase();
    return wanted.some(({ word, isOpen }) => (isOpen ? said.startsWith(word) : said === word));
  };
  const hits = [...line.matchAll(WORD)].filter(([word]) => isWanted(word));
  const start = begin(line, hits[0]?.index ?? 0);
  const end = Math.min(line.length, start + LENGTH);
  const nodes = start ? ['…'] : [];
  let at = start;
  for (const { 0: word, index } of hits) {
    if (index + word.length > end) break;
    nodes.push(line.slice(at, index), el('mark', {}, word));
    at = index + word.length;
  }
  return [...nodes, line.slice(at, end), end < line.length ? '…' : ''];
}

/** Where an excerpt begins: at a space that is not far before the first hit, if there is one. */
function begin(line, hit) {
  if (hit <= BEFORE) return 0;
  const space = line.indexOf(' ', hit - BEFORE);
  return space >= 0 && space < hit ? space + 1 : hit;
}
