/** A worker without tasks gives memory back to the system. */
import { expect, test } from 'vitest';
import { LogEvent } from '../../runtime/log-event.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { spawnProgram } from '../support/workers.ts';

/** Runs the worker with V8's report of collections on its stderr. */
const traced = ['sh', '-c', 'exec "$0" --trace-gc "$@" >&2', process.execPath];

test('it collects garbage soon after it has registered, for the least memory', async () => {
  await using server = await startRedis();
  const { queue, result } = freshKeys();
  const where = ['--redis', server.url, '--queue', queue, '--result', result];
  await using worker = spawnProgram([...where, '--command', 'cat'], {}, traced);
  await worker.reports(LogEvent.Registered);
  // V8 calls it a test when a program asks for it
  await eventually(() => expect(worker.stderr()).toMatch(/Mark-Compact \(reduce\).* testing;/));
});
