/**
 * The Redis user of docs/security.md, as documented: worker, controller, library and command line work with it, nothing is
 * refused, and none of its permissions is unused.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createMemoryStore } from '../../controller/records/memory-store.ts';
import { noMemory } from '../../controller/decide/decision.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { putDecision, readDecisions } from '../../queue/pool/decisions.ts';
import { readExitReason, writeExitReason } from '../../queue/workers/exit-reason.ts';
import { readWorkerRecords } from '../../queue/workers/worker-connections.ts';
import { sources } from '../../queue/scripts/lua.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { reap } from '../../queue/workers/reap.ts';
import { tendBatches } from '../../queue/workers/sweep.ts';
import { readTimeline } from '../../queue/pool/timeline.ts';
import { eventually } from '../support/eventually.ts';
import { MILLRACE, start } from '../support/millrace.ts';
import { startRedis } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { startHandWorker } from '../support/turns.ts';
import { TASKS } from '../support/workers.ts';

const document = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8');

/** The commands that a part of the document allows. */
function rulesIn(part: RegExp): string[] {
  return Array.from((part.exec(document)?.[0] ?? '').matchAll(/\+([a-z]+)/g), ([, name = '']) => name);
}

/** The rules of a user in the document: `user <name> on >password …`, over several lines. */
function rulesOf(user: string): string[] {
  const [, rules = ''] = new RegExp(`^ACL SETUSER ${user} ([^\`]+)^\`\`\``, 'm').exec(document) ?? [];
  return rules.split(/[\s\\]+/).filter((rule) => rule !== '');
}

/** The commands that scripts name, of those that the server has. Scripts that are about another library's keys have users of their own. */
async function commandsOfScripts(admin: Redis): Promise<Map<string, string>> {
  const known = new Set(((await admin.call('COMMAND')) as [string][]).map(([name]) => name));
  const found = new Map<string, string>();
  for (const [name, lua] of Object.entries(sources))
    for (const [, word = ''] of lua.matchAll(/'([A-Z]{3,})'/g))
      if (known.has(word.toLowerCase()) && !/^(?:ask|celery)/.test(name)) found.set(word.toLowerCase(), name);
  return found;
}

/** `client|id` for `cmdstat_client|id:calls=…`. */
async function called(admin: Redis): Promise<string[]> {
  return Array.from(
    (await admin.info('commandstats')).matchAll(/^cmdstat_([^:]+):/gm),
    ([, name = '']) => name,
  );
}

/** The id of the connection that tracks keys; 0 for none. */
async function trackingClient(admin: Redis): Promise<number> {
  const found = /^id=(\d+) .* flags=\w*t/m.exec(String(await admin.client('LIST')));
  return Number(found?.[1] ?? 0);
}

/** A worker that is lost with a task in its hands. */
async function loseOne(url: string, queue: Queue): Promise<void> {
  const redis = defineScripts(openRedis({ url }));
  try {
    const worker = await startHandWorker(redis, queue.keys);
    await queue.enqueue({ id: 'held' });
    await worker.turn({ want: 1 });
    expect(await reap(redis, queue.keys, worker.id, 'any', 'lost')).toBe(1);
  } finally {
    await closeRedis(redis);
  }
}

test('the user for Millrace may do what it needs, and nothing else', async () => {
  await using server = await startRedis();
  const admin = server.client();
  const rules = rulesOf('millrace');
  expect(rules.length).toBeGreaterThan(40);
  await admin.call('ACL', 'SETUSER', 'millrace', ...rules);
  await admin.config('RESETSTAT');
  // a database of its own, so that selecting it is among what is used
  const url = `${server.url.replace('redis://', 'redis://millrace:secret@')}/3`;
  const where = ['--redis', url];

  // the controller's loop over local workers, with what it learns
  await using pool = start(MILLRACE, [
    'dev',
    ...where,
    '--module',
    TASKS,
    '--max',
    '2',
    '--target-wait',
    '200ms',
  ]);
  await pool.prints(/0 to 2 workers/, 60_000);
  await using queue = openQueue({ redis: url });
  const many = Array.from({ length: 40 }, (_, i) => ({ id: `t${i}`, sleepMs: 20 }));
  await queue.enqueueMany(many);
  await queue.enqueue({ id: 'later' }, { delayMs: 200 });
  await queue.enqueue({ id: 'again', failures: 1 });
  await queue.enqueue({ id: 'broken', fail: 'no', final: true });
  await queue.enqueue({ id: 'hangs', sleepMs: 60_000 });
  expect(await queue.result('again', { timeoutMs: 60_000 })).toContain('attempt');
  expect(await queue.result('later', { timeoutMs: 60_000 })).toContain('attempt');
  await Promise.all(many.map(({ id }) => queue.result(id, { timeoutMs: 60_000 })));
  await eventually(async () => expect((await queue.inspect()).inFlight).toBe(1), { withinMs: 60_000 });
  await queue.cancel('hangs');
  await expect(queue.result('hangs', { timeoutMs: 60_000 })).rejects.toThrow(/cancelled/);
  await queue.progress('t1');
  await queue.pause('a test');
  await queue.inspect();
  await queue.resume();
  await queue.dead.requeue('all');
  await queue.dead.drop('all');
  const following = { id: 'b', then: { id: 'after' }, onFailure: 'cancel' } as const;
  await queue.batch([{ id: 'one' }, { id: 'two', fail: 'no', final: true }], following);
  await expect(queue.result('after', { timeoutMs: 60_000 })).rejects.toThrow(/part two/);
  await queue.batch([{ id: 'slow', sleepMs: 60_000 }], { id: 'still' });
  // what only the controller in a cluster does
  await using sampling = sample({ url }, { pollMs: 50 });
  sampling.sampler.add('p', [queue.keys]);
  await eventually(() => expect(sampling.sampler.wakeMode).toBe('Tracking'));
  const first = await trackingClient(admin);
  await admin.client('KILL', 'ID', first);
  await eventually(async () => expect(await trackingClient(admin)).toBeGreaterThan(first));
  await eventually(() => expect(sampling.sampler.wakeMode).toBe('Tracking'));
  const redis = defineScripts(openRedis({ url }));
  try {
    await tendBatches(redis, queue.keys, 0);
    expect(await queue.batch.cancel('still')).toBe('cancelled');
    expect((await queue.batch.list()).map(({ id }) => id)).toEqual(['still', 'b']);
    await readWorkerRecords(redis, [{ keys: queue.keys, worker: 'w' }]);
    await writeExitReason(redis, queue.keys, 'w', 'OOMKilled');
    expect(await readExitReason(redis, queue.keys, 'w', 0)).toBe('OOMKilled');
    const store = createMemoryStore(pino({ level: 'silent' }));
    await readTimeline(redis, queue.keys, 'shop/tiles');
    await putDecision(redis, queue.keys, 'shop/tiles', { head: '{', text: '{}' });
    // as when the reasons change and the number does not
    await putDecision(redis, queue.keys, 'shop/tiles', { head: '{', text: '{}' });
    await readDecisions(redis, queue.keys, 'shop/tiles', 1);
    // as the finalizer of a deleted pool does
    await redis.unlink(queue.keys.memory('shop/tiles'), queue.keys.timeline('shop/tiles'));
    await store.recall('shop/tiles', { sampler: sampling.sampler, queues: [queue.keys] }, noMemory, 0);
  } finally {
    await closeRedis(redis);
  }
  await eventually(async () => expect(pool.stdout()).toMatch(/→0: /));
  pool.child.kill('SIGINT');
  expect((await pool.ended).code).toBe(0);
  await loseOne(url, queue);

  expect(await admin.call('ACL', 'LOG')).toEqual([]);
  const allowed = rules.filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1));
  const used = new Set(await called(admin));
  const rarely = rulesIn(/^On Redis 7\.4 [\s\S]+?\n\n/m);
  for (const [command, of] of await commandsOfScripts(admin))
    expect(`${of}: ${command} ${[...allowed, ...rarely].includes(command)}`).toBe(`${of}: ${command} true`);
  expect(allowed.filter((command) => !used.has(command))).toEqual([]);

  // it tries more than it needs, which may be refused
  const doctor = await start(MILLRACE, ['doctor', ...where]).ended;
  expect(doctor.stdout).toMatch(/^ok {4}permissions: this user has all that Millrace needs/m);
});

test('a plain client needs four commands and two keys', async () => {
  await using server = await startRedis();
  await server.client().call('ACL', 'SETUSER', 'shop', ...rulesOf('shop'));
  const redis = openRedis({ url: server.url.replace('redis://', 'redis://shop:secret@') });
  try {
    expect(await redis.lpush('task_queue', 'a')).toBe(1);
    expect(await redis.hget('result', 'a')).toBeNull();
    await expect(redis.hget('millrace:{task_queue}:stats', 'completed')).rejects.toThrow(/NOPERM/);
    await expect(redis.rpop('task_queue')).rejects.toThrow(/NOPERM/);
  } finally {
    await closeRedis(redis);
  }
});
