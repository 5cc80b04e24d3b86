// The server under test: started, killed and started again on the same port.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export class Server {
  url = '';

  #binary;
  #settings;
  #directory;
  #process;

  /** Starts `binary` with the demo accounts, a data directory of its own and a free port. */
  static async start(binary, settings = {}) {
    const server = new Server();
    server.#binary = binary;
    server.#settings = settings;
    server.#directory = await mkdtemp(join(tmpdir(), 'propromo-chat-page-'));
    await server.#run('127.0.0.1:0');
    return server;
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
    const { status, stderr } = spawnSync(this.#binary, words, {
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
