/**
 * The ledger: what handlers did, written by themselves outside of Redis. Each worker process appends to a file of its
 * own, one line when a run begins and one when it ends, in one `write` each: what was written before a SIGKILL is there.
 * In a container every process is number 1, so there the time of its start tells processes apart.
 */
import { existsSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** `failed`: as the task told it to. `aborted`: its AbortSignal said that nobody wants the result. */
export type Ending = 'ok' | 'failed' | 'aborted';

export interface Run {
  /** Unique; a result names the run that made it. */
  readonly name: string;
  readonly worker: string;
  readonly pid: number;
  readonly id: string;
  readonly attempt: number;
  /** Wall clock, ms. */
  readonly begun: number;
  readonly ended: { readonly at: number; readonly how: Ending } | undefined;
}

export interface LedgerWriter {
  /** Returns the name of the run. */
  begin(id: string, attempt: number): string;
  end(run: string, how: Ending): void;
}

/** Appends to the file of this process in `folder`. Throws when it cannot be opened. */
export function openLedger(folder: string, worker: string): LedgerWriter {
  const number = process.pid === 1 ? Math.round(performance.timeOrigin) : process.pid;
  const name = `${worker}@${number}`;
  const file = openSync(join(folder, name), 'a');
  let runs = 0;
  return {
    begin: (id, attempt) => {
      writeSync(file, `${Date.now()} begin ${++runs} ${attempt} ${id}\n`);
      return `${name}#${runs}`;
    },
    end: (run, how) =>
      void writeSync(file, `${Date.now()} end ${run.slice(run.lastIndexOf('#') + 1)} ${how}\n`),
  };
}

/** Whether nobody has asked this of `folder` before, for this name: a mark that outlives the process. */
export function isFirst(folder: string, name: string): boolean {
  try {
    writeFileSync(join(folder, `${MARK}${name}`), '', { flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

/** Lets the task succeed that was told to fail until then. */
export function allow(folder: string, id: string): void {
  writeFileSync(join(folder, allowed(id)), '');
}

export function isAllowed(folder: string, id: string): boolean {
  return existsSync(join(folder, allowed(id)));
}

const MARK = '.mark-';
const allowed = (id: string): string => `${MARK}allowed-${encodeURIComponent(id)}`;

/** All runs in `folder`, by the time at which they began. */
export async function readLedger(folder: string): Promise<Run[]> {
  const files = (await readdir(folder)).filter((name) => !name.startsWith(MARK));
  const read = await Promise.all(
    files.map(async (name) => parseLedger(name, await readFile(join(folder, name), 'utf8'))),
  );
  return read.flat().toSorted((a, b) => a.begun - b.begun);
}

/** The runs of one process. Throws `SyntaxError` for a line that is not one of a ledger. */
export function parseLedger(file: string, text: string): Run[] {
  const [worker = '', pid] = file.split('@');
  const runs = new Map<string, Run>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, time, verb, number = '', rest = ''] = /^(\d+) (begin|end) (\d+) (.+)$/.exec(line) ?? [];
    const begun = runs.get(number);
    if (verb === 'begin') {
      const [attempt = '', ...id] = rest.split(' ');
      runs.set(number, {
        name: `${file}#${number}`,
        worker,
        pid: Number(pid),
        id: id.join(' '),
        attempt: Number(attempt),
        begun: Number(time),
        ended: undefined,
      });
    } else if (verb === 'end' && begun) {
      runs.set(number, { ...begun, ended: { at: Number(time), how: rest as Ending } });
    } else throw new SyntaxError(`the ledger ${file} has a line that is none: ${line.slice(0, 100)}`);
  }
  return [...runs.values()];
}
