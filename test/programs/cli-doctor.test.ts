/** `millrace doctor` on real servers that lack something. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { checkLostTasks } from '../../cli/doctor/lost-tasks.ts';
import { queueKeys } from '../../queue/keys.ts';
import { eventually } from '../support/eventually.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

function doctor(server: RedisServer, ...args: string[]): Promise<Ended> {
  return millrace(['doctor', '--redis', server.url, ...args]);
}

test('a server as it should be: all is ok, and the queue is there', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes'] });
  await server.client().lpush('tasks', 'a', 'b');
  const ended = await doctor(server, '--queue', 'tasks', '-o', 'json');
  expect(ended.code).toBe(0);
  const findings = JSON.parse(ended.stdout) as { level: string; about: string; note: string }[];
  expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
  expect(findings.map(({ about }) => about)).toEqual([
    'version',
    'persistence',
    'memory',
    'clock',
    'permissions',
    'client tracking',
    'queue tasks',
  ]);
  expect(findings.at(-1)?.note).toBe('2 waiting, 0 in flight, 0 delayed, 0 dead, 0 workers');
  expect(await server.client().dbsize()).toBe(1);
});

test('one that keeps nothing and evicts, with a key of another type: what to do, and exit 1', async () => {
  const args = ['--save', '', '--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'];
  await using server = await startRedis({ args });
  await server.client().set('task_queue', 'a string');
  const ended = await doctor(server);
  expect(ended).toMatchObject({ code: 1, stderr: '' });
  expect(ended.stdout).toMatch(/^warn {2}persistence: nothing is persisted[^\n]*\n {6}→ set appendonly yes/m);
  expect(ended.stdout).toMatch(
    /^fail {2}memory: Redis evicts keys [^\n]*\n {6}→ .*set maxmemory-policy to noeviction/m,
  );
  expect(ended.stdout).toMatch(/^fail {2}queue task_queue: the key "task_queue" is not a list/m);
  expect(ended.stdout).toMatch(/\n\n\d+ ok, 1 warning, 2 failed\n$/);
});

test('tasks in keys of workers that are not registered are found, with what to do', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes'] });
  const redis = server.client();
  const keys = queueKeys('q[1]*', 'r');
  await redis.lpush(keys.wake('w-gone'), 'lost');
  await redis.hset(keys.inflight('w-old'), '1', 'a', '2', 'b');
  // one that is registered, one whose hash remains for the move that it had begun, and one of another queue
  await redis.zadd(keys.workers, 1, 'w-1');
  await redis.lpush(keys.wake('w-1'), 'mine');
  await redis.hset(keys.worker('w-2'), 'epoch', 1);
  await redis.lpush(keys.wake('w-2'), 'mine');
  await redis.lpush(queueKeys('q[1]*x', 'r').wake('w-3'), 'theirs');
  const { stdout } = await doctor(server, '--queue', 'q[1]*', '-o', 'json');
  const findings = JSON.parse(stdout) as { level: string; note: string; todo?: string }[];
  expect(findings.filter(({ level }) => level !== 'ok')).toMatchObject([
    {
      note: '2 tasks are in "millrace:{q[1]*}:inflight:w-old", and nobody looks there: no worker w-old is registered',
      todo: "redis-cli HVALS 'millrace:{q[1]*}:inflight:w-old' shows them: push those that are still to be run, and UNLINK that key",
    },
    {
      note: '1 task is in "millrace:{q[1]*}:wake:w-gone", and nobody looks there: no worker w-gone is registered',
      todo: "put back what is there: redis-cli LMOVE 'millrace:{q[1]*}:wake:w-gone' 'q[1]*' RIGHT RIGHT",
    },
  ]);
  await redis.lmove(keys.wake('w-gone'), keys.queue, 'RIGHT', 'RIGHT');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['lost']);
});

test('what is to be typed is quoted, and lost tasks are counted', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = queueKeys("it's", 'r');
  await redis.lpush(keys.wake('w-gone'), 'two', 'one');
  const { stdout } = await doctor(server, '--queue', keys.queue, '-o', 'json');
  const { todo = '' } =
    (JSON.parse(stdout) as { note: string; todo?: string }[]).find(({ note }) =>
      note.startsWith('2 tasks'),
    ) ?? {};
  const [, command = ''] = /^put back what is there, by 2 times this: (.*)$/.exec(todo) ?? [];
  const typed = command.replace('redis-cli', `redis-cli -p ${server.port}`);
  for (let n = 0; n < 2; n++) await promisify(execFile)('bash', ['-c', typed]);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['two', 'one']);
});

test('a move that was begun and is not finished, and one that is going on', async () => {
  await using from = await startRedis({ args: ['--appendonly', 'yes'] });
  await using to = await startRedis();
  const keys = queueKeys('tiles', 'result');
  await from.client().lpush('tiles', 'one', 'two');
  // of another type: the destination refuses what comes
  await to.client().set('tiles', 'text');
  const moved = await millrace(['move', '--redis', from.url, '--queue', 'tiles', '--to', to.url, '--merge']);
  expect(moved.code).toBe(1);
  const odd = async (): Promise<string[]> => {
    const { stdout } = await doctor(from, '--queue', 'tiles', '-o', 'json');
    const findings = JSON.parse(stdout) as { level: string; note: string }[];
    return findings.flatMap(({ level, note }) => (/a move/.test(note) ? [`${level} ${note}`] : []));
  };
  expect(await odd()).toEqual([
    'warn a move of it to "tiles" was begun, and nobody goes on with it, and what it had in hand is in neither place',
  ]);
  await from.client().hset(keys.move, 'ends', Date.now() + 3_600_000);
  expect(await odd()).toEqual(['ok a move of it to "tiles" is going on']);
  await from.client().hset(keys.move, 'to', '[[{"toString":1}]]', 'ends', 'soon');
  expect(await odd()).toEqual([expect.stringContaining('a move of it to another place was begun')]);
});

test('the tasks of a worker that gives them back and leaves meanwhile are not lost', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = queueKeys('tiles', 'r');
  await redis.zadd(keys.workers, 1, 'w-1');
  await redis.lpush(keys.wake('w-1'), 'task');
  const zscore = redis.zscore.bind(redis);
  Object.assign(redis, {
    zscore: async (key: string, member: string) => {
      await redis.multi().lmove(keys.wake('w-1'), keys.queue, 'RIGHT', 'RIGHT').zrem(key, member).exec();
      return await zscore(key, member);
    },
  });
  expect(await checkLostTasks([keys], () => redis)).toEqual([]);
  expect(await redis.llen(keys.queue)).toBe(1);
});

test('for a user with too few permissions, the missing ones are reported, and nothing is written', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const rights = ['on', '>secret', '~task_queue', '~result', '~millrace:*', '+@all'];
  await redis.call('ACL', 'SETUSER', 'limited', ...rights, '-blmove', '-client|list', '-client|tracking');
  const url = server.url.replace('redis://', 'redis://limited:secret@');
  const ended = await millrace(['doctor', '--redis', url]);
  expect(ended.code).toBe(1);
  expect(ended.stdout).toMatch(
    /^fail {2}permissions: BLMOVE refused \(NOPERM [^\n]*\n {6}→ allow user limited /m,
  );
  expect(ended.stdout).toMatch(/^warn {2}permissions: CLIENT LIST refused: the tasks of a dead pod/m);
  expect(ended.stdout).toMatch(/^warn {2}client tracking: refused/m);
  const other = await millrace(['doctor', '--redis', url, '--queue', 'other']);
  expect(other.stdout).toMatch(/permissions: [^\n]*LPUSH[^\n]* refused/);
  expect(await redis.dbsize()).toBe(0);
});

test('a user without MULTI and CONFIG, as on the page on security: checked all the same, and nothing is made up', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const rights = [
    'on',
    '>secret',
    '~task_queue',
    '~result',
    '~millrace:*',
    '&*',
    '+@all',
    '-multi',
    '-config',
  ];
  await redis.call('ACL', 'SETUSER', 'app', ...rights);
  const url = server.url.replace('redis://', 'redis://app:secret@');
  const ended = await millrace(['doctor', '--redis', url]);
  expect(ended.stdout).toMatch(/^warn {2}persistence: no append-only file; snapshots unknown/m);
  expect(ended.stdout).toMatch(/^ok {4}permissions: user app has all that Millrace needs/m);
  await redis.call('ACL', 'SETUSER', 'app', '-lpush', '-client|list');
  const less = await millrace(['doctor', '--redis', url]);
  expect(less.stdout).toMatch(/^fail {2}permissions: LPUSH refused \(NOPERM\)/m);
  expect(less.stdout).toMatch(/^warn {2}permissions: CLIENT LIST refused/m);
  expect(await redis.dbsize()).toBe(0);
});

test('a server whose snapshots fail replies: it can be inspected, and a push reports the problem', async () => {
  await using server = await startRedis({ args: ['--save', '3600 1000000'] });
  const redis = server.client();
  await mkdir(join(server.dir, 'dump.rdb'));
  await redis.bgsave();
  await eventually(async () =>
    expect(await redis.info('persistence')).toContain('rdb_last_bgsave_status:err'),
  );
  const ended = await doctor(server);
  expect(ended.stdout).toMatch(/^fail {2}persistence: the last snapshot failed/m);
  expect(ended.stdout).toMatch(/^ok {4}permissions: /m);
  const inspected = await millrace(['inspect', '--redis', server.url]);
  expect(inspected.code).toBe(0);
  const pushed = await millrace(['enqueue', 'a', '--redis', server.url]);
  expect(pushed).toMatchObject({ code: 1 });
  expect(pushed.stderr).toMatch(
    /accepts no writes because its snapshots fail: check its log and its disk \(MISCONF/,
  );
});

test('a server that is away is one finding', async () => {
  const port = await freePort();
  const ended = await millrace(['doctor', '--redis', `redis://127.0.0.1:${port}`]);
  expect(ended).toMatchObject({ code: 1, stderr: '' });
  expect(ended.stdout).toMatch(/^fail {2}Redis: Redis at 127\.0\.0\.1:\d+ refuses connections/);
});
