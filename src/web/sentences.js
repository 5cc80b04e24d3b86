// What the rooms door refuses (PROTOCOL section 7), in sentences for people.

/** By the field that is wrong. */
export const FIELDS = {
  title: 'A room needs a name of 2 to 70 characters that is not only digits, and not “all” or “events”.',
  description: 'What a room is for has at most 70 characters.',
  password: 'A passphrase has 8 characters or more, and at most 72 bytes.',
  visibility: 'A room that everyone may enter has no passphrase.',
  name: 'A name has 1 to 70 characters.',
  secret: 'That is not the passphrase of this room.',
  color: 'This colour is not known.',
};

const CODES = {
  101: 'There is no such room.',
  102: 'There is a room of this name already. Choose another.',
  103: 'The server could not read that.',
  104: 'You may not change this room.',
  105: 'The server does not take that.',
  201: 'You are not in this room under this name.',
  202: 'Somebody here has this name already. Choose another.',
  303: 'The server could not read that.',
  304: 'You may not do that here.',
  429: 'That was too fast. Wait a moment, and try again.',
  503: 'The server is too busy or can’t reach its store. Try again soon.',
};

/** The sentence for an error of the rooms door, as its `{code, error, field}`. */
export function sentence({ code, error, field }) {
  const ofField = [104, 105, 303, 304].includes(code) && FIELDS[field];
  return ofField || CODES[code] || error || 'The server does not take that.';
}
