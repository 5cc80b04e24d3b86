// Small helpers to build and update the document. None of them parses HTML.

/** An element with properties set and children appended; strings become text. */
export function el(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

/** The page's elements that have an id, by that. */
export const ui = Object.fromEntries([...document.querySelectorAll('[id]')].map((node) => [node.id, node]));

/** Sets text only where it differs, so that screen readers and selections are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes the children of `list` match `items`, keeping (and thereby the focus in) what stays. */
export function sync(list, items, keyOf, make, update) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let next = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = old.get(key);
    old.delete(key);
    if (!node) {
      node = make(item);
      node.dataset.key = key;
    }
    if (node === next) next = next.nextElementSibling;
    else list.insertBefore(node, next);
    update(node, item);
  }
  for (const node of old.values()) node.remove();
}

/** The initials of a name, of an address its first letter, on one of eight colours: `id` decides which. */
export function avatar(name, id) {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
  const words = name.includes('@') ? [name] : name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const initials = [words[0] ?? name, words.length > 1 ? words.at(-1) : ''].map((word) => [...word][0] ?? '');
  const node = el('span', { className: 'avatar' }, initials.join('').toUpperCase() || '?');
  node.style.setProperty('--hue', (sum % 8) * 45);
  node.ariaHidden = 'true';
  return node;
}

// Strokes on a grid of 24.
const ICONS = {
  react: 'M21 12a9 9 0 1 1-9-9m-3.5 7v.5m6-.5v.5M8.5 14.5a4.5 4.5 0 0 0 7 0M19 2v6m-3-3h6',
  answer: 'M9 7 4 12l5 5M4 12h10a6 6 0 0 1 6 6v1',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  link: 'M10 14a4 4 0 0 0 6 0l3-3a4.2 4.2 0 0 0-6-6l-1 1m2 4a4 4 0 0 0-6 0l-3 3a4.2 4.2 0 0 0 6 6l1-1',
  edit: 'M4 20h4L19 9l-4-4L4 16zm9-13 4 4',
  delete: 'M4 7h16M9 7V4h6v3m-8 0 1 13h8l1-13m-7 4v5m4-5v5',
  search: 'M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13m5 11.5 5 5',
  lock: 'M6 11h12v9H6zm2 0V8a4 4 0 0 1 8 0v3',
};

/** A small picture, for the eyes only. */
export function icon(name) {
  const [svg, path] = ['svg', 'path'].map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag));
  svg.setAttribute('class', 'icon');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** Puts a text on the clipboard, or says that it can't: plain HTTP pages have none, except those of this machine. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text);
  }
}

function copyByCommand(text) {
  const listen = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    event.clipboardData.setData('text/plain', text);
  };
  document.addEventListener('copy', listen, { capture: true });
  try {
    return document.execCommand('copy');
  } finally {
    document.removeEventListener('copy', listen, { capture: true });
  }
}
