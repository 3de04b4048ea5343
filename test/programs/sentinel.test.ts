/** Sentinels with TLS and a user of their own, before a primary with TLS and a password: worker, `dev`, CLI and library. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openQueue } from '../../queue/queue.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { MILLRACE, millrace, start } from '../support/millrace.ts';
import { startRedis } from '../support/redis.ts';
import { startOneSentinel } from '../support/sentinel.ts';
import { spawnProgram, TASKS } from '../support/workers.ts';

test('TLS and passwords everywhere: worker, dev, commands, doctor and library', async () => {
  await using redis = await startRedis({ tls: 'server', password: 'secret' });
  const user = { name: 'watch', password: 'own' };
  const passwords = { password: 'known-to-nobody', primaryPassword: 'secret' };
  const one = { primary: redis, name: 'main', tlsFrom: redis.dir, user, ...passwords };
  await using sentinel = await startOneSentinel(one);
  const env = {
    MILLRACE_REDIS_SENTINEL: sentinel.node,
    MILLRACE_REDIS_SENTINEL_NAME: 'main',
    MILLRACE_REDIS_SENTINEL_USERNAME: 'watch',
    MILLRACE_REDIS_SENTINEL_PASSWORD: 'own',
    MILLRACE_REDIS_PASSWORD: 'secret',
    MILLRACE_REDIS_TLS_CA_FILE: join(redis.dir, 'ca.crt'),
  };
  const run = (...args: string[]): ReturnType<typeof millrace> => millrace(args, { env });

  const worker = spawnProgram(['--module', TASKS], env);
  try {
    await worker.reports(LogEvent.Ready);
    const waited = await run('enqueue', 'by the command', '--wait');
    expect(waited).toMatchObject({ code: 0, stdout: expect.stringContaining('by the command') });
    const address = {
      sentinel: { name: 'main', nodes: [sentinel.node], username: 'watch', password: 'own' },
      password: 'secret',
      tls: redis.address.tls,
    };
    await using queue = openQueue({ redis: address });
    expect(await queue.result(await queue.enqueue('by the library'))).toBe('by the library');
    worker.signal('SIGTERM');
    expect(await worker.ended).toBe(0);

    await using dev = start(MILLRACE, ['dev', '--module', TASKS, '--no-dashboard'], { env });
    await dev.prints(/0 to \d+ workers/);
    expect(await queue.result(await queue.enqueue('for dev'))).toBe('for dev');
    dev.child.kill('SIGTERM');
    await dev.ended;
  } finally {
    await worker[Symbol.asyncDispose]();
  }

  const doctor = await run('doctor');
  expect(doctor.stderr).toBe('');
  expect(doctor.stdout).toMatch(/^warn {2}sentinels: primary 127\.0\.0\.1:\d+ has no replica\n {6}→ /m);
  expect(doctor.stdout).toMatch(/^ok {4}queue task_queue: 0 waiting/m);
  const away = await millrace(['doctor'], { env: { ...env, MILLRACE_REDIS_SENTINEL_PASSWORD: 'wrong' } });
  expect(away).toMatchObject({ code: 1 });
  expect(away.stdout).toMatch(/^fail {2}Redis: .*the sentinels refuse the password: give theirs/);
});
