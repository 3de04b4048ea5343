/**
 * `cli/commands/`: a file for each command that fits in one: takes its flags, returns output or an exit code. Commands share
 * the folders below them, and of each other only a few columns.
 *
 * `millrace inspect`: the queue and its workers, as a table, JSON or YAML.
 */
import type { QueueView } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { withQueues, withRedis } from '../access/access.ts';
import { checkOwnQueues } from '../access/own-queues.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { print, type Output } from '../terminal/output.ts';
import { age, oneLine, table } from '../terminal/table.ts';
import { stateOf } from './workers.ts';

export interface InspectFlags extends AccessFlags {
  readonly output: Output;
  /** Each list of a queue in partitions by itself. */
  readonly each?: true;
}

/** As JSON or YAML one object, or a list if a pool has several queues. */
export async function inspect(flags: InspectFlags): Promise<void> {
  if (flags.each) return await inspectEach(flags);
  await withQueues(flags, async (queues) => {
    const views = await Promise.all(
      queues.map(async (queue) => Object.assign({ queue: queue.keys.queue }, await queue.inspect())),
    );
    await print(flags.output, views.length === 1 ? views[0] : views, () =>
      views.map((view) => tables(view.queue, view)).join('\n'),
    );
  });
}

async function inspectEach(flags: InspectFlags): Promise<void> {
  await withRedis(flags, async (_redis, place, redisOf) => {
    checkOwnQueues(place);
    const lists = await Promise.all(
      place.queues.map(async (keys) => ({ queue: keys.queue, ...(await sampleQueue(redisOf(keys), keys)) })),
    );
    await print(flags.output, lists, () =>
      table(
        ['QUEUE', 'WAITING', 'IN FLIGHT', 'DELAYED', 'DEAD', 'WORKERS', 'PAUSED'],
        lists.map(({ queue, waiting, inFlight, delayed, dead, workers, paused }) => [
          queue,
          waiting,
          inFlight,
          delayed,
          dead,
          workers,
          paused ? 'yes' : 'no',
        ]),
      ),
    );
  });
}

function tables(name: string, view: QueueView): string {
  const progress = view.progress.map(({ id, worker, value }) => [
    oneLine(id, 60),
    worker,
    oneLine(JSON.stringify(value), 100),
  ]);
  const report = progress.length === 0 ? '' : `\n${table(['TASK', 'WORKER', 'PROGRESS'], progress)}`;
  const { waiting, inFlight, delayed, dead, workers, counters } = view;
  const queue = table(
    ['QUEUE', 'WAITING', 'IN FLIGHT', 'DELAYED', 'DEAD', 'WORKERS', 'COMPLETED', 'FAILED'],
    [[name, waiting, inFlight, delayed, dead, workers, counters.completed, counters.failed]],
  );
  const paused = view.pause
    ? `\npaused ${age(view.now - view.pause.at)} ago${note(view.pause.reason)}\n`
    : '';
  if (view.workerList.length === 0) return queue + paused;
  const rows = view.workerList.map((worker) => [
    worker.id,
    stateOf(worker),
    worker.inFlight,
    worker.concurrency,
    worker.leaseLeft > 0 ? age(worker.leaseLeft) : 'over',
    age(view.now - worker.started),
    worker.version,
  ]);
  return `${queue}${paused}\n${table(['WORKER', 'STATE', 'IN FLIGHT', 'SLOTS', 'LEASE', 'AGE', 'VERSION'], rows)}${report}`;
}

function note(reason: string): string {
  return reason === '' ? '' : `: ${oneLine(reason, 500)}`;
}
