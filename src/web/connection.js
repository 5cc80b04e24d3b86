// A WebSocket that comes back by itself: random growing delays, a paced queue, no silent death.

const FIRST_DELAY = 500; // ms, the most that the first new attempt waits
const LONGEST_DELAY = 30_000;
const SETTLED = 5_000; // open for so long, the delays start over
const OPENING = 15_000;
const QUIET = 25_000; // silence after which the server is asked for a sign of life
const ANSWER = 10_000;

// Below what the server allows (20 a second, bursts of 100; PROTOCOL section 9), so that what has waited
// for a connection, or fast scrolling through history, never gets this client dropped.
const RATE = 15; // frames a second
const BURST = 60;

// Reasons of a 1008 that another attempt, with another token, may cure.
const PASSING = /^(rate_limited|auth_deadline|token_\w+|)$/;
export const GONE = 'This room has been deleted.';
const FAREWELLS = {
  room_deleted: GONE,
  room_denied: 'You have no access to this room any more.',
};

/**
 * One lasting connection to a room.
 *
 * `state` is `idle`, `connecting`, `open`, `waiting` (will try again), `stopped` (tries again when told to) or
 * `over` (the server has shut this room to us for good); `error` says why.
 */
export class Connection {
  state = 'idle';
  error = null;

  #hooks;
  #socket = null;
  #attempts = 0;
  #turn = 0; // tells what belongs to the present attempt from late news of earlier ones
  #timer;
  #pulse;
  #heard = 0;
  #asked = 0;
  #queue = [];
  #allowance = BURST;
  #refilled = 0;
  #pacing;
  #listeners = null;

  /**
   * `dial()` gives `{url, protocols}`, or throws: an error with `final` set ends the attempts.
   * `opened()`, `received(frame)`, `closed({code, reason})`, `changed()` are called as it happens;
   * `probe` is a frame that the server answers.
   */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  open() {
    if (this.#listeners) return;
    this.#listeners = new AbortController();
    const { signal } = this.#listeners;
    const hurry = () => this.state === 'waiting' && !document.hidden && this.retryNow();
    addEventListener('online', hurry, { signal });
    document.addEventListener('visibilitychange', hurry, { signal });
    // Perhaps it is only another network: a new connection tells, long before the old one is missed.
    addEventListener('offline', () => this.state === 'open' && this.renew(), { signal });
    this.#attempts = 0;
    this.#attempt();
  }

  close() {
    this.#listeners?.abort();
    this.#listeners = null;
    this.#drop();
    this.#become('idle');
  }

  /** Tries at once instead of waiting; does nothing while open or on the way. */
  retryNow() {
    if (this.state === 'waiting' || this.state === 'stopped') this.#attempt();
  }

  /** Gives this connection up and makes another: at once, or after the usual delay. */
  renew(later = false) {
    if (!this.#listeners || this.state === 'over') return;
    this.#drop();
    this.#hooks.closed({});
    if (later) this.#wait(null);
    else this.#attempt();
  }

  /** Sends soon, in order; `false` if there is no connection to send on. */
  send(frame) {
    if (this.state !== 'open') return false;
    this.#queue.push(JSON.stringify(frame));
    this.#drain();
    return true;
  }

  /** How many frames wait for their turn. */
  get queued() {
    return this.#queue.length;
  }

  async #attempt() {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.#become('connecting', this.error);
    let where;
    try {
      where = await this.#hooks.dial();
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error.final) this.#become(error.status === 404 ? 'over' : 'stopped', error);
      else this.#wait(error);
      return;
    }
    if (turn !== this.#turn) return;
    const socket = new WebSocket(where.url, where.protocols);
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.close(), OPENING);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => (this.#attempts = 0), SETTLED);
      this.#heard = performance.now();
      this.#pulse = setInterval(() => this.#watch(), 5_000);
      this.#become('open');
      this.#hooks.opened();
    };
    socket.onmessage = ({ data }) => {
      this.#heard = performance.now();
      this.#asked = 0;
      const frame = parse(data);
      if (frame) this.#hooks.received(frame);
    };
    socket.onclose = ({ code, reason }) => {
      if (turn !== this.#turn) return;
      this.#drop();
      const over = farewell(code, reason);
      this.#become(over ? 'over' : 'waiting', over);
      const left = this.#turn;
      this.#hooks.closed({ code, reason });
      // The hook may have closed this connection for good, or started another.
      if (over || left !== this.#turn) return;
      this.#wait(opened ? null : new Error("The server didn't open this room."));
    };
  }

  #wait(error) {
    const most = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts++);
    this.#become('waiting', error);
    const delay = (error?.retryAfter ?? 0) + Math.random() * most;
    this.#timer = setTimeout(() => this.#attempt(), delay);
  }

  #drop() {
    this.#turn++;
    clearTimeout(this.#timer);
    clearTimeout(this.#pacing);
    clearInterval(this.#pulse);
    this.#pacing = undefined;
    this.#queue = [];
    this.#asked = 0;
    if (this.#socket) {
      this.#socket.onmessage = null;
      this.#socket.close();
      this.#socket = null;
    }
  }

  // Pings of the WebSocket layer are invisible to a page, so a network that vanished without a word is
  // found by asking.
  #watch() {
    const now = performance.now();
    if (this.#asked && now - this.#asked > ANSWER) {
      this.renew(true);
    } else if (this.#hooks.probe && !this.#asked && now - this.#heard > QUIET) {
      this.#asked = now;
      this.send(this.#hooks.probe);
    }
  }

  #drain() {
    if (this.#pacing) return;
    const now = performance.now();
    this.#allowance = Math.min(BURST, this.#allowance + ((now - this.#refilled) / 1000) * RATE);
    this.#refilled = now;
    while (this.#queue.length && this.#allowance >= 1) {
      this.#allowance--;
      this.#socket.send(this.#queue.shift());
    }
    if (!this.#queue.length) return;
    this.#pacing = setTimeout(() => {
      this.#pacing = undefined;
      this.#drain();
    }, 1000 / RATE);
  }

  #become(state, error = null) {
    this.state = state;
    this.error = error;
    this.#hooks.changed();
  }
}

/** Why a close is for good (PROTOCOL section 9), as an error; nothing if another attempt may help. */
function farewell(code, reason) {
  if (code === 1008 ? PASSING.test(reason) : reason !== 'room_deleted') return null;
  return new Error(FAREWELLS[reason] ?? 'The server has shut this room to you.');
}

function parse(data) {
  try {
    const frame = JSON.parse(data);
    return frame && typeof frame === 'object' ? frame : null;
  } catch {
    return null; // no frame of ours, such as the answer to `echo`
  }
}
