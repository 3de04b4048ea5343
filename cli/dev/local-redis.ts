/**
 * A Redis for trying things out, gone with the program that started it: on a loopback port, without a password and
 * without persistence. A server from PATH if there is one; else one that the system's package manager brings, where somebody
 * said that it may; else a container; else an error that says what to install (cli/dev/redis-program.ts).
 *
 * Disposing stops it and removes its folder. A watcher kills it when this process dies without a word.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeRedis, openRedis, within } from '../../queue/connection/connection.ts';
import { timeout } from '../../runtime/timers.ts';
import { openWatcher } from '../../runtime/child-watchdog.ts';
import { findRedis, type Install, type RedisProgram } from './redis-program.ts';

export interface LocalRedis extends AsyncDisposable {
  readonly url: string;
  /** Human-readable: `redis-server` or `redis:7 in Docker`. */
  readonly what: string;
}

export interface LocalRedisOptions {
  /** For PATH, where programs are searched. */
  readonly env: NodeJS.ProcessEnv;
  /** Whether the package manager may install a missing server. */
  readonly install: Install;
  /** Used if it is free; otherwise, and by default, any free port. */
  readonly preferredPort?: number;
  /** Called with a human-readable line about each step that takes a while. */
  readonly onProgress: (text: string) => void;
  /** The server ended by itself. */
  readonly onEnd?: (why: string) => void;
}

const START_MS = 10_000;
/** A container's image may have to be pulled first. */
const CONTAINER_START_MS = 120_000;
const STOP_MS = 3_000;

/** Starts a server and resolves when it responds. Rejects with one line if there is none, or if it does not start. */
export async function startLocalRedis(options: LocalRedisOptions): Promise<LocalRedis> {
  const program = await findRedis(options.env, options.install, options.onProgress);
  const folder = await mkdtemp(join(tmpdir(), 'millrace-dev-'));
  try {
    for (let attempt = 1; ; attempt++) {
      const port = await choosePort(attempt === 1 ? options.preferredPort : undefined);
      try {
        return await start(program, port, folder, options.onEnd);
      } catch (error) {
        // another process may take the port between our check and the server's bind
        if (attempt === 3 || !saysPortTaken(error)) throw error;
      }
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The messages of the server and of Docker for a port in use; neither has an error code for it. From Redis 7.0.15. */
function saysPortTaken(error: unknown): boolean {
  return /address already in use|port is already allocated/i.test(String(error));
}

async function start(
  program: RedisProgram,
  port: number,
  folder: string,
  onEnd: LocalRedisOptions['onEnd'],
): Promise<LocalRedis> {
  const watcher = openWatcher();
  const { file, args } = program.command(port, folder);
  const server = spawn(file, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  if (server.pid !== undefined) watcher.add(server.pid);
  let stopping = false;
  let said = '';
  const listen = (chunk: Buffer): void => void (said = (said + chunk.toString()).slice(-2_000));
  server.stdout.on('data', listen);
  server.stderr.on('data', listen);
  // its stdin only signals to a container that we are gone
  server.stdin.on('error', () => undefined);
  const ended = new Promise<string>((resolve) => {
    server.once('error', (error) => resolve(error.message));
    server.once('close', (code, signal) =>
      resolve(`${code === null ? signal : `exit code ${code}`}${lastLine(said)}`),
    );
  });
  void ended.then((why) => {
    if (server.pid !== undefined) watcher.remove(server.pid);
    if (!stopping) onEnd?.(`${program.what} ended (${why})`);
  });

  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    server.stdin.end();
    server.kill('SIGTERM');
    const late = timeout(STOP_MS, () => server.kill('SIGKILL'));
    await ended;
    late.clear();
    await watcher[Symbol.asyncDispose]();
  };

  const url = `redis://127.0.0.1:${port}`;
  const probe = openRedis({ url }, { retryStrategy: () => 20 });
  try {
    const startMs = program.container ? CONTAINER_START_MS : START_MS;
    const failed = ended.then((why) => {
      throw new Error(`${program.what} does not start (${why})`);
    });
    await within(startMs, Promise.race([probe.ping(), failed]), `the start of ${program.what}`);
  } catch (error) {
    await stop();
    throw error;
  } finally {
    await closeRedis(probe);
  }
  return {
    url,
    what: program.what,
    [Symbol.asyncDispose]: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? '';
  return line === '' ? '' : `: ${line.slice(0, 300)}`;
}

/** The preferred port if it is free, else one that was free a moment ago. */
async function choosePort(preferred: number | undefined): Promise<number> {
  if (preferred !== undefined) {
    const free = await listenOnce(preferred).catch(() => undefined);
    if (free !== undefined) return free;
  }
  return listenOnce(0);
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : port));
    });
  });
}
