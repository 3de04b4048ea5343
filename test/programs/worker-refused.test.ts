/** A password in a variable that is changed under a running worker: the worker exits, to be restarted with the new one. */
import { expect, test } from 'vitest';
import { freePort, startRedis } from '../support/redis.ts';
import { spawnProgram, TASKS } from '../support/workers.ts';

test('not ready after half a minute, then exit code 1; started again it has the new password', async () => {
  await using server = await startRedis({ password: 'old' });
  const admin = server.client();
  const port = await freePort();
  const args = ['--module', TASKS, '--redis', server.url, '--http-port', String(port)];
  await using worker = spawnProgram(args, { MILLRACE_REDIS_PASSWORD: 'old' });
  await worker.reports('ready');
  expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);

  await admin.config('SET', 'requirepass', 'new');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  expect(await worker.ended).toBe(1);
  const [last] = worker.stderr().trimEnd().split('\n').slice(-1);
  expect(last).toMatch(/^millrace-worker: Redis at .* refuses the user name or password/);

  await using second = spawnProgram(args, { MILLRACE_REDIS_PASSWORD: 'new' });
  await second.reports('ready');
  second.signal('SIGTERM');
  expect(await second.ended).toBe(0);
  await admin.config('SET', 'requirepass', 'old');
});
