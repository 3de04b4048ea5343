/**
 * Credentials that an operator rotates under load, with the steps of docs/redis-credentials.md: the password of a user, then the
 * certificates of server and clients with their authority. Workers are whole programs that read files, as in a pod. No worker is
 * restarted or loses its lease, and each task is run once. One whose password is in a variable exits, to be restarted with the new one.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LogEvent } from '../../runtime/log-event.ts';
import { makeCertificates } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { mountSecret } from '../support/mounted-secret.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { spawnProgram, TASKS } from '../support/workers.ts';

const USER = 'millrace';
/** `no` for a build without TLS (test/matrix/newest.ts): there is only a password to rotate. */
const HAS_TLS = process.env['MILLRACE_TEST_TLS'] !== 'no';

/** Pushes small tasks until it is stopped, straight to the server. Resolves to the ids of all. */
function startLoad(server: RedisServer, queue: string) {
  const redis = server.client();
  const ids: string[] = [];
  let over = false;
  const loaded = (async () => {
    while (!over) {
      const id = `t${ids.length}`;
      await redis.lpush(queue, JSON.stringify({ id, sleepMs: 5 }));
      ids.push(id);
      await new Promise((resolve) => void setTimeout(resolve, 5));
    }
    return ids;
  })();
  // of a test that fails before it stops the load
  loaded.catch(() => undefined);
  const stop = (): Promise<string[]> => {
    over = true;
    return loaded;
  };
  return { stop, pushed: () => ids.length };
}

/** Texts of the certificates in a folder. */
async function pemsIn(dir: string): Promise<{ ca: string; cert: string; key: string }> {
  const text = (file: string): Promise<string> => readFile(join(dir, file), 'utf8');
  return { ca: await text('ca.crt'), cert: await text('redis.crt'), key: await text('redis.key') };
}

test.concurrent('a password, then the certificates: nothing is lost, run twice or restarted', async () => {
  await using server = await startRedis(HAS_TLS ? { tls: 'mutual' } : {});
  const { dir, url } = server;
  if (!HAS_TLS) await makeCertificates(dir);
  const keys = freshKeys();
  const admin = server.client();
  await admin.call('ACL', 'SETUSER', USER, 'on', '>old', '~*', '&*', '+@all');
  const nextDir = join(dir, 'next');
  await mkdir(nextDir);
  await makeCertificates(nextDir);
  const [first, next] = [await pemsIn(dir), await pemsIn(nextDir)];
  const both = `${first.ca}\n${next.ca}`;
  await writeFile(join(dir, 'both.crt'), both);
  await using secret = await mountSecret({ password: 'old', ...first });
  const args = ['--module', TASKS, '--redis', url, '--redis-username', USER, '--concurrency', '3'];
  const env = {
    MILLRACE_QUEUE: keys.queue,
    MILLRACE_RESULT: keys.result,
    MILLRACE_REDIS_PASSWORD_FILE: secret.path('password'),
    ...(HAS_TLS && {
      MILLRACE_REDIS_TLS_CA_FILE: secret.path('ca'),
      MILLRACE_REDIS_TLS_CERT_FILE: secret.path('cert'),
      MILLRACE_REDIS_TLS_KEY_FILE: secret.path('key'),
    }),
  };
  await using one = spawnProgram([...args, '--id', 'one'], env);
  await using two = spawnProgram([...args, '--id', 'two'], env);
  const workers = [one, two];
  await Promise.all(workers.map((worker) => worker.reports(LogEvent.Ready)));

  const load = startLoad(server, keys.queue);
  /** Ends all connections of the workers, and waits until tasks are done again. */
  const cut = async (): Promise<void> => {
    await admin.call('CLIENT', 'KILL', 'USER', USER);
    const later = `t${load.pushed() + 20}`;
    await eventually(async () => expect(await admin.hexists(keys.result, later)).toBe(1));
  };
  let times = 0;
  const replace = async (files: Record<string, string>): Promise<void> => {
    await secret.replace(files);
    times++;
    await Promise.all(workers.map((worker) => worker.reports(LogEvent.CredentialsRenewed, times)));
  };
  const configure = (ca: string, of: string): Promise<unknown> =>
    admin.call('CONFIG', [
      'SET',
      'tls-ca-cert-file',
      ca,
      'tls-cert-file',
      join(of, 'redis.crt'),
      'tls-key-file',
      join(of, 'redis.key'),
    ]);

  // the password
  await admin.call('ACL', 'SETUSER', USER, '>new');
  await replace({ password: 'new', ...first });
  await admin.call('ACL', 'SETUSER', USER, '<old');
  await cut();
  if (HAS_TLS) {
    // all trust both authorities, then the server has a certificate of the new one, then the clients, then the old one is gone
    await replace({ password: 'new', ...first, ca: both });
    await configure(join(dir, 'both.crt'), nextDir);
    await cut();
    await replace({ password: 'new', ...next, ca: both });
    await cut();
    await configure(join(nextDir, 'ca.crt'), nextDir);
    await replace({ password: 'new', ...next });
    await cut();
  }

  const ids = await load.stop();
  await eventually(async () => expect(await admin.hlen(keys.result)).toBe(ids.length));
  const results = new Set(await admin.hvals(keys.result));
  expect(results).toEqual(new Set([JSON.stringify({ attempt: 1 })]));
  for (const worker of workers) {
    const events = worker.log.map(({ event }) => event);
    expect(events.filter((event) => event === LogEvent.Registered)).toHaveLength(1);
    expect(events).not.toContain(LogEvent.CredentialsRefused);
    worker.signal('SIGTERM');
    expect(await worker.ended).toBe(0);
  }
  if (HAS_TLS) await configure(join(dir, 'ca.crt'), dir);
});

test.concurrent('a password in a variable: not ready after half a minute, then exit code 1; started again it has the new password', async () => {
  await using server = await startRedis({ password: 'old' });
  const admin = server.client();
  const port = await freePort();
  const args = ['--module', TASKS, '--redis', server.url, '--http-port', String(port)];
  await using worker = spawnProgram(args, { MILLRACE_REDIS_PASSWORD: 'old' });
  await worker.reports('ready');
  expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);

  await admin.config('SET', 'requirepass', 'new');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503));
  expect(await worker.ended).toBe(1);
  const [last] = worker.stderr().trimEnd().split('\n').slice(-1);
  expect(last).toMatch(/^millrace-worker: Redis at .* refuses the user name or password/);

  await using second = spawnProgram(args, { MILLRACE_REDIS_PASSWORD: 'new' });
  await second.reports('ready');
  second.signal('SIGTERM');
  expect(await second.ended).toBe(0);
  await admin.config('SET', 'requirepass', 'old');
});
