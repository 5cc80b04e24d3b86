// The server under test: started, killed and started again on the same port.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const CLOCK = 'clock'; // the file by which a server's clock is set

export class Server {
  url = '';

  #binary;
  #settings;
  #directory;
  #process;

  /** Starts `binary` with the demo accounts, a data directory of its own and a free port; perhaps with a clock of its own. */
  static async start(binary, settings = {}, { ownClock = false } = {}) {
    const server = new Server();
    server.#binary = binary;
    server.#settings = settings;
    server.#directory = await mkdtemp(join(tmpdir(), 'propromo-chat-page-'));
    if (ownClock) {
      await server.setClock(0);
      server.#settings = { ...settings, ...clockOf(join(server.#directory, CLOCK)) };
    }
    await server.#run('127.0.0.1:0');
    return server;
  }

  /** Sets its own clock, seconds from now. */
  async setClock(seconds) {
    const clock = join(this.#directory, CLOCK);
    // A reader never sees half of it.
    await writeFile(`${clock}.new`, `+${seconds}\n`);
    await rename(`${clock}.new`, clock);
  }

  /** Ends it as a crash would. */
  async kill() {
    const gone = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await gone;
  }

  /** Starts it again where it was. */
  restart() {
    return this.#run(new URL(this.url).host);
  }

  /** What an operator does beside it. */
  command(...words) {
    this.commandWith('', ...words);
  }

  /** The same, for a command that reads its standard input. */
  commandWith(input, ...words) {
    const { status, stderr } = spawnSync(this.#binary, words, {
      input,
      cwd: this.#directory,
      env: { PATH: process.env.PATH, DATA_DIR: this.#directory },
      encoding: 'utf8',
    });
    if (status) throw new Error(`${words.join(' ')}: ${stderr}`);
  }

  async stop() {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #run(listen) {
    this.#process = spawn(this.#binary, ['serve', '--demo'], {
      cwd: this.#directory,
      env: { PATH: process.env.PATH, LISTEN: listen, DATA_DIR: this.#directory, ...this.#settings },
      stdio: ['ignore', 'pipe', process.env.SERVER_LOG ? 'inherit' : 'ignore'],
    });
    const exited = once(this.#process, 'exit').then(([code]) => {
      throw new Error(`${this.#binary} ended with ${code} before it listened; set SERVER_LOG=1 to see its log`);
    });
    this.url = await Promise.race([this.#address(), exited]);
    exited.catch(() => {}); // from now on its end is expected
  }

  async #address() {
    for await (const line of createInterface({ input: this.#process.stdout })) {
      const [, url] = line.match(/^listening on (http:\/\/\S+)$/) ?? [];
      if (url) return url;
    }
    return new Promise(() => {}); // the exit is reported instead
  }
}

/** What lets the clock of a process be set, by the seconds in a file. */
function clockOf(file) {
  const libraries = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`);
  const library = libraries.find((path) => existsSync(path));
  if (!library) throw new Error('libfaketime is missing; `scripts/install faketime` installs it');
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    // A clock that is set does not move the monotonic one.
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}
