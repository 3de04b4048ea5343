/**
 * The Redis of a run, behind a port that stays: whoever is the primary at the moment answers there. It can come back
 * without its last changes, and a replica that lags can take its place, while the old primary is dead or lives on.
 *
 * All servers keep what they do (`appendonly`, `appendfsync always`), so the history of the run is what the first one did up
 * to the moment when the next one was copied from it, then what that one did, and so on. What a server did and its successor
 * never had is `forgotten`: Redis acknowledged it, and nobody can promise anything about it.
 */
import { mkdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { keep, parseAof, parts, readHistory, shorten, steps, type Transaction } from './aof.ts';

export interface Primary extends AsyncDisposable {
  /** Of whoever is the primary. */
  readonly port: number;
  readonly url: string;
  /** What servers did and their successors never had. */
  readonly forgotten: readonly Transaction[];
  /** The server that is the primary now; its own port and folder are its own. */
  readonly server: RedisServer;
  /** Kills it and starts it without its last changes: `most` of them, and none before the last one that must stay. */
  forget(most: number, mustStay: (step: Transaction) => boolean): Promise<void>;
  /**
   * Makes a replica, cuts it off for `lagMs` and promotes it. `split`: what happens meanwhile, with both taking writes;
   * clients that connect from then on reach the new one.
   */
  failOver(lagMs: number, split?: () => Promise<void>): Promise<void>;
  /** Rewrites a long append-only file; see aof.ts. */
  shorten(): Promise<void>;
  /** All changes that the last primary knows of, in order. Only when it has ended. */
  history(): Promise<Transaction[]>;
}

const ARGS =
  '--appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0 --repl-diskless-sync-delay 0'.split(
    ' ',
  );
/** A replica is in step within this, ms. */
const SYNC_MS = 30_000;
/** Load on both before they are parted, ms. */
const TOGETHER_MS = 100;

/** `kept`: a folder for the history. */
export async function startPrimary(kept: string): Promise<Primary> {
  await using setup = new AsyncDisposableStack();
  let owner = setup;
  const start = async (): Promise<RedisServer> => owner.use(await startRedis({ args: ARGS, ownClock: true }));
  let server = await start();
  const front = owner.use(await startTcpProxy(server.port));
  const forgotten: Transaction[] = [];
  // a folder for each server; of all but the last one it holds all that is to be known
  const folders: string[] = [await folder(kept, 0)];
  const here = (): string => folders.at(-1) as string;

  async function forget(most: number, mustStay: (step: Transaction) => boolean): Promise<void> {
    await server.kill();
    const file = await lastPart(server.dir);
    const known = [...steps(await readFile(file))];
    const stays = known.findLastIndex(({ step }) => mustStay(step));
    // the first of a part follows the choice of a database, which has to stay
    const from = Math.max(stays + 1, known.length - most, 1);
    forgotten.push(...known.slice(from).map(({ step }) => step));
    const end = known[from - 1]?.end;
    if (end !== undefined) await truncate(file, end);
    await server.start();
  }

  async function failOver(lagMs: number, split?: () => Promise<void>): Promise<void> {
    const old = server;
    const next = await start();
    await using link = await startTcpProxy(old.port);
    const { part, size } = await copy(old, next, link.port);
    await delay(TOGETHER_MS);
    link.stall('replies');
    await delay(lagMs);
    await next.client().replicaof('NO', 'ONE');
    const known = await readHistory(next.dir, await folder(kept, folders.length, 'promoted'));
    front.redirect(next.port);
    server = next;
    if (split) await split();
    await old.kill();
    front.cut();
    // the file of a server that was killed may end in the middle of a command, which it never did
    const apart = parseAof((await readFile(part)).subarray(size));
    forgotten.push(...apart.slice(inCommon(apart, known)));
    await truncate(part, size);
    await keep(old.dir, here());
    folders.push(await folder(kept, folders.length));
    await old[Symbol.asyncDispose]();
  }

  owner = setup.move();
  return {
    port: front.port,
    url: `redis://127.0.0.1:${front.port}`,
    forgotten,
    get server() {
      return server;
    },
    forget,
    failOver,
    shorten: () => shorten(server.client(), server.dir, here()),
    history: async () => {
      const whole: Transaction[] = [];
      for (const past of folders)
        whole.push(...(await readHistory(past === here() ? server.dir : past, past)));
      return whole;
    },
    [Symbol.asyncDispose]: () => owner.disposeAsync(),
  };
}

/** Makes `to` a replica of `from` with nothing written meanwhile. Resolves to where in its file `from` was then. */
async function copy(
  from: RedisServer,
  to: RedisServer,
  linkPort: number,
): Promise<{ readonly part: string; readonly size: number }> {
  const [source, replica] = [from.client(), to.client()];
  await source.call('CLIENT', 'PAUSE', SYNC_MS, 'WRITE');
  try {
    await replica.replicaof('127.0.0.1', linkPort);
    await eventually(
      async () => {
        const [replication, persistence] = [
          await replica.info('replication'),
          await replica.info('persistence'),
        ];
        if (!/^master_link_status:up/m.test(replication)) throw new Error('the replica is not in step');
        // what it received is its first file, without which its later changes mean nothing
        if (
          !/^aof_rewrite_in_progress:0/m.test(persistence) ||
          !/^aof_rewrite_scheduled:0/m.test(persistence)
        )
          throw new Error('the replica still writes what it received');
      },
      { withinMs: SYNC_MS, everyMs: 20 },
    );
    const part = await lastPart(from.dir);
    return { part, size: (await stat(part)).size };
  } finally {
    await source.call('CLIENT', 'UNPAUSE');
  }
}

/**
 * How many of the old primary's changes reached the new one. The last ones of the new one may be its own: a primary removes
 * keys that have expired.
 */
export function inCommon(old: readonly Transaction[], promoted: readonly Transaction[]): number {
  let count = Math.min(old.length, promoted.length);
  while (count > 0 && !isDeepStrictEqual(old[count - 1], promoted[count - 1])) count--;
  return count;
}

/** The part that a server appends to. */
async function lastPart(dir: string): Promise<string> {
  const part = (await parts(dir)).at(-1);
  if (part === undefined)
    throw new Error(
      'this Redis keeps its append-only file in one piece: the chaos run needs Redis 7 or Valkey',
    );
  return part;
}

async function folder(kept: string, number: number, name = 'server'): Promise<string> {
  const path = join(kept, `${name}-${number}`);
  await mkdir(path);
  return path;
}
