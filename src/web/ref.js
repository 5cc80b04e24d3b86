// What the server's `ref` is made of.

/** Text that nobody else has. Not `randomUUID`, which plain HTTP pages don't have. */
export function randomRef() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
