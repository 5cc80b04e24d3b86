// Small helpers to build and update the document. None of them parses HTML.

/** An element with properties set and children appended; strings become text. */
export function el(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Sets text only where it differs, so that screen readers and selections are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A name that, where it must be broken, is broken before an `@`. */
export const breakable = (name) => name.split(/(?=@)/).flatMap((part) => [el('wbr'), part]);

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

/** One of eight colours, always the same for a name. */
export function hueOf(name) {
  let sum = 0;
  for (let i = 0; i < name.length; i++) sum = (sum * 31 + name.charCodeAt(i)) >>> 0;
  return sum % 8;
}
