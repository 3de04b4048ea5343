/**
 * Redis's append-only file as a list of transactions: every change that the server made, in order, what one script did
 * together. A run that keeps it whole (no rewrite) has a history that neither workers nor scripts can embellish.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export type Command = readonly Buffer[];
/** What was changed in one step: by one command, or by one script. */
export type Transaction = readonly Command[];

/** Reads the history in a server's folder. The server must have ended, and must never have rewritten the file. */
export async function readHistory(dir: string): Promise<Transaction[]> {
  const history: Transaction[] = [];
  for (const file of await incrementalFiles(dir)) history.push(...parseAof(await readFile(file)));
  return history;
}

/** Redis 7 and Valkey keep a folder of parts; before, there was one file. */
async function incrementalFiles(dir: string): Promise<string[]> {
  const folder = join(dir, 'appendonlydir');
  const names = await readdir(folder).catch(() => undefined);
  if (!names) return [join(dir, 'appendonly.aof')];
  const number = (name: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1] ?? 0);
  return names
    .filter((name) => number(name) > 0)
    .toSorted((a, b) => number(a) - number(b))
    .map((name) => join(folder, name));
}

/** Throws `SyntaxError` where it is no append-only file; what a kill cut off at the end is left out, as Redis does. */
export function parseAof(bytes: Buffer): Transaction[] {
  const transactions: Transaction[] = [];
  let open: Command[] | undefined;
  for (const command of commands(bytes)) {
    switch (String(command[0]).toUpperCase()) {
      case 'SELECT':
        break;
      case 'MULTI':
        open = [];
        break;
      case 'EXEC':
        if (open) transactions.push(open);
        open = undefined;
        break;
      default:
        if (open) open.push(command);
        else transactions.push([command]);
    }
  }
  return transactions;
}

function* commands(bytes: Buffer): Generator<Command> {
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
    yield command;
  }
}
