/** The probes of a worker whose turns get no reply: what they return, and why. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { spawnWorker } from '../support/workers.ts';

async function probe(port: number, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, text: await response.text() };
}

test('without an answer for a lease: not ready; not healthy when it holds nothing, or when Redis answers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-probes-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true }));
  const more = join(folder, 'more.conf');
  await writeFile(more, '');
  const args = ['--appendonly', 'yes', '--appendfsync', 'always', '--include', more];
  const server = stack.use(await startRedis({ args }));
  const redis = server.client();
  const keys = freshKeys();
  const port = await freePort();
  await using worker = await spawnWorker(server, keys, ['--lease', '1s', '--http-port', String(port)]);
  const both = async (alive: number, ready: number): Promise<void> => {
    await eventually(async () =>
      expect([(await probe(port, '/healthz')).status, (await probe(port, '/readyz')).status]).toEqual([
        alive,
        ready,
      ]),
    );
  };
  await both(200, 200);
  server.stop();
  await both(503, 503);
  // it names the seconds that have passed, and one may pass in between
  await eventually(async () =>
    expect((await probe(port, '/healthz')).text).toBe((await probe(port, '/readyz')).text),
  );
  server.cont();
  await both(200, 200);

  await redis.lpush(keys.queue, '{"id":"long","sleepMs":3600000}');
  await eventually(async () => expect(await redis.hlen(keys.inflight(worker.id))).toBe(1));
  server.stop();
  await both(200, 503);
  server.cont();
  await both(200, 200);

  // it answers, and makes no turns any more
  await eventually(async () => expect(await redis.hlen(keys.inflight(worker.id))).toBe(1));
  await writeFile(more, 'rename-command EVALSHA ""\n');
  await server.restart();
  await eventually(async () => expect((await probe(port, '/healthz')).status).toBe(503));
  expect((await probe(port, '/healthz')).text).toMatch(/^no turn in queue "\S+" for \d+s: .*unknown command/);
});
