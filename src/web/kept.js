// What the browser keeps for the page over a reload: choices and drafts, never a token or a password.

const PREFIX = 'propromo-chat.';

/** What was kept under a name, or nothing. */
export function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null; // not allowed, or not ours
  }
}

/** Keeps a value under a name, `null` nothing. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Not allowed, or full: then it lasts as long as the page.
  }
}
