/** `millrace batch` in a shell. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { millrace } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  server = await startRedis();
  env = { MILLRACE_REDIS_URL: server.url };
});
afterAll(() => server[Symbol.asyncDispose]());

const handler = (task: unknown): unknown => {
  const { parts, url } = task as { parts?: { size: number }; url?: string };
  if (url === 'bad') throw Object.assign(new Error('no such page'), { retry: false });
  return parts ? `${parts.size} pages` : url?.toUpperCase();
};

test('lines become a batch, whose results are printed in their order', async () => {
  const keys = queueKeys('lines', 'lines-result');
  const flags = ['--queue', keys.queue, '--result', keys.result];
  await using _worker = startWorker(server, keys, { handler });
  const begin = ['batch', 'begin', '--field', 'url', '--id', 'pages', '--then', '{"id":"merge"}'];
  const begun = await millrace([...begin, '--wait', ...flags], { env, input: 'b\na\n\nc' });
  expect([begun.stdout, begun.stderr]).toEqual(['3 pages', '']);
  const results = await millrace(['batch', 'results', 'pages', ...flags], { env });
  expect(results.stdout).toBe(
    ['B', 'A', 'C'].map((value, i) => `${JSON.stringify({ id: `pages:${i}`, value })}\n`).join(''),
  );
  const shown = await millrace(['batch', 'show', 'pages', ...flags], { env });
  expect(shown.stdout).toMatch(/^state +ended\nparts +3: 3 succeeded, 0 failed, 0 cancelled, 0 left$/m);
  const bytes = await millrace(['batch', 'begin', '--field', 'url', ...flags], {
    env,
    input: Buffer.of(0xff),
  });
  expect(bytes).toMatchObject({ code: 2, stderr: expect.stringContaining('a line is not UTF-8') as unknown });
  const again = await millrace([...begin, ...flags], { env, input: 'x' });
  expect(again.stderr).toMatch(/a batch "pages" exists already/);
  expect(again.code).toBe(1);
});

test('what waits for a dead letter is listed, and can be cancelled', async () => {
  const keys = queueKeys('waits', 'waits-result');
  const flags = ['--queue', keys.queue, '--result', keys.result];
  const folder = await mkdtemp(join(tmpdir(), 'millrace-batch-'));
  const file = join(folder, 'parts.ndjson');
  await writeFile(file, '{"url":"a"}\n{"url":"bad","id":"p2"}\n');
  await using _worker = startWorker(server, keys, { handler });
  const begun = await millrace(['batch', 'begin', '--file', file, '--id', 'w', ...flags], { env });
  expect(begun.stdout).toBe('w\n');
  await rm(folder, { recursive: true });
  await expect
    .poll(async () => (await millrace(['batch', 'list', ...flags], { env })).stdout, { timeout: 30_000 })
    .toMatch(/^w +running, waits for 1 dead +2 +1 +0 +0 +1 /m);
  expect((await millrace(['batch', 'cancel', 'w', ...flags], { env })).stdout).toBe('w: cancelled\n');
  const shown = await millrace(['batch', 'show', 'w', '-o', 'json', ...flags], { env });
  expect(JSON.parse(shown.stdout)).toMatchObject({ state: 'cancelled', succeeded: 1, failed: 1, left: 0 });
});

test.for([
  [['begin'], 'plain text', /is a JSON object, and this line is none \(plain text\): with --field file,/],
  [['begin'], ' {not so', /a part of batch ".*" is a JSON object, .*: got " {not so"/],
  [['begin', '--then', '{bad'], '{}', /"then" of batch ".*" begins like a JSON object and does not parse/],
  [['begin', '--id', 'x'.repeat(201)], '{}', /the id of a batch is too long: 201 bytes/],
  [['begin'], '', /has no parts/],
  [['begin', '--wait'], '{}', /--wait prints the result of the task that follows: name one with --then/],
  [['show', 'nobody'], '', /no batch nobody/],
  [[], '', /batch needs a command: begin, list, show, results or cancel/],
] as const)('millrace batch %j with %j is refused', async ([args, input, message]) => {
  const ended = await millrace(['batch', ...args], { env, input });
  expect(ended.stderr).toMatch(message);
  expect(ended.stdout).toBe('');
  expect(ended.code).not.toBe(0);
});
