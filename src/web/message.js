// What is known of one message, and how a change of it is taken in (PROTOCOL section 5). Knows no DOM.

/** The message that a frame of the channel protocol describes; `me` is the account that reads it. */
export function messageOf(frame, me) {
  const { id, user, name, text, timestamp, reply_to: answers, edited, reactions, bot } = frame;
  return {
    key: id,
    from: String(user),
    name: typeof name === 'string' ? name : '',
    text: String(text),
    time: Date.parse(timestamp),
    own: user === me,
    bot: bot === true,
    answers: typeof answers === 'string' ? answers : '',
    edited: edited ? Date.parse(edited) : 0,
    reactions: new Map(Object.entries(reactions ?? {}).map(([emoji, users]) => [emoji, new Set(users)])),
    deleted: false,
    version: 0,
  };
}

/** Brings a message up to date with a frame `edited`, `deleted` or `reacted`. Twice does no harm. */
export function amend(message, frame) {
  message.version++;
  if (frame.type === 'deleted') {
    Object.assign(message, { deleted: true, text: '', reactions: new Map() });
  } else if (frame.type === 'edited') {
    Object.assign(message, { text: String(frame.text), edited: Date.parse(frame.timestamp) });
  } else if (!message.deleted) {
    const users = message.reactions.get(frame.emoji) ?? new Set();
    if (frame.on) message.reactions.set(frame.emoji, users.add(frame.user));
    else if (users.delete(frame.user) && !users.size) message.reactions.delete(frame.emoji);
  }
}

/** Takes over from the same message, come again, what was not known of it at first. */
export function complete(message, again) {
  if (message.name || !again.name) return false;
  message.name = again.name;
  message.version++;
  return true;
}

/** The first words of a text, on one line. */
export function snippet(text, length = 120) {
  const line = text.slice(0, 4 * length).replace(/\s+/g, ' ').trim();
  return line.length > length ? `${line.slice(0, length).trimEnd()}…` : line;
}
