/** `millrace dead`: lists, shows, requeues and drops dead letters. */
import type { DeadLetter, DeadSelection, Queue } from '../../queue/queue.ts';
import { UsageError } from '../../runtime/program.ts';
import { withQueues } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { visible } from '../../runtime/plain-text.ts';
import { print, type Output } from '../terminal/output.ts';
import type { ShowProgress } from '../terminal/progress.ts';
import { age, oneLine, table } from '../terminal/table.ts';

export interface ListDeadFlags extends AccessFlags {
  readonly count: number;
  readonly output: Output;
}

/** A dead letter and its queue. */
interface Found {
  readonly queue: string;
  readonly letter: DeadLetter;
}

export async function listDead(flags: ListDeadFlags): Promise<void> {
  await withQueues(flags, async (queues) => {
    const found = await ofAll(queues, (queue) => queue.dead(flags.count));
    const newest = found.toSorted((a, b) => b.letter.at - a.letter.at).slice(0, flags.count);
    await print(flags.output, newest.map(plain), () => {
      const head = ['WHEN', 'QUEUE', 'ATTEMPTS', 'WORKER', 'TASK', 'ERROR'];
      const rows = newest.map(({ queue, letter: { at, attempts, worker, raw, error } }) => [
        when(at),
        queue,
        attempts,
        worker,
        oneLine(raw.toString(), 60),
        oneLine(error, 200),
      ]);
      // of one queue the name is known
      const shown = [head, ...rows].map((row) => row.filter((_, i) => i !== 1 || queues.length > 1));
      return table(shown[0] as string[], shown.slice(1));
    });
  });
}

/** Everything known about one task; an id may have several letters, the newest is first. */
export async function showDead(id: string, flags: AccessFlags & { readonly output: Output }): Promise<void> {
  await withQueues(flags, async (queues) => {
    const found = await ofAll(queues, async (queue) => (await queue.dead.find({ ids: [id] })).toReversed());
    if (found.length === 0) throw new Error(`no dead letter of task ${oneLine(id, 100)}`);
    await print(flags.output, found.map(plain), () =>
      found.map(({ letter }) => described(letter, Date.now())).join('\n'),
    );
  });
}

async function ofAll(
  queues: readonly Queue[],
  letters: (queue: Queue) => Promise<readonly DeadLetter[]>,
): Promise<Found[]> {
  const all = queues.map(async (queue) =>
    (await letters(queue)).map((letter) => ({ queue: queue.keys.queue, letter })),
  );
  return (await Promise.all(all)).flat();
}

export interface ChooseDeadFlags extends AccessFlags {
  readonly all?: true;
  readonly error?: string;
  /** ms. */
  readonly olderThan?: number;
}

/** Prints the number of moved letters. Fails if ids are given and none has a letter. */
export async function moveDead(
  how: 'requeue' | 'drop',
  ids: readonly string[],
  flags: ChooseDeadFlags,
  showProgress: ShowProgress,
): Promise<void> {
  const which = selection(how, ids, flags);
  await withQueues(
    flags,
    async (queues) => {
      let moved = 0;
      using progress = showProgress(how === 'requeue' ? 'requeued' : 'dropped', await howMany(queues, which));
      for (const queue of queues) moved += await queue.dead[how](which, (count) => progress.add(count));
      if (moved === 0 && ids.length > 0) throw new Error('no dead letter matches: see millrace dead list');
      process.stdout.write(`${moved} ${how === 'requeue' ? 'requeued' : 'dropped'}\n`);
    },
    { writes: true },
  );
}

/** The number of letters to move, which is known in advance only for all. */
async function howMany(queues: readonly Queue[], which: DeadSelection): Promise<number | undefined> {
  if (which !== 'all') return undefined;
  const views = await Promise.all(queues.map((queue) => queue.inspect()));
  return views.reduce((sum, { dead }) => sum + dead, 0);
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
  if (all && conditions > 0)
    throw new UsageError('both --all and a choice of dead letters are given: omit one');
  if (!all && conditions === 0)
    throw new UsageError(`dead ${how} needs ids of tasks, --error, --older-than or --all`);
  return all ? 'all' : filter;
}

function described({ raw, id, at, attempts, worker, error }: DeadLetter, now: number): string {
  const facts = [
    ['id', id ?? raw.toString()],
    ['when', at === 0 ? when(at) : `${when(at)} (${age(now - at)} ago)`],
    ['attempts', String(attempts)],
    ['worker', worker],
    ['error', error],
    ['task', raw.toString()],
  ];
  const shown = process.stdout.isTTY ? visible : String;
  return facts.map(([name = '', value = '']) => `${`${name}:`.padEnd(10)}${shown(value)}\n`).join('');
}

/** Of an entry that something else wrote, the time is not known. */
function when(at: number): string {
  return at === 0 ? '?' : new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** A task may be any bytes: one that is not text is printed as base64, marked as such. */
function plain({ queue, letter: { raw, at, ...letter } }: Found): object {
  return { queue, ...letter, ...(at > 0 && { at }), ...textOrBase64(raw) };
}

function textOrBase64(raw: Buffer): { task: string } | { taskBase64: string } {
  const text = raw.toString();
  return Buffer.from(text).equals(raw) ? { task: text } : { taskBase64: raw.toString('base64') };
}
