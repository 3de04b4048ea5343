/** A password that is changed under a running worker: the worker exits, to be restarted with the new one. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort, startRedis } from '../support/redis.ts';
import { spawnProgram, TASKS } from '../support/workers.ts';

test('not ready after half a minute, then exit code 1; started again it reads the new password', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-password-'));
  try {
    const file = join(dir, 'password');
    await writeFile(file, 'old\n');
    await using server = await startRedis({ password: 'old' });
    const admin = server.client();
    const port = await freePort();
    const args = ['--module', TASKS, '--redis', server.url, '--http-port', String(port)];
    const env = { MILLRACE_REDIS_PASSWORD_FILE: file };
    await using worker = spawnProgram(args, env);
    await worker.reports('ready');
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);

    await admin.config('SET', 'requirepass', 'new');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    expect(await worker.ended).toBe(1);
    const [last] = worker.stderr().trimEnd().split('\n').slice(-1);
    expect(last).toMatch(/^millrace-worker: Redis at .* refuses the user name or password/);

    await writeFile(file, 'new\n');
    await using second = spawnProgram(args, env);
    await second.reports('ready');
    second.signal('SIGTERM');
    expect(await second.ended).toBe(0);
    await admin.config('SET', 'requirepass', 'old');
  } finally {
    await rm(dir, { recursive: true });
  }
});
