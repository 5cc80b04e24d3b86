// Links in messages, which must not read as an address that they don't lead to.

const TRAILING = '.,;:!?\'*_~…';

// Letters that nobody takes for those of another script. Cyrillic and Greek have twins of Latin ones.
const HONEST = [
  /^[a-z\d\u00df-\u00f6\u00f8-\u00fd\u00ff-]+$/iu,
  /^[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}ー\d-]+$/u,
  /^[\p{sc=Arab}\d-]+$/u,
  /^[\p{sc=Hebr}\d-]+$/u,
  /^[\p{sc=Thai}\d-]+$/u,
  /^[\p{sc=Deva}\d-]+$/u,
];
// Those two, if the top-level domain is written so, too.
const TWINS = [/^[\p{sc=Cyrl}\d-]+$/u, /^[\p{sc=Grek}\d-]+$/u];

/** A link to an address, with its host behind a text that is something else. Nothing if it is no address. */
export function link(address, label) {
  if (!URL.canParse(address)) return null;
  const url = new URL(address);
  const a = document.createElement('a');
  a.href = address;
  a.target = '_blank';
  a.rel = 'noopener noreferrer nofollow';
  if (label === undefined) {
    a.textContent = readable(address, url);
    return a;
  }
  a.textContent = label;
  a.title = readable(address, url);
  const host = document.createElement('span');
  host.className = 'muted';
  host.textContent = ` (${hostOf(address, url)})`;
  const node = document.createDocumentFragment();
  node.append(a, host);
  return node;
}

/** Where a link ends: before the punctuation of the sentence around it, and before a `)` that it didn't open. */
export function linkEnd(url) {
  let unopened = url.split(')').length - url.split('(').length;
  let end = url.length;
  for (; end > 0; end--) {
    const last = url[end - 1];
    if (last === ')' && unopened > 0) unopened--;
    else if (!TRAILING.includes(last)) break;
  }
  return end;
}

/** An address as it was written, but for a host that could be taken for another. */
function readable(address, url) {
  const host = hostOf(address, url);
  const written = authority(address);
  return written === host ? address : `${url.protocol}//${host}${address.slice(address.indexOf(written) + written.length)}`;
}

/** The host as it was written, if it reads as the one that it is, or else in ASCII (punycode). */
function hostOf(address, { host, hostname }) {
  const written = authority(address);
  if (written.toLowerCase() === host) return written;
  const labels = written.toLowerCase().split('.');
  const honest = (label) => HONEST.some((script) => script.test(label));
  const twins = TWINS.some((script) => script.test(labels.at(-1)) && labels.every((label) => script.test(label) || honest(label)));
  return hostname.includes('xn--') && (labels.every(honest) || twins) ? written : host;
}

const authority = (address) => address.replace(/^https?:\/\//i, '').split(/[/?#\\]/)[0];
