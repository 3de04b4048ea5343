/** `millrace batch`: begins, lists, shows and cancels batches. */
import { isUtf8 } from 'node:buffer';
import { visible } from '../../runtime/plain-text.ts';
import { UsageError } from '../../runtime/program.ts';
import type { BatchOptions, BatchView, Queue } from '../../queue/queue.ts';
import { withQueue, withQueues } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { print, type Output } from '../terminal/output.ts';
import type { ShowProgress } from '../terminal/progress.ts';
import { age, oneLine, table } from '../terminal/table.ts';
import { lineBatches, openLines } from './line-batches.ts';
import { writeResult } from './result.ts';

const SPACE = 0x20;
const BRACE = '{'.charCodeAt(0);

export interface BeginFlags {
  readonly file?: string;
  readonly field?: string;
  readonly id?: string;
  readonly then?: string;
  readonly onFailure: NonNullable<BatchOptions['onFailure']>;
  readonly wait?: boolean;
}

/** Adds the lines as they are read. Prints the id of the batch, or with `wait` the result of the task that follows. */
export async function beginBatch(flags: BeginFlags & AccessFlags, showProgress: ShowProgress): Promise<void> {
  const { file, id, then, onFailure, wait } = flags;
  if (wait && then === undefined)
    throw new UsageError('--wait prints the result of the task that follows: name one with --then');
  const source = file === undefined ? process.stdin : (await openLines(file, 'parts')).stream;
  await withQueue(
    flags,
    async (queue) => {
      const options = { onFailure, ...(id !== undefined && { id }), ...(then !== undefined && { then }) };
      using adding = showProgress('parts added', undefined);
      const batch = await queue.batch(partsOf(source, flags.field, adding), options);
      if (wait && batch.then !== undefined) writeResult(await queue.result(batch.then, { as: 'bytes' }));
      else process.stdout.write(`${batch.id}\n`);
    },
    { batch: id, writes: true },
  );
}

async function* partsOf(
  source: AsyncIterable<Buffer>,
  field: string | undefined,
  adding: { add(count: number): void },
): AsyncGenerator {
  for await (const lines of lineBatches(source)) {
    for (const line of lines) yield field === undefined ? objectOf(line) : { [field]: textOf(line) };
    adding.add(lines.length);
  }
}

/** Throws `UsageError` for a line that does not begin as a JSON object does; what else is wrong with it, the library says. */
function objectOf(line: Buffer): Buffer {
  if (line.find((byte) => byte > SPACE) === BRACE) return line;
  throw new UsageError(
    `a part is a JSON object, and this line is none (${oneLine(line.toString(), 60)}): with --field file, lines of any text are parts {"file": "…"}`,
  );
}

/** Throws `UsageError` for bytes that JSON cannot carry. */
function textOf(line: Buffer): string {
  if (isUtf8(line)) return line.toString();
  throw new UsageError(
    `a line is not UTF-8, and a field of JSON cannot carry it (${oneLine(line.toString(), 60)}): convert the input, as with iconv`,
  );
}

export async function printBatches(
  flags: AccessFlags & { readonly count: number; readonly output: Output },
): Promise<void> {
  await withQueues(flags, async (queues) => {
    const lists = queues.map(async (queue) => {
      const views = await queue.batch.list(flags.count);
      return views.map((view) => Object.assign({ queue: queue.keys.queue }, view));
    });
    const all = (await Promise.all(lists)).flat().slice(0, flags.count);
    await print(flags.output, all, () => {
      const head = ['ID', 'QUEUE', 'STATE', 'PARTS', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'LEFT', 'AGE'];
      const rows = all.map((view) => [
        oneLine(view.id, 60),
        view.queue,
        describeState(view),
        view.size,
        view.succeeded,
        view.failed,
        view.cancelled,
        view.left,
        age(Math.max(0, Date.now() - view.createdAt)),
      ]);
      // of one queue the name is known
      const shown = [head, ...rows].map((row) => row.filter((_, i) => i !== 1 || queues.length > 1));
      return table(shown[0] as string[], shown.slice(1));
    });
  });
}

function describeState({ state, waiting }: BatchView): string {
  return waiting > 0 ? `${state}, waits for ${waiting} dead` : state;
}

/** So long without an event, an open batch is said to stand still, ms. */
const STILL_MS = 60_000;

/** Why it does not end; `undefined` if it is over, or nothing keeps it. `now`: ms of Redis time. */
export function describeWait(view: BatchView, now: number): string | undefined {
  const { state, waiting, inner, activeAt, endedAt } = view;
  const still = now - activeAt > STILL_MS ? age(now - activeAt) : undefined;
  if (endedAt !== undefined) return undefined;
  if (state === 'failing' || state === 'cancelling') return 'its parts that run are being aborted';
  if (waiting > 0)
    return `${waiting} dead ${waiting === 1 ? 'letter is' : 'letters are'} to be requeued or dropped`;
  if (state === 'adding')
    return still === undefined
      ? 'its client is still adding parts'
      : `its client has added nothing for ${still}: if it is gone, cancel the batch`;
  if (inner > 0) return `it waits for ${inner === 1 ? 'a batch' : `${inner} batches`} inside of it`;
  return still === undefined ? undefined : `no part has ended for ${still}`;
}

/** Calls `use` with the queue that has the batch, and what is known of it. Rejects where none has it. */
async function withBatch(
  id: string,
  flags: AccessFlags,
  use: (queue: Queue, view: BatchView) => Promise<void>,
  writes = false,
): Promise<void> {
  await withQueues(
    flags,
    async (queues) => {
      for (const queue of queues) {
        const view = await queue.batch.show(id);
        if (view) return use(queue, view);
      }
      throw new Error(`no batch ${oneLine(id, 100)}: it never began, or ended more than a week ago`);
    },
    { batch: id, writes },
  );
}

export async function showBatch(id: string, flags: AccessFlags & { readonly output: Output }): Promise<void> {
  await withBatch(id, flags, (_queue, view) =>
    print(flags.output, view, () => {
      const when = (ms: number | undefined): string => (ms === undefined ? '' : new Date(ms).toISOString());
      const facts = [
        ['id', view.id],
        ['state', describeState(view)],
        [
          'parts',
          `${view.size}: ${view.succeeded} succeeded, ${view.failed} failed, ${view.cancelled} cancelled, ${view.left} left`,
        ],
        ['on failure', view.onFailure],
        ['waits for', describeWait(view, Date.now()) ?? ''],
        ['then', view.then ?? ''],
        ['why', view.why ?? ''],
        ['begun', when(view.createdAt)],
        ['ended', when(view.endedAt)],
      ];
      const known = facts.filter(([, value]) => value !== '');
      return known.map(([name = '', value = '']) => `${name.padEnd(12)}${visible(value)}\n`).join('');
    }),
  );
}

export async function printResults(id: string, flags: AccessFlags): Promise<void> {
  await withBatch(id, flags, async (queue) => {
    for await (const part of queue.batch.results(id)) process.stdout.write(`${JSON.stringify(part)}\n`);
  });
}

export async function cancelBatch(id: string, flags: AccessFlags): Promise<void> {
  await withBatch(
    id,
    flags,
    async (queue) => {
      const done = await queue.batch.cancel(id);
      process.stdout.write(`${oneLine(id, 100)}: ${done === 'over' ? 'over already' : done}\n`);
    },
    true,
  );
}
