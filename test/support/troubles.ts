/**
 * A busy queue whose server is in trouble: two workers in the middle of a wave, a client that waits for a result, a sampler.
 * `survive` breaks the server, verifies that it is broken, repairs it, and expects everything to resume by itself: both
 * workers, in their old epochs or in new ones.
 */
import { expect } from 'vitest';
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { eventually } from './eventually.ts';
import { known, sample } from './sampling.ts';
import { startWorker, type TestWorker } from './workers.ts';

export interface Trouble {
  /** The server after the trouble, straight. */
  readonly redis: Redis;
  /** What workers, client and sampler are given. */
  readonly address: RedisAddress;
  readonly keys: QueueKeys;
  readonly begin: () => unknown;
  /** Resolves once the trouble has been met. */
  readonly met: (workers: readonly TestWorker[], queue: Queue) => Promise<unknown>;
  readonly end: () => unknown;
}

const TASKS = 300;

/** Resolves when all is well again, to how often each task was run. */
export async function survive(trouble: Trouble): Promise<ReadonlyMap<string, number>> {
  const { redis, address, keys } = trouble;
  const runs = new Map<string, number>();
  const ran = new Set<string>();
  let met = false;
  const handlerOf = (worker: string) => async (task: unknown) => {
    // many are left when the trouble comes, however late it is
    const ms = met || runs.size < TASKS / 3 ? 3 : 50;
    await new Promise((resolve) => void setTimeout(resolve, ms));
    runs.set(String(task), (runs.get(String(task)) ?? 0) + 1);
    ran.add(worker);
    return 'ok';
  };
  const start = (id: string): TestWorker =>
    startWorker({ address }, keys, { id, handler: handlerOf(id), concurrency: 2, leaseMs: 5_000 });
  const tasks = Array.from({ length: TASKS }, (_, i) => `task ${i}`);
  await using queue = openQueue({ redis: address, queue: keys.queue, result: keys.result });
  await using one = start('one');
  await using two = start('two');
  await using sampling = sample(address);
  sampling.sampler.add('p', [keys]);
  await Promise.all([one.ready(), two.ready(), known(sampling.sampler, 'p', { waiting: 0 })]);
  await queue.enqueueMany(tasks);
  const last = queue.result(`task ${TASKS - 1}`, { timeoutMs: 60_000 });
  last.catch(() => undefined);
  await eventually(() => expect(runs.size).toBeGreaterThan(TASKS / 10), { everyMs: 1 });

  await trouble.begin();
  await trouble.met([one, two], queue);
  met = true;
  expect(runs.size).toBeLessThan(TASKS);
  await trouble.end();

  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(TASKS));
  expect(await last).toBe('ok');
  // a client that waits now was not woken: it must have begun to wait again
  ran.clear();
  await eventually(async () => {
    const id = await queue.enqueue(`more ${Math.random()}`);
    expect(await queue.result(id, { timeoutMs: 5_000 })).toBe('ok');
    expect([...ran].toSorted((a, b) => a.localeCompare(b))).toEqual(['one', 'two']);
  });
  await eventually(() =>
    expect(sampling.sampler.latest('p')).toMatchObject({ kind: 'known', sample: { waiting: 0 } }),
  );
  return runs;
}

/** Both workers have logged it. */
export async function complained(workers: readonly TestWorker[], about: RegExp): Promise<void> {
  for (const { log } of workers)
    await eventually(() => expect(log.map((line) => JSON.stringify(line)).join('\n')).toMatch(about));
}
