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

/** A name's first letter on one of eight colours, always the same one. */
export function avatar(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
  const node = el('span', { className: 'avatar' }, [...name][0]?.toUpperCase() ?? '?');
  node.style.setProperty('--hue', (sum % 8) * 45);
  node.ariaHidden = 'true';
  return node;
}
