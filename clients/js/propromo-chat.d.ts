/** What went wrong, as a sentence. */
export class ChatError extends Error {
  /** The HTTP answer's status; 0 if there was none. */
  status: number;
  /** The server's word for it, such as `token_expired` or `too_late`. */
  code: string;
  /** Milliseconds after which you may try again. */
  retryAfter: number;
  /** Trying again does not help. */
  final: boolean;
  /** What the server answered, if that was JSON. */
  answer: unknown;
  constructor(
    message: string,
    about?: { status?: number; code?: string; retryAfter?: number; final?: boolean; answer?: unknown },
  );
}

export interface Options {
  /** The account's email address, if known. */
  email?: string;
  /** For Node 20 and 21, which have none: for example that of the package `ws`. */
  WebSocket?: unknown;
}

/** A chat of an account, as `POST /login` lists it. */
export interface ListedChat {
  monitor_hash: string;
  organization_name: string | null;
  type: string | null;
  title: string | null;
  short_description: string | null;
  public: boolean;
  created_at: string | null;
  updated_at: string | null;
  project_url: string | null;
}

/** An account at a server. */
export class Chat {
  chats: ListedChat[];
  email: string;
  /** `ticket(room)` returns a new connection token for each connection; a token opens one WebSocket. */
  constructor(server: string | URL, ticket: (room: string) => string | Promise<string>, options?: Options);
  /** Logs in with a password. */
  static login(server: string | URL, email: string, password: string, options?: Options): Promise<Chat>;
  /** A room by a monitor's hash or a channel's name, not yet open. */
  room(name: string): Room;
}

export interface Message {
  type: 'message';
  id: string;
  room: string;
  user: string;
  /** RFC 3339, UTC. */
  timestamp: string;
  text: string;
  name?: string;
  reply_to?: string;
  edited?: string;
  reactions?: Record<string, string[]>;
  bot?: true;
}

export interface Change {
  id: string;
  change: string;
  room: string;
  user: string;
  timestamp: string;
}

export interface RoomEvents {
  message: [frame: Message];
  edited: [frame: Change & { type: 'edited'; text: string }];
  deleted: [frame: Change & { type: 'deleted' }];
  reacted: [frame: Change & { type: 'reacted'; emoji: string; on: boolean }];
  join: [frame: { type: 'join'; user: string; name?: string }];
  leave: [frame: { type: 'leave'; user: string; name?: string }];
  members: [frame: { type: 'members'; count: number }];
  typing: [frame: { type: 'typing'; user: string; name?: string }];
  presence: [frame: { type: 'presence'; users: string[]; names: Record<string, string>; more?: true }];
  notice: [frame: { type: 'notice'; text: string; timestamp: string }];
  /** The connection's state has changed. */
  state: [state: State, error: Error | null];
  /** The connection is gone, with the close code if there was one; who is here is now unknown. */
  lost: [code?: number];
  /** The room can't continue from what it heard; the latest messages follow. */
  reset: [];
  /** All missed messages have arrived. */
  ready: [];
  /** The server refused something that no call waits for, or that is sent again; `ref` if it had one. */
  problem: [error: ChatError, ref?: string];
}

export type State = 'idle' | 'connecting' | 'open' | 'waiting' | 'stopped' | 'over';

export interface Stored {
  id: string;
  timestamp: string;
}

export interface Results {
  query: string;
  messages: Message[];
  more: boolean;
  next?: string;
}

/** A room that reconnects by itself. It emits each message once, in the room's order. */
export class Room {
  readonly connection: Connection;
  readonly state: State;
  /** The number of messages not yet confirmed. */
  readonly unconfirmed: number;
  /** Calls `listener` each time; the returned function removes it. */
  on<Name extends keyof RoomEvents>(name: Name, listener: (...values: RoomEvents[Name]) => void): () => void;
  open(): void;
  /** Ends the connection. Calls that are not yet confirmed fail. */
  close(): void;
  /** Sends a message; resolves once it is stored. Without a connection it waits for the next one. */
  send(text: string, about?: { ref?: string; replyTo?: string }): Promise<Stored>;
  edit(id: string, text: string): Promise<Stored>;
  delete(id: string): Promise<Stored>;
  react(id: string, emoji: string, on?: boolean): Promise<Stored>;
  history(page?: { before?: string; after?: string; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /**
   * Messages that have all words of `query`, newest first. Where there may be `more`, continue the same search with `next` as
   * `before`; a page may be empty even if a later one is not.
   */
  search(query: string, page?: { before?: string; limit?: number }): Promise<Results>;
  /** Returns `false` without a connection. */
  typing(): boolean;
}

export interface Hooks {
  dial(): Promise<{ url: string | URL; protocols?: string[] }>;
  opened(): void;
  received(frame: Record<string, unknown>): void;
  closed(how: { code?: number; reason?: string; over?: ChatError | null }): void;
  changed(): void;
  /** A frame that the server answers. */
  probe?: object;
  WebSocket?: unknown;
}

/** A WebSocket that reconnects by itself. */
export class Connection {
  readonly state: State;
  readonly error: Error | null;
  readonly queued: number;
  constructor(hooks: Hooks);
  open(): void;
  close(): void;
  /** Tries again at once instead of waiting. */
  retryNow(): void;
  /** Drops this connection and makes another. */
  renew(later?: boolean): void;
  /** Sends soon, in order; returns `false` without a connection. */
  send(frame: object): boolean;
}

export const GONE: string;
export function request(
  method: string,
  url: string | URL,
  about?: { bearer?: string; body?: unknown; headers?: (them: Headers) => void },
): Promise<any>;
export function emailOf(jwt: string): string;
export function socketUrl(server: string | URL, path: string): URL;
export function randomRef(): string;
