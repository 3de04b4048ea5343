/** `millrace dead`: what failed for good, and why; back to the queue with it, or away. */
import type { QueueFlags } from '../queue/flags.ts';
import type { DeadLetter, DeadSelection } from '../queue/queue.ts';
import { UsageError } from '../runtime/program.ts';
import { withQueue } from './client.ts';
import { age, oneLine, table } from './table.ts';

type Output = 'table' | 'json';

export interface ListDeadFlags extends QueueFlags {
  readonly count: number;
  readonly output: Output;
}

export async function listDead(flags: ListDeadFlags): Promise<void> {
  await withQueue(flags, async (queue) => {
    const letters = await queue.dead(flags.count);
    if (flags.output === 'json') {
      writeJson(letters);
      return;
    }
    const rows = letters.map(({ at, attempts, worker, raw, error }) => [
      when(at),
      attempts,
      worker,
      oneLine(raw.toString(), 60),
      oneLine(error, 200),
    ]);
    process.stdout.write(table(['WHEN', 'ATTEMPTS', 'WORKER', 'TASK', 'ERROR'], rows));
  });
}

/** All that is known of one task; there may be several letters of one id, the newest comes first. */
export async function showDead(id: string, flags: QueueFlags & { readonly output: Output }): Promise<void> {
  await withQueue(flags, async (queue) => {
    const letters = (await queue.dead.find({ ids: [id] })).toReversed();
    if (letters.length === 0) throw new Error(`no dead letter of task ${oneLine(id, 100)}`);
    if (flags.output === 'json') writeJson(letters);
    else process.stdout.write(letters.map((letter) => described(letter, Date.now())).join('\n'));
  });
}

export interface ChooseDeadFlags extends QueueFlags {
  readonly all?: true;
  readonly error?: string;
  /** ms. */
  readonly olderThan?: number;
}

/** Prints how many were moved. Fails when ids were named and there is no letter of any. */
export async function moveDead(
  how: 'requeue' | 'drop',
  ids: readonly string[],
  flags: ChooseDeadFlags,
): Promise<void> {
  const which = selection(how, ids, flags);
  await withQueue(flags, async (queue) => {
    const moved = await queue.dead[how](which);
    if (moved === 0 && ids.length > 0) throw new Error('no dead letter was chosen by that: see dead list');
    process.stdout.write(`${moved} ${how === 'requeue' ? 'requeued' : 'dropped'}\n`);
  });
}

function selection(
  how: string,
  ids: readonly string[],
  { all, error, olderThan }: ChooseDeadFlags,
): DeadSelection {
  const filter = {
    ...(ids.length === 0 ? {} : { ids }),
    ...(error === undefined ? {} : { error }),
    ...(olderThan === undefined ? {} : { olderThanMs: olderThan }),
  };
  const conditions = Object.keys(filter).length;
  if (all && conditions > 0) throw new UsageError('--all is given, and a choice as well: leave one out');
  if (!all && conditions === 0)
    throw new UsageError(`dead ${how} needs ids of tasks, --error, --older-than or --all`);
  return all ? 'all' : filter;
}

function described({ raw, id, at, attempts, worker, error }: DeadLetter, now: number): string {
  const facts = [
    ['id', id ?? raw.toString()],
    ['when', `${when(at)} (${age(now - at)} ago)`],
    ['attempts', String(attempts)],
    ['worker', worker],
    ['error', error],
    ['task', raw.toString()],
  ];
  return facts.map(([name = '', value = '']) => `${`${name}:`.padEnd(10)}${value}\n`).join('');
}

function when(at: number): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** A task may be any bytes: where it is not text, it is base64 and says so. */
function writeJson(letters: readonly DeadLetter[]): void {
  const entries = letters.map(({ raw, ...letter }) => ({ ...letter, ...textOrBase64(raw) }));
  process.stdout.write(`${JSON.stringify(entries, undefined, 2)}\n`);
}

function textOrBase64(raw: Buffer): { task: string } | { taskBase64: string } {
  const text = raw.toString();
  return Buffer.from(text).equals(raw) ? { task: text } : { taskBase64: raw.toString('base64') };
}
