// Messages that follow each other without a gap: the latest ones of a room, or some around one far back. Knows no DOM.

/** Oldest first, as `messageOf` makes them; keys grow. */
export class Stretch {
  messages = [];
  /** The index of `messages[0]` on a scale that stays when older messages are put in front. */
  base = 0;
  /** Grows when messages changed other than by appending, prepending or dropping the oldest. */
  edition = 0;
  /** Whether there may be messages before the first, and after the last. */
  older = true;
  newer = false;

  get first() {
    return this.messages[0];
  }

  get last() {
    return this.messages.at(-1);
  }

  /** Where the message with this key is; -1 if it is not here. */
  indexOf(key) {
    const at = this.after(key) - 1;
    return this.messages[at]?.key === key ? at : -1;
  }

  /** Where the first message after this key is. */
  after(key) {
    let [low, high] = [0, this.messages.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].key <= key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The message with this key, if it is here. */
  find(key) {
    return this.messages[this.indexOf(key)];
  }

  /** Appends a message; `false` if it is not later than all that are here. */
  append(message) {
    if (this.last && message.key <= this.last.key) return false;
    this.messages.push(message);
    return true;
  }

  /** Puts messages where they belong that are not here yet. */
  insert(messages) {
    const fresh = messages.filter(({ key }) => !this.find(key)).sort(byKey);
    if (!fresh.length) return;
    const { first, last } = this;
    if (!first || fresh[0].key > last.key) {
      this.messages.push(...fresh);
      return;
    }
    if (fresh.at(-1).key < first.key) this.base -= fresh.length;
    else this.edition++;
    this.messages = fresh.concat(this.messages);
    if (fresh.at(-1).key >= first.key) this.messages.sort(byKey);
  }

  /** Drops the oldest, so many of them. */
  drop(count) {
    this.messages.splice(0, count);
    this.base += count;
    this.older = true;
  }
}

const byKey = (a, b) => (a.key < b.key ? -1 : 1);
