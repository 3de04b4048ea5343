/** What a handler is given beside its task: some of it is made when it is read. */
import { expect, test } from 'vitest';
import { noPast } from '../../queue/workers/past.ts';
import { TaskAbort } from '../../worker/task/abort.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { TaskRun, type RunDeps } from '../../worker/task/run.ts';

test('what is read of a context, early or late, in parts or again, is of its task', async () => {
  const reports: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<unknown>();
  let context: TaskContext | undefined;
  const deps: RunDeps = {
    handler: async (_task, given) => {
      context = given;
      const { raw, signal, progress, spawn } = given;
      progress('early');
      await Promise.resolve();
      progress('late');
      expect(given.signal).toBe(signal);
      return [raw.toString(), signal.aborted, ...spawn(['added']), ...given.spawn(['again'])];
    },
    queue: 'tasks',
    retry: { attempts: 1, backoff: { initialMs: 0, maxMs: 0, jitter: false } },
    maxTaskBytes: 1_000,
    maxResultBytes: 1_000,
    bytesOnly: false,
    random: Math.random,
    redisNow: () => 0,
    claim: () => Promise.reject(new Error('no task is unique here')),
    exitReasonOf: () => Promise.resolve(undefined),
  };
  const outbox = {
    report: (_id: string | Buffer, value: unknown) => reports.push(value),
    ended: () => undefined,
  };
  const abort = new TaskAbort();
  const delivery = { receipt: '1-1', raw: Buffer.from('{"id":"a"}'), past: noPast };
  expect(new TaskRun(delivery, abort, 0, { deps, outbox, ended: resolve }).start()).toBeUndefined();
  expect(await promise).toMatchObject({
    id: 'a',
    outcome: {
      kind: 'result',
      value: '["{\\"id\\":\\"a\\"}",false,"added","again"]',
      spawned: [{ raw: 'added' }, { raw: 'again' }],
    },
  });
  // what a handler leaves running
  context?.progress('too late');
  expect(reports).toEqual(['early', 'late']);
  abort.abort(new Error('over'));
  expect(context?.signal.reason).toEqual(new Error('over'));
});
