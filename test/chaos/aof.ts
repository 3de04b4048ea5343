/**
 * Redis's append-only file as a list of transactions: every change that the server made, in order, what one script did
 * together. A run that keeps all of it has a history that neither workers nor scripts can embellish.
 *
 * A server that is restarted reads its file first, and a long one takes long. So it is rewritten now and then; Redis 7
 * and Valkey then begin a new part, and a second name for each part keeps it when the server removes its own.
 */
import { link, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Redis } from 'ioredis';
import { eventually } from '../support/eventually.ts';

export type Command = readonly Buffer[];
/** What was changed in one step: by one command, or by one script. */
export type Transaction = readonly Command[];

const REWRITE_BYTES = 16 << 20;
const REWRITE_MS = 60_000;

/** Rewrites the file of the server in `dir` when it has become long, after all parts were kept in `kept`. */
export async function shorten(redis: Redis, dir: string, kept: string): Promise<void> {
  await keep(dir, kept);
  const field = async (name: string): Promise<number> =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(await redis.info('persistence'))?.[1]);
  const grown = (await field('aof_current_size')) - (await field('aof_base_size'));
  if (grown < REWRITE_BYTES || (await parts(dir)).length === 0) return;
  await redis.bgrewriteaof();
  await eventually(
    async () => {
      if ((await field('aof_rewrite_scheduled')) + (await field('aof_rewrite_in_progress')) > 0)
        throw new Error('Redis still rewrites its append-only file');
    },
    { withinMs: REWRITE_MS, everyMs: 50 },
  );
  await keep(dir, kept);
}

/** Gives the parts that there are a second name in `kept`. */
export async function keep(dir: string, kept: string): Promise<void> {
  for (const file of await parts(dir))
    await link(file, join(kept, basename(file))).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
}

/** The whole history of a server that has ended: what was kept, and what is in its folder. */
export async function readHistory(dir: string, kept: string): Promise<Transaction[]> {
  await keep(dir, kept);
  const files = await parts(kept);
  const history: Transaction[] = [];
  for (const file of files.length > 0 ? files : [join(dir, 'appendonly.aof')])
    history.push(...parseAof(await readFile(file)));
  return history;
}

/** The parts in a folder or in the one where the server keeps them, oldest first; none where it keeps a single file. */
export async function parts(dir: string): Promise<string[]> {
  const own = join(dir, 'appendonlydir');
  const inside = await readdir(own).catch(() => undefined);
  const [folder, names] = inside ? [own, inside] : [dir, await readdir(dir)];
  const number = (name: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1] ?? 0);
  return names
    .filter((name) => number(name) > 0)
    .toSorted((a, b) => number(a) - number(b))
    .map((name) => join(folder, name));
}

/** Throws `SyntaxError` where it is no append-only file; what a kill cut off at the end is left out, as Redis does. */
export function parseAof(bytes: Buffer): Transaction[] {
  return Array.from(steps(bytes), ({ step }) => step);
}

/** Each transaction, and the byte behind its end. Throws as `parseAof` does. */
export function* steps(bytes: Buffer): Generator<{ readonly step: Transaction; readonly end: number }> {
  let open: Command[] | undefined;
  for (const { command, end } of commands(bytes)) {
    switch (String(command[0]).toUpperCase()) {
      case 'SELECT':
        break;
      case 'MULTI':
        open = [];
        break;
      case 'EXEC':
        if (open) yield { step: open, end };
        open = undefined;
        break;
      default:
        if (open) open.push(command);
        else yield { step: [command], end };
    }
  }
}

function* commands(bytes: Buffer): Generator<{ readonly command: Command; readonly end: number }> {
  let at = 0;
  const line = (): string | undefined => {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const text = bytes.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const head = line();
    if (head === undefined) return;
    if (head.startsWith('#')) continue;
    if (!/^\*\d+$/.test(head))
      throw new SyntaxError(`byte ${at} of the append-only file begins no command: ${head.slice(0, 50)}`);
    const command: Buffer[] = [];
    for (let left = Number(head.slice(1)); left > 0; left--) {
      const size = line();
      if (size === undefined) return;
      const end = at + Number(size.slice(1));
      if (end + 2 > bytes.length) return;
      command.push(bytes.subarray(at, end));
      at = end + 2;
    }
    yield { command, end: at };
  }
}
