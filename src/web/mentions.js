// Who may be meant by `@name`: people who are in the room or have said something in it.

const MOST = 50; // `@` of a text that are looked at
const IN_WORD = /^[\p{L}\p{N}_]/u;

/** Everybody who can be named in a room, by address: `[user, name]`. */
export function nameable(room) {
  const users = new Set([...room.people, ...room.names.keys(), room.me]);
  return [...users].map((user) => [user, room.nameOf(user)]);
}

/** For `markup`: how long the name is that an `@` in a text begins, 0 if it is nobody's. */
export function mentionsIn(room) {
  let names = null; // worked out only for texts that have an `@`
  let lengths; // of names, the longest first: there are few, however many people there are
  let looked = 0;
  return (text, at) => {
    if (++looked > MOST || IN_WORD.test(text[at - 1] ?? '')) return 0;
    names ??= allNames(room);
    lengths ??= [...new Set(Array.from(names, ({ length }) => length))].sort((a, b) => b - a);
    const rest = text.slice(at + 1, at + 200).toLowerCase();
    const isName = (length) => length <= rest.length && names.has(rest.slice(0, length)) && !IN_WORD.test(rest.slice(length));
    return (lengths.find(isName) ?? -1) + 1;
  };
}

/** All that people here are called by: names, addresses, and what stands before the `@` of those. */
function allNames(room) {
  const names = nameable(room).flatMap(([user, name]) => [name, user, user.split('@')[0]]);
  return new Set(names.filter(Boolean).map((name) => name.toLowerCase()));
}

/** Whether a text calls somebody here by name, oneself, that is. */
export function mentionsMe(text, room) {
  const mention = mentionsIn(room);
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    const length = mention(text, at);
    if (length && room.isMe(text.slice(at + 1, at + length))) return true;
  }
  return false;
}
