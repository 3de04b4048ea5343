/** The contract with the outside, seen by a client that knows nothing of Millrace: redis-py and four commands. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { preparePython } from '../support/python.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, 'python');

/** Bytes backwards, text with a mark, twice the number of an order. */
const handler = async (task: unknown): Promise<unknown> => {
  if (typeof task === 'string' && task.startsWith('slow')) await delay(5);
  if (Buffer.isBuffer(task)) return Buffer.from(task.toReversed());
  return typeof task === 'string' ? `text:${task}` : { doubled: 2 * (task as { n: number }).n };
};

const python = await preparePython(await readFile(join(folder, 'requirements.txt'), 'utf8'));
// a test that did not run must not look like one that passed
if (python instanceof Error) throw python;

test.concurrent.for([
  'text',
  'json_with_id',
  'json_without_id',
  'not_utf8',
  'empty',
  'ten_megabytes',
  'thousand_from_two_clients',
  'plain_worker_beside',
])('a plain Python client: %s', async (scenario) => {
  await using server = await startRedis();
  const keys = freshKeys();
  await using _one = startWorker(server, keys, { handler, concurrency: 2 });
  await using _two = startWorker(server, keys, { handler, concurrency: 2 });
  const args = [join(folder, 'client.py'), String(server.port), keys.queue, keys.result, scenario];
  const { stdout, stderr } = await run(python, args);
  expect(stdout + stderr).toBe('');
});
