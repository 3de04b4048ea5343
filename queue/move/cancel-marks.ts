/**
 * Moves the marks of cancelled tasks. A mark must be where its task is met: in the old place while a worker there holds the task, or may
 * still take it; in the new place before the task arrives. So marks are copied before tasks are moved and deleted after that, except for
 * those of tasks that workers of the old place hold by then: these stay, and their copies are deleted. A client of the new place cancels
 * what runs in the old one: its mark goes the other way.
 */
import type { QueueKeys } from '../keys.ts';
import { partitionOf } from '../partitions.ts';
import { taskId } from '../task.ts';
import { later } from './batch.ts';
import type { Route } from './batches.ts';

const PAGE = 1_000;

/** Marks that are in both places. */
export interface CopiedMarks {
  /** Leaves each in one place, where its task is. */
  settle(): Promise<void>;
}

/** Copies the marks of all tasks that no worker of the old place holds. Workers of the new place are told that there are new ones. */
export async function copyCancelMarks(route: Route): Promise<CopiedMarks> {
  const { source, destination, claim, to, aheadMs } = route;
  const { queue, cancelled } = claim.keys;
  const copied: Buffer[] = [];
  let held: ReadonlySet<string> | undefined;
  for (let from = 0; ; from += PAGE) {
    const range = [String(from), String(from + PAGE - 1), 'WITHSCORES'] as const;
    const page = await source.ask(source.at(queue).zrangeBuffer(cancelled, ...range));
    if (page.length === 0) break;
    held ??= await heldIds(route);
    const shares = to.map((): Buffer[] => []);
    for (let i = 0; i < page.length; i += 2) {
      const [id, expiry] = page.slice(i, i + 2) as [Buffer, Buffer];
      if (held.has(nameOf(id))) continue;
      copied.push(id);
      shares[partitionOf(id, to.length)]?.push(later(expiry, aheadMs), id);
    }
    const written = to.map(async (keys, i) => {
      const share = shares[i] ?? [];
      if (share.length === 0) return;
      const redis = destination.at(keys.queue);
      await redis.zadd(keys.cancelled, 'NX', ...share);
      await redis.hincrby(keys.stats, 'marks', 1);
    });
    await destination.ask(Promise.all(written));
  }
  return { settle: () => settle(route, copied) };
}

/** Takes back the marks that clients have set in the new place of tasks that workers of the old place hold. */
export async function returnCancelMarks(route: Route): Promise<void> {
  const { source, destination, claim, to, aheadMs } = route;
  const counts = to.map((keys) => destination.at(keys.queue).zcard(keys.cancelled));
  if ((await destination.ask(Promise.all(counts))).every((count) => count === 0)) return;
  const { queue, cancelled, stats } = claim.keys;
  const held = Array.from(await heldIds(route), (name) => Buffer.from(name, 'latin1'));
  for (let from = 0; from < held.length; from += PAGE) {
    const page = held.slice(from, from + PAGE);
    const found = to.map(async (keys, i): Promise<[expiry: Buffer, id: Buffer][]> => {
      const share = page.filter((id) => partitionOf(id, to.length) === i);
      if (share.length === 0) return [];
      const scores = await destination.at(keys.queue).zmscore(keys.cancelled, ...share);
      return share.flatMap((id, n): [Buffer, Buffer][] => {
        const score = scores[n];
        return typeof score === 'string' ? [[later(score, -aheadMs), id]] : [];
      });
    });
    const marks = (await destination.ask(Promise.all(found))).flat();
    if (marks.length === 0) continue;
    const old = source.at(queue);
    await source.ask(old.zadd(cancelled, 'NX', ...marks.flat()));
    await source.ask(old.hincrby(stats, 'marks', 1));
    await settle(
      route,
      marks.map(([, id]) => id),
    );
  }
}

async function settle(route: Route, copied: readonly Buffer[]): Promise<void> {
  if (copied.length === 0) return;
  const { source, destination, claim, to } = route;
  const { queue, cancelled } = claim.keys;
  const old = source.at(queue);
  const held = await heldIds(route);
  for (let from = 0; from < copied.length; from += PAGE) {
    const page = copied.slice(from, from + PAGE);
    const scores = await source.ask(old.zmscore(cancelled, ...page));
    // met in the old place: held there, or settled there since
    const [met, moved] = [true, false].map((wanted) =>
      page.filter((id, i) => (held.has(nameOf(id)) || scores[i] === null) === wanted),
    ) as [Buffer[], Buffer[]];
    const dropped = to.map(async (keys: QueueKeys, i) => {
      const share = met.filter((id) => partitionOf(id, to.length) === i);
      if (share.length > 0) await destination.at(keys.queue).zrem(keys.cancelled, ...share);
    });
    await destination.ask(Promise.all(dropped));
    if (moved.length > 0) await source.ask(old.zrem(cancelled, ...moved));
  }
}

/** The ids of the tasks that workers of the old place hold, or are about to. */
async function heldIds({ source, claim: { keys } }: Route): Promise<ReadonlySet<string>> {
  const redis = source.at(keys.queue);
  const held = new Set<string>();
  for (const worker of await source.ask(redis.zrange(keys.workers, '0', '-1'))) {
    // in the order in which a task goes from one to the other
    const woken = await source.ask(redis.lrangeBuffer(keys.wake(worker), 0, -1));
    const inFlight = await source.ask(redis.hvalsBuffer(keys.inflight(worker)));
    for (const raw of [...woken, ...inFlight]) held.add(nameOf(taskId(raw)));
  }
  return held;
}

/** Text and its UTF-8 bytes are the same id. */
const nameOf = (id: string | Buffer): string => Buffer.from(id).toString('latin1');
