/** The abort of a task, whose signal is made when somebody looks at it. */
import { expect, test } from 'vitest';
import { TaskAbort } from '../../worker/task/abort.ts';

test('a signal has the reason, whether it was made before or after; the first reason stays', () => {
  const [before, after] = [new TaskAbort(), new TaskAbort()];
  const { signal } = before;
  expect([signal.aborted, before.reason]).toEqual([false, undefined]);
  for (const abort of [before, after]) {
    abort.abort(new Error('first'));
    abort.abort(new Error('second'));
    expect(abort.signal.reason).toEqual(new Error('first'));
    expect(abort.reason?.message).toBe('first');
  }
  expect(before.signal).toBe(signal);
});

test('a listener is called once', () => {
  const abort = new TaskAbort();
  let calls = 0;
  abort.listener = { onAbort: () => calls++ };
  for (let i = 0; i < 2; i++) abort.abort(new Error('enough'));
  expect(calls).toBe(1);
});
