/** The contract with the outside, seen by a client that knows nothing of Millrace: redis-py and four commands. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
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

const python = await preparePython();
const skipped = python instanceof Error && process.env['CI'] !== 'true';
if (skipped) process.stderr.write(`contract with redis-py: skipped, ${python.message}\n`);

test
  .skipIf(skipped)
  .concurrent.for([
    'text',
    'json_with_id',
    'json_without_id',
    'not_utf8',
    'empty',
    'ten_megabytes',
    'thousand_from_two_clients',
    'plain_worker_beside',
  ])('a plain Python client: %s', async (scenario) => {
  if (python instanceof Error) throw python;
  await using server = await startRedis();
  const keys = freshKeys();
  await using _one = startWorker(server, keys, { handler, concurrency: 2 });
  await using _two = startWorker(server, keys, { handler, concurrency: 2 });
  const args = [join(folder, 'client.py'), String(server.port), keys.queue, keys.result, scenario];
  const { stdout, stderr } = await run(python, args);
  expect(stdout + stderr).toBe('');
});

/** An interpreter that has the requirements, made once and kept for later runs; an error that says what is missing. */
async function preparePython(): Promise<string | Error> {
  const requirements = join(folder, 'requirements.txt');
  const digest = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 12);
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace-test');
  const ready = join(cache, `venv-${digest}`);
  const interpreter = join(ready, 'bin', 'python');
  const isThere = async (): Promise<boolean> =>
    access(interpreter).then(
      () => true,
      () => false,
    );
  if (await isThere()) return interpreter;
  // made aside and moved into place whole, so that a run that was ended or one beside this leaves no half of it
  const making = `${ready}.${process.pid}`;
  try {
    await mkdir(cache, { recursive: true });
    await run('python3', ['-m', 'venv', making]);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements];
    await run(join(making, 'bin', 'python'), pip);
    await rename(making, ready);
    return interpreter;
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    if (await isThere()) return interpreter;
    const { stderr, message } = error as Error & { stderr?: string };
    const [line = ''] = (stderr?.trim() || message).split('\n');
    return new Error(
      `python3 with venv and pip is needed (${line}): install it, as with "apt-get install python3-venv"`,
    );
  }
}
