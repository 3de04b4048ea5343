/** One suite over all sources, each with its own library and real workers: what is counted, what wakes, who holds what. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { occupancyOf } from '../../controller/act/source-occupancy.ts';
import type { Member } from '../../controller/act/target.ts';
import { queueKeys } from '../../queue/keys.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { boundedClient } from '../support/bounded.ts';
import { eventually } from '../support/eventually.ts';
import { sample, type Sampling } from '../support/sampling.ts';
import { bullMqCases } from './bullmq.ts';
import { asynqCase } from './asynq.ts';
import { rqCase } from './rq.ts';
import { cases, openScene } from './cases.ts';
import type { LibraryCase } from './library.ts';

/** Everything that is in the database, by key. */
async function contents(redis: Redis): Promise<Record<string, string>> {
  const keys = (await redis.keys('*')).toSorted();
  const dumps = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
  return Object.fromEntries(keys.map((key, i) => [key, dumps[i]?.toString('hex') ?? '']));
}

/** Resolves when nothing was read for a while: what is seen after that was woken. */
async function quiet({ seen }: Sampling): Promise<void> {
  await eventually(async () => {
    const before = seen.length;
    await delay(200);
    expect(seen.length).toBe(before);
  });
}

/** The arguments of ACL SETUSER in docs/sources.md, for keys of this pattern. */
function documentedUser(name: string, keys: string): string[] {
  const document = readFileSync(join(import.meta.dirname, '../../docs/sources.md'), 'utf8');
  const [, rules = ''] = new RegExp(`^ACL SETUSER ${name} ([^\`]+)^\`\`\``, 'm').exec(document) ?? [];
  const [own = '', selector = ''] = rules.replaceAll('\\\n', ' ').split('(');
  const words = own.split(/\s+/).filter((word) => word !== '');
  // its source is part of the names of our own keys
  const mine = words.map((word) => word.replace('{bullmq:', '{*:'));
  return [name, ...mine, `(${selector.trim().replace('bull:*', keys).replaceAll(/\s+/g, ' ')}`];
}

/** Commands by which the main key of a library is counted. */
const TYPES = new Set<string>(['LLEN', 'ZCARD', 'XINFO GROUPS']);

const member = (id: string): Member => ({ id, ready: true, created: 0, going: false });

describe.concurrent.each(cases)('$name', (one) => {
  const kind = Object.keys(one.settings)[0] ?? '';
  const delays = !one.noDelays;
  const counts = !one.hidesRunning;

  test('what waits, runs and is delayed is counted, and what is due without a worker', async () => {
    await using scene = await openScene(one);
    const { library, sees } = scene;
    await library.push(3);
    await sees({ waiting: 3, inFlight: 0, delayed: 0 });
    const worker = await library.work('pod-1');
    const ahead = one.prefetched ?? 0;
    await sees({ waiting: 2 - ahead, inFlight: counts ? 1 + ahead : 0 });
    await library.release(3);
    await sees({ waiting: 0, inFlight: 0 });
    await worker.stop();
    if (!delays) return;
    const before = Date.now();
    await library.push(1, 3_600_000);
    await sees({ delayed: 1, due: 0 });
    const { sample: later } = await readSource(scene.redis, scene.source, 3_700_000);
    expect(later).toMatchObject({ dueSoon: 1, due: 0 });
    // some libraries keep whole seconds
    expect((later.nextDue ?? 0) - before).toBeGreaterThan(3_599_000);
    expect((later.nextDue ?? 0) - later.now).toBeLessThanOrEqual(3_600_000);
    await library.push(1, 10);
    // of arq, workers take what is due from where it was
    await sees(kind === 'arq' ? { delayed: 1, waiting: 1 } : { delayed: 2, due: 1, waiting: 0 });
  });

  test('a push wakes a pool that is not polled, and so does a delayed task when it falls due', async () => {
    await using scene = await openScene(one);
    const { library, server, source } = scene;
    // once, so that the queue is there
    const worker = await library.work('pod-1');
    await library.push(1);
    await library.release(1);
    await scene.sees({ waiting: 0, inFlight: 0 });
    await worker.stop();
    await using sampling = sample(server.address, { safetyMs: 3_600_000 });
    const { sampler, woken } = sampling;
    sampler.add('p', [queueKeys('records', 'result')], source);
    sampler.setActive('p', false, 0);
    await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
    await eventually(() =>
      expect(sampler.latest('p')).toMatchObject({ kind: 'known', sample: { waiting: 0 } }),
    );
    await quiet(sampling);
    const wakes = woken.length;
    await library.push(1);
    await eventually(() => expect(sampler.latest('p')).toMatchObject({ sample: { waiting: 1 } }));
    expect(woken.length).toBeGreaterThan(wakes);
    if (!delays) return;
    const last = await library.work('pod-2');
    await library.release(1);
    sampler.setActive('p', true, 0);
    await eventually(() =>
      expect(sampler.latest('p')).toMatchObject({ sample: { waiting: 0, inFlight: 0 } }),
    );
    await last.kill();
    sampler.setActive('p', false, 0);
    await quiet(sampling);
    await library.push(1, 1_500);
    await eventually(() =>
      expect(sampler.latest('p')).toMatchObject({ sample: kind === 'arq' ? { waiting: 1 } : { due: 1 } }),
    );
  });

  test('a task of a killed worker is work that is left', async () => {
    await using scene = await openScene(one);
    const worker = await scene.library.work('pod-1');
    await scene.library.push(1);
    await scene.sees({ waiting: 0, inFlight: counts ? 1 : 0 });
    await worker.kill();
    await scene.sees({ waiting: 0, inFlight: counts && !one.losesTasks ? 1 : 0 });
  });

  test('the pod of the worker that holds a task is known, and so is one whose worker holds none', async () => {
    await using scene = await openScene(one);
    const { library, server, source } = scene;
    const { holding } = source;
    if (holding.by !== 'worker') {
      expect(holding.by).toBe(counts ? 'count' : 'nobody');
      return;
    }
    await library.work('pod-1');
    await library.push(1);
    await scene.sees({ waiting: 0, inFlight: 1 });
    await library.work('pod-2');
    await using controller = await boundedClient(server);
    const { redis } = controller;
    await eventually(async () => {
      const found = await holding.readWorkers(createAsk(redis), redis);
      const members = ['pod-1', 'pod-2', 'pod-3'].map(member);
      const occupancy = occupancyOf(members, found);
      expect(members.map(({ id }) => [occupancy.get(id)?.tasks, occupancy.get(id)?.idle])).toEqual([
        [1, false],
        [0, true],
        // no worker is known there: it is an idle one only where the holders of all tasks are known
        [0, found.complete ?? false],
      ]);
    });
    await library.release(1);
  });

  test('a read changes nothing', async () => {
    await using scene = await openScene(one);
    const { library, redis, source } = scene;
    await library.push(3);
    await scene.sees({ waiting: 3 });
    const before = await contents(redis);
    await readSource(redis, source, 60_000);
    expect(await contents(redis)).toEqual(before);
  });

  test('the user of the documentation may read it, and write nothing there', async () => {
    await using scene = await openScene(one);
    const { library, redis, server, source } = scene;
    const name = one.user ?? 'millrace';
    const user = documentedUser(name, one.keys);
    await redis.call('ACL', 'SETUSER', ...user);
    await library.push(1);
    await using sampling = sample({ ...server.address, username: name, password: 'secret' });
    const { sampler } = sampling;
    sampler.add('p', [queueKeys(`${kind}:mail`, 'result')], source);
    await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
    await eventually(() => expect(sampler.latest('p')).toMatchObject({ sample: { waiting: 1 } }));
    const worker = await library.work('pod-1');
    await library.release(1);
    await eventually(() => expect(sampler.latest('p')).toMatchObject({ sample: { waiting: 0 } }));
    const { holding } = source;
    const own = sampler.redisOf(queueKeys(`${kind}:mail`, 'result'));
    if (holding.by === 'worker') await holding.readWorkers(createAsk(own), own);
    // with its keys tracked
    sampler.setActive('p', false, 0);
    await quiet(sampling);
    await worker.stop();
    expect(await redis.call('ACL', 'LOG')).toEqual([]);
    const list = one.keys.replace('*', ':list');
    expect(await redis.call('ACL', 'DRYRUN', name, 'LLEN', list)).toBe('OK');
    expect(String(await redis.call('ACL', 'DRYRUN', name, 'LPUSH', list, 'a'))).toMatch(/no permissions/);
  });

  test('a key of another type is named, and nothing is touched', async () => {
    await using scene = await openScene(one);
    const { library, redis, source } = scene;
    await library.push(1);
    await scene.sees({ waiting: 1 });
    const { watched } = await readSource(redis, source, 0);
    const { question } = watched.find(({ question: { command } }) => TYPES.has(command)) ?? {
      question: { key: '' },
    };
    await redis.del(question.key);
    await redis.set(question.key, 'something else');
    await expect(readSource(redis, source, 0)).rejects.toThrow(
      new RegExp(
        `^the key "${question.key}" is not (a list|a sorted set|a stream) \\([A-Z ]+ reads? it\\): nothing was touched`,
      ),
    );
    expect(await redis.get(question.key)).toBe('something else');
  });
});

/** An empty queue of the others leaves no key, and looks like one that was never there. */
const isKnownByName = ({ settings, hidesRunning }: LibraryCase): boolean =>
  !hidesRunning && !settings.custom && !settings.saq && !settings.arq;

test.concurrent.for(cases.filter(isKnownByName))(
  '$name: a queue that nobody has opened is reported, and read once it is there',
  async (one) => {
    await using scene = await openScene(one);
    const { library, redis, source } = scene;
    await expect(readSource(redis, source, 0)).rejects.toMatchObject({ kind: 'NotFound' });
    await library.push(1);
    await scene.sees({ waiting: 1 });
  },
);

test.concurrent.for([asynqCase, ...bullMqCases, rqCase])(
  '$name: what waits in a paused queue asks for no replicas',
  async (one) => {
    await using scene = await openScene(one);
    const { library } = scene;
    await library.push(2);
    await library.pause?.(true);
    await library.push(1);
    await scene.sees({ waiting: 3, paused: true });
    const { sample: paused } = await readSource(scene.redis, scene.source, 0);
    expect(paused.runnable.waiting).toBe(0);
    await library.pause?.(false);
    await scene.sees({ waiting: 3, paused: false });
  },
);

test.concurrent.for(bullMqCases)(
  '$name: what waits beyond a limit of the queue asks for no replicas',
  async (one) => {
    await using scene = await openScene(one);
    const { library, redis, source } = scene;
    const runnable = async (): Promise<object> => (await readSource(redis, source, 0)).sample.runnable;
    await library.limit?.(2);
    await library.push(3, 10);
    await scene.sees({ waiting: 0, due: 3, blocked: 1 });
    expect(await runnable()).toMatchObject({ waiting: 0, due: 2 });
    await library.push(4);
    await scene.sees({ waiting: 4, due: 3, blocked: 5 });
    expect(await runnable()).toMatchObject({ waiting: 2, due: 0 });
    await library.work('pod-1');
    await scene.sees({ inFlight: 1, blocked: 5 });
    expect(await runnable()).toMatchObject({ waiting: 1, due: 0 });
  },
);
