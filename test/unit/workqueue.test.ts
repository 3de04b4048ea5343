import { expect, test } from 'vitest';
import { createWorkQueue, type WorkQueueOptions } from '../../kube/workqueue.ts';
import type { Clock } from '../../runtime/clock.ts';

/** A clock that is turned by hand. */
function handClock(): Clock & { advance(ms: number): Promise<void> } {
  let now = 0;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  return {
    now: () => now,
    elapsed: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const sleeper = { at: now + ms, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper);
          resolve();
        });
      }),
    advance: async (ms) => {
      now += ms;
      for (const sleeper of sleepers) {
        if (sleeper.at > now) continue;
        sleepers.delete(sleeper);
        sleeper.wake();
      }
      await settled();
    },
  };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lets everything run that can run without time passing; the queue handles a key in each turn of the event loop. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
}

function start(work: WorkQueueOptions['work'], concurrency = 2, reserve = 0) {
  const clock = handClock();
  const errors: [string, number][] = [];
  const stop = new AbortController();
  const queue = createWorkQueue({
    work,
    clock,
    concurrency,
    reserve,
    onError: (key, _, retryInMs) => errors.push([key, retryInMs]),
    backoff: { initialMs: 100, maxMs: 1_000 },
  });
  const ended = queue.run(stop.signal);
  return { queue, clock, errors, ended, stop };
}

test('a key that is added twice is worked on once', async () => {
  const seen: string[] = [];
  const stop = new AbortController();
  const queue = createWorkQueue({
    work: async (key) => void seen.push(key),
    onError: () => expect.unreachable(),
    concurrency: 1,
    clock: handClock(),
  });
  for (const key of ['a', 'b', 'a', 'a']) queue.add(key);
  expect(queue.depth).toBe(2);
  const ended = queue.run(stop.signal);
  await settled();
  expect(seen).toEqual(['a', 'b']);
  stop.abort();
  await ended;
});

test('a key that is added while it is worked on comes again, never beside itself', async () => {
  const gate = Promise.withResolvers<void>();
  let active = 0;
  let most = 0;
  let runs = 0;
  const { queue } = start(async () => {
    runs++;
    most = Math.max(most, ++active);
    if (runs === 1) await gate.promise;
    active--;
    return undefined;
  });
  queue.add('a');
  await settled();
  queue.add('a');
  queue.add('a');
  await settled();
  expect(runs).toBe(1);
  gate.resolve();
  await settled();
  expect({ runs, most }).toEqual({ runs: 2, most: 1 });
});

test('different keys run side by side, up to the limit', async () => {
  let active = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  const { queue } = start(async () => {
    most = Math.max(most, ++active);
    await gate.promise;
    active--;
    return undefined;
  }, 3);
  for (const key of 'abcdef') queue.add(key);
  await settled();
  expect(most).toBe(3);
  gate.resolve();
  await settled();
  expect({ active, depth: queue.depth }).toEqual({ active: 0, depth: 0 });
});

test('a key that fails comes back after a growing delay, and from the start after a success', async () => {
  let failing = true;
  let runs = 0;
  const { queue, clock, errors } = start(async () => {
    runs++;
    if (failing) throw new Error('no');
    return undefined;
  });
  queue.add('a');
  await settled();
  for (const ms of [100, 200, 400, 800, 1_000, 1_000]) await clock.advance(ms);
  expect(errors.map(([, delay]) => delay)).toEqual([100, 200, 400, 800, 1_000, 1_000, 1_000]);
  failing = false;
  await clock.advance(1_000);
  expect(runs).toBe(8);
  failing = true;
  queue.add('a');
  await settled();
  expect(errors.at(-1)).toEqual(['a', 100]);
});

test('a key may ask to come back; the nearest time wins', async () => {
  const seen: number[] = [];
  const { queue, clock } = start(async () => {
    seen.push(clock.now());
    return seen.length === 1 ? 500 : undefined;
  });
  queue.add('a');
  await settled();
  queue.addAfter('a', 2_000);
  queue.addAfter('a', 300);
  await clock.advance(300);
  await clock.advance(2_000);
  expect(seen).toEqual([0, 300]);
});

test('stopping waits for running work and starts nothing more', async () => {
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  const { queue, ended, stop } = start(async () => {
    runs++;
    await gate.promise;
    return undefined;
  }, 1);
  queue.add('a');
  queue.add('b');
  await settled();
  stop.abort();
  let over = false;
  void ended.then(() => (over = true));
  await settled();
  expect(over).toBe(false);
  gate.resolve();
  await ended;
  expect(runs).toBe(1);
});

test('an urgent key overtakes those that wait, and finds a place while they hold all others', async () => {
  const begun: string[] = [];
  const gates = new Map<string, () => void>();
  const { queue } = start(
    (key) => {
      begun.push(key);
      return new Promise((resolve) => void gates.set(key, () => resolve(undefined)));
    },
    1,
    1,
  );
  for (const key of ['a', 'b', 'c']) queue.add(key);
  await settled();
  expect(begun).toEqual(['a']);
  queue.add('c', 'urgent');
  expect(queue.depth).toBe(1);
  await settled();
  expect(begun).toEqual(['a', 'c']);
  // both places are taken, and what is urgent goes first when one becomes free
  queue.add('d', 'urgent');
  await settled();
  expect(begun).toEqual(['a', 'c']);
  gates.get('a')?.();
  await settled();
  expect(begun).toEqual(['a', 'c', 'd']);
  gates.get('c')?.();
  gates.get('d')?.();
  await settled();
  expect(begun).toEqual(['a', 'c', 'd', 'b']);
});

test('a key that becomes urgent while it is worked on comes again as such', async () => {
  const begun: string[] = [];
  const gates: (() => void)[] = [];
  const { queue } = start((key) => {
    begun.push(key);
    return new Promise((resolve) => void gates.push(() => resolve(undefined)));
  }, 1);
  queue.add('a');
  await settled();
  queue.add('b');
  queue.add('a', 'urgent');
  queue.add('a');
  gates.shift()?.();
  await settled();
  expect(begun).toEqual(['a', 'a']);
});

test('keys that wait for nothing let the process receive what makes another one urgent', async () => {
  const seen: string[] = [];
  const { queue } = start((key) => Promise.resolve(void seen.push(key)), 2, 2);
  const idle = Array.from({ length: 100 }, (_, i) => `idle-${i}`);
  for (const key of idle) queue.add(key);
  await nextTurn();
  queue.add('woken', 'urgent');
  await nextTurn();
  expect(seen).toContain('woken');
  expect(seen.length).toBeLessThan(20);
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  expect(seen).toHaveLength(101);
});

test('keys for the end come when no other waits, unless they are added otherwise', async () => {
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const { queue } = start(async (key) => {
    seen.push(key);
    // for the end, while it is worked on
    if (seen.length === 1) queue.add('first', 'last');
    await gate.promise;
    return undefined;
  }, 1);
  queue.add('first');
  await settled();
  queue.add('late', 'last');
  queue.add('moved', 'last');
  queue.add('normal');
  queue.add('normal', 'last');
  queue.add('moved');
  expect([queue.depth, queue.backlog]).toEqual([3, 2]);
  gate.resolve();
  await settled();
  expect(seen).toEqual(['first', 'normal', 'moved', 'late', 'first']);
});
