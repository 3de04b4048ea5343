/** Batches inside of batches, pushed by plain clients, of which no part but those of the innermost ever runs. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openAt } from '../support/batches.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

type OnFailure = 'cancel' | 'continue' | 'wait';

/**
 * The last part of `inner` fails; what follows that is the only part of `middle`, and what follows this the only one of `outer`. Returns its
 * parts.
 */
function nest(onFailure: OnFailure, size = 1): object[] {
  const outer = { id: 'outer', size: 1, onFailure, then: { id: 'last', n: 1 } };
  const middle = { id: 'middle', size: 1, onFailure, then: { id: 'outer-part', batch: outer } };
  const inner = { id: 'inner', size, onFailure: 'cancel', then: { id: 'middle-part', batch: middle } };
  return Array.from({ length: size }, (_, i) => ({
    id: `part-${i + 1}`,
    fails: i + 1 === size,
    batch: inner,
  }));
}

const handler = (task: unknown): string => {
  if ((task as { fails?: boolean }).fails) throw Object.assign(new Error('no'), { retry: false });
  return 'done';
};

test('onFailure: cancel, of all of them: each fails with the one inside of it', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler });
  await queue.enqueueMany(nest('cancel'));
  await expect(queue.result('last', { timeoutMs: 60_000 })).rejects.toThrow('part outer-part');
  for (const id of ['inner', 'middle', 'outer'])
    expect(await queue.batch.show(id)).toMatchObject({ state: 'failed', size: 1, failed: 1, left: 0 });
});

test('onFailure: continue: the ones outside end, and the last task is told', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler });
  await queue.enqueueMany(nest('continue'));
  expect(await queue.result('outer-part', { timeoutMs: 60_000 })).toBe('done');
  expect(await queue.result('last', { timeoutMs: 60_000 })).toBe('done');
  expect(await queue.batch.show('middle')).toMatchObject({ state: 'ended', succeeded: 0, failed: 1 });
  expect(await queue.batch.show('outer')).toMatchObject({ state: 'ended', succeeded: 1, failed: 0 });
});

test('onFailure: wait: the one outside waits until the dead letter is dropped', async () => {
  const keys = freshKeys();
  await using queue = openAt(server, keys);
  await using _worker = startWorker(server, keys, { handler });
  await queue.enqueueMany(nest('wait'));
  await expect(queue.result('middle-part', { timeoutMs: 60_000 })).rejects.toThrow('part part');
  expect(await queue.batch.show('middle')).toMatchObject({ state: 'running', left: 1, onFailure: 'wait' });
  expect(await queue.dead.drop({ ids: ['middle-part'] })).toBe(1);
  expect(await queue.result('last', { timeoutMs: 60_000 })).toBe('done');
});

test.each([
  '',
  'x',
  Buffer.of(0xc1),
  Buffer.of(0x91, 0x01),
  Buffer.from('\x82\xa4then\x90\xa6policy\x80', 'latin1'),
])(
  'what something else has written in place of what the task that follows says is left out: %j',
  async (value) => {
    const keys = freshKeys();
    await using queue = openAt(server, keys);
    await using worker = startWorker(server, keys, { handler });
    const [first, last] = nest('cancel', 2);
    await queue.enqueue(first);
    await queue.result('part-1', { timeoutMs: 60_000 });
    const redis = server.client();
    expect(await redis.hexists(keys.batch('inner'), 'thenOuter')).toBe(1);
    await redis.hset(keys.batch('inner'), 'thenOuter', value);
    await queue.enqueue(last);
    await expect(queue.result('middle-part', { timeoutMs: 60_000 })).rejects.toThrow('part part');
    expect(await queue.batch.show('middle')).toMatchObject({ state: 'running', size: 1, onFailure: 'wait' });
    expect(worker.log).not.toContainEqual(expect.objectContaining({ level: 'error' }));
  },
);
