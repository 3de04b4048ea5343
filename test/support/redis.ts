/**
 * A real Redis (or Valkey) server for tests: a child process on a free loopback port with a temporary folder of its own,
 * ready within some 50 ms. It keeps nothing on disk unless its `args` say so (`--appendonly yes` outlives `restart`).
 *
 * Disposing closes the clients that the test took with `client()`, then looks at who is still connected: a client that
 * the code under test forgot fails the test, by name. Then the server is killed and its folder removed; a guard process
 * does the same when the test process dies before it could.
 */
import type { ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Redis, RedisOptions } from 'ioredis';
import {
  closeRedis,
  dropRedis,
  openRedis,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { makeCertificates, readCertificates, type Certificates } from './certificates.ts';
import { failure, kill, pidOf, run, startGuard } from './children.ts';
import { createSteppedClock, type SteppedClock } from './clock.ts';
import { eventually, WITHIN_MS } from './eventually.ts';
import { freePort } from './ports.ts';

const START_MS = 60_000;
const ANSWER_MS = 30_000;
/** Far below what a test steps a clock by, and far above what a busy machine takes to answer. */
const SAME_CLOCK_MS = 600_000;

export interface RedisServerOptions {
  /** The server to run, where it is not the first one in PATH. */
  readonly program?: string;
  /** More arguments of redis-server, such as `['--maxmemory', '2mb']`. */
  readonly args?: readonly string[];
  /** The default user's password. */
  readonly password?: string;
  /** Listen with TLS only; `mutual` also asks clients for a certificate. */
  readonly tls?: 'server' | 'mutual';
  /** A folder with its certificates; without one it gets its own, for 127.0.0.1. */
  readonly tlsFrom?: string;
  /** Give it a wall clock that `setClock` can step. */
  readonly ownClock?: boolean;
  /** How long connections may take to close before they count as forgotten, ms. */
  readonly leakMs?: number;
}

export interface RedisServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** `redis://127.0.0.1:<port>`, `rediss://` with TLS; without the password. */
  readonly url: string;
  /** All that a client needs, password and certificates included. */
  readonly address: RedisAddress;
  /** The folder in which it keeps its files. */
  readonly dir: string;
  /** A client with Millrace's scripts, closed when the server is disposed of. */
  client(options?: RedisOptions): Redis;
  /** Kills the server, as a crash would. Resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM: it writes what it keeps on disk and leaves. Resolves when it is gone. */
  terminate(): Promise<void>;
  /** Starts it again on the same port, with the data in its folder. */
  start(): Promise<void>;
  /** `kill`, then `start`. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  stop(): void;
  /** SIGCONT, after `stop`. */
  cont(): void;
  /** Sets its wall clock to the host's plus `offsetMs`. Resolves when it shows that. Throws for a server without `ownClock`. */
  setClock(offsetMs: number): Promise<void>;
}

/**
 * Starts a server and resolves when it answers.
 * Throws an Error with the end of its log if it does not start, and with what to install if there is none.
 */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const program = options.program ?? findServer();
  const dir = await mkdtemp(join(tmpdir(), 'millrace-redis-'));
  try {
    const certificates = options.tls ? await certificatesFor(dir, options.tlsFrom) : undefined;
    const clock = options.ownClock ? await createSteppedClock(dir) : undefined;
    for (let attempt = 1; ; attempt++) {
      const server = createHandle({ program, dir, port: await freePort(), certificates, clock, options });
      try {
        await server.start();
        return server;
      } catch (error) {
        await server.kill();
        // another process may take the free port between our check and the server's bind
        if (attempt === 3 || !/Address already in use/i.test(String(error))) throw error;
      }
    }
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

async function certificatesFor(dir: string, from: string | undefined): Promise<Certificates> {
  if (from === undefined) return await makeCertificates(dir);
  await cp(from, dir, { recursive: true });
  return await readCertificates(dir);
}

interface Setup {
  readonly program: string;
  readonly dir: string;
  readonly port: number;
  readonly certificates: Certificates | undefined;
  readonly clock: SteppedClock | undefined;
  readonly options: RedisServerOptions;
}

function createHandle({ program, dir, port, certificates, clock, options }: Setup): RedisServer {
  const host = '127.0.0.1';
  const url = `${options.tls ? 'rediss' : 'redis'}://${host}:${port}`;
  const { ca, cert, key } = certificates ?? {};
  // the address is not in certificates of somebody else
  const named = options.tlsFrom === undefined ? {} : { serverName: 'localhost' };
  const address: RedisAddress = {
    url,
    password: options.password,
    tls: ca === undefined ? undefined : options.tls === 'mutual' ? { ca, cert, key } : { ca, ...named },
  };
  const args = [
    ...baseArgs(host, dir),
    ...(options.tls ? tlsArgs(port, options.tls) : ['--port', String(port)]),
    ...(options.password === undefined ? [] : ['--requirepass', options.password]),
    ...(options.args ?? []),
  ];
  const clients: Redis[] = [];
  let children: { server: ChildProcess; guard: ChildProcess } | undefined;

  const killServer = async (signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> => {
    if (!children) return;
    const { server, guard } = children;
    children = undefined;
    await kill(server, signal);
    await kill(guard);
  };

  const start = async (): Promise<void> => {
    const server = run(program, dir, args, clock?.env);
    children = { server, guard: startGuard([server], dir) };
    const probe = openRedis(address, { retryStrategy: () => 10 });
    try {
      await Promise.race([within(START_MS, probe.ping(), 'PING'), failure(server, dir)]);
    } finally {
      dropRedis(probe);
    }
  };

  return {
    host,
    port,
    url,
    address,
    dir,
    start,
    kill: () => killServer(),
    terminate: () => killServer('SIGTERM'),
    client(overrides = {}) {
      const client = defineScripts(openRedis(address, overrides));
      clients.push(client);
      return client;
    },
    restart: async () => {
      await killServer();
      await start();
    },
    stop: () => void (children && process.kill(pidOf(children.server), 'SIGSTOP')),
    cont: () => void (children && process.kill(pidOf(children.server), 'SIGCONT')),
    setClock: async (offsetMs) => {
      if (!clock) throw new Error('this server has the clock of its host: start it with ownClock');
      clock.set(offsetMs);
      // a server reads its clock once for everything that it finds to do at a time
      const asking = openRedis(address);
      try {
        await eventually(async () => expectClock(await asking.time(), offsetMs), { everyMs: 1 });
      } finally {
        dropRedis(asking);
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map(closeRedis));
      try {
        if (children) await expectNoClients(address, options.leakMs);
      } finally {
        await killServer();
        await rm(dir, {
          recursive: true,
          force: true,
          maxRetries: 3,
        });
      }
    },
  };
}

/** Throws if another client is still connected after `withinMs`. */
async function expectNoClients(address: RedisAddress, withinMs = WITHIN_MS): Promise<void> {
  const admin = openRedis(address);
  try {
    const others = async (): Promise<string[]> => {
      const id = await admin.client('ID');
      const list = String(await admin.client('LIST'))
        .trim()
        .split('\n');
      // primary and replica stay connected as long as they live, and nodes of a cluster for a while after a migration
      const isOther = (line: string): boolean =>
        !line.startsWith(`id=${id} `) && !/ flags=[MS] | cmd=restore-asking /.test(line);
      return list.filter(isOther);
    };
    await eventually(
      async () => {
        const left = await within(ANSWER_MS, others(), 'CLIENT LIST');
        if (left.length > 0) throw new Error(`connections to Redis were not closed:\n${left.join('\n')}`);
      },
      { withinMs },
    );
  } finally {
    await closeRedis(admin);
  }
}

/** How often a command was called since the server started. */
export async function calls(redis: Redis, command: string): Promise<number> {
  const stats = await redis.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

/** The first server program in PATH. */
export function findServer(): string {
  const chosen = process.env['MILLRACE_TEST_REDIS'];
  if (chosen) return chosen;
  for (const name of ['redis-server', 'valkey-server'])
    for (const folder of (process.env['PATH'] ?? '').split(delimiter))
      if (isProgram(join(folder, name))) return join(folder, name);
  throw new Error(
    'neither redis-server nor valkey-server is in PATH: install one, as with "apt-get install redis-server"',
  );
}

/** Throws unless this reply to TIME is nearer to the host's time plus `offsetMs` than to any other step of a test. */
function expectClock([seconds]: readonly (number | string)[], offsetMs: number): void {
  const off = Number(seconds) * 1_000 - Date.now() - offsetMs;
  if (Math.abs(off) > SAME_CLOCK_MS) throw new Error(`the server's clock is off by ${off} ms`);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const baseArgs = (host: string, dir: string): string[] => [
  '--bind',
  host,
  '--save',
  '',
  '--appendonly',
  'no',
  '--daemonize',
  'no',
  '--dir',
  dir,
];

const tlsArgs = (port: number, mode: 'server' | 'mutual'): string[] => [
  '--port',
  '0',
  '--tls-port',
  String(port),
  '--tls-ca-cert-file',
  'ca.crt',
  '--tls-cert-file',
  'redis.crt',
  '--tls-key-file',
  'redis.key',
  '--tls-auth-clients',
  mode === 'mutual' ? 'yes' : 'no',
];
