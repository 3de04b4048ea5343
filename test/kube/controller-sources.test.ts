/**
 * Each source on a real API server, with its sample manifest and its own library as the client: a pool is woken from zero, tells what
 * it counts and why, and holds its replicas, with the reason, when the keys are not what they were. The library's keys stay as
 * they are. What becomes of pods with workers is in controller-source.test.ts and test/sources/.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { Redis } from 'ioredis';
import { beforeEach, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf, type SourceSettings } from '../../queue/sources/sources.ts';
import { firstCases } from '../sources/cases.ts';
import type { LibraryCase } from '../sources/library.ts';
import { eventually } from '../support/eventually.ts';
import { millrace } from '../support/millrace.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, type Json } from '../support/world.ts';

const bounded = { withinMs: 20_000, everyMs: 50 };
const samples = join(import.meta.dirname, '../../manifests/samples');
const stage = useStage({ deployments: true });

beforeEach(async () => void (await stage.redis.flushall()));

type Kind = keyof SourceSettings;
const kindOf = ({ settings }: LibraryCase): Kind => Object.keys(settings)[0] as Kind;

/** What makes a layout that is not known out of this one, and how it is undone. */
const unknownLayouts: { readonly [K in Kind]?: (redis: Redis) => Promise<() => Promise<unknown>> } = {
  asynq: async (redis) => {
    await redis.zadd('asynq:{mail}:deadlines', 1, 'task');
    return () => redis.del('asynq:{mail}:deadlines');
  },
  bullmq: async (redis) => {
    const version = await redis.hget('bull:mail:meta', 'version');
    await redis.hset('bull:mail:meta', 'version', 'bullmq:3.1.0');
    return () => redis.hset('bull:mail:meta', 'version', version ?? '');
  },
  celery: async (redis) => {
    await redis.rpush('mail', '{"class":"Mailer","args":[]}');
    return () => redis.rpop('mail');
  },
  sidekiq: async (redis) => {
    await redis.sadd('processes', 'pod:1:abc');
    await redis.hset('pod:1:abc', 'info', '{"queues":["mail"],"version":"9.0.0"}');
    return () => redis.del('processes', 'pod:1:abc');
  },
};

/** A queue that nobody has opened, where a library has a record of its queues. */
const nowhere: { readonly [K in Kind]?: object } = {
  asynq: { queues: ['nothing'] },
  bullmq: { queues: ['nothing'] },
  celery: { queues: ['nothing'] },
  rq: { queues: ['nothing'] },
  sidekiq: { queues: ['nothing'] },
  stream: { keys: ['nothing'] },
};

/** Everything that is not a record of Millrace, by key. */
async function othersKeys(redis: Redis): Promise<Record<string, string>> {
  const keys = (await redis.keys('*')).filter((key) => !key.startsWith('millrace:')).toSorted();
  const dumps = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
  return Object.fromEntries(keys.map((key, i) => [key, dumps[i]?.toString('hex') ?? '']));
}

/** Takes out what waits, as a worker that is gone again: there is none here. Returns the key. */
async function empty(redis: Redis, settings: SourceSettings): Promise<string> {
  const { watched } = await readSource(redis, sourceOf(settings), 0);
  const full = watched.filter(
    ({ question: { command }, reply }) => /^[A-Z]+(LEN|CARD)$/.test(command) && reply !== '0',
  );
  for (const { question } of full) await redis.del(question.key);
  const { queues = [], group: ofTaskiq } = settings.taskiq ?? {};
  const { keys: [stream] = ofTaskiq === undefined ? [] : queues, group = ofTaskiq ?? '' } =
    settings.stream ?? {};
  if (stream !== undefined) await redis.xgroup('SETID', stream, group, '$');
  return full[0]?.question.key ?? stream ?? '';
}

interface Applied {
  readonly pool: ObjectRef;
  readonly deployment: ObjectRef;
}

/** The sample of this kind, on the stage's Redis; `custom`'s is also that of a list. */
async function apply(namespace: string, kind: Kind, own: object, replicas: number): Promise<Applied> {
  const file = join(samples, `${kind}.yaml`);
  const text = readFileSync(existsSync(file) ? file : join(samples, 'custom.yaml'), 'utf8');
  const [deployment, pool] = parseAllDocuments(text).map((document) => document.toJS() as Json & Manifest);
  if (!deployment || !pool) throw new Error(`${file} does not have a Deployment and a pool`);
  const suffix = replicas === 0 ? '' : '-nowhere';
  const name = `${deployment.metadata.name}${suffix}`;
  const source = { [kind]: { ...pool.spec.source?.[kind], ...own } };
  // nothing goes while the test looks
  const each = pool.spec.scaling?.['tasksPerReplica'] === undefined ? {} : { tasksPerReplica: 1 };
  const scaling = { ...pool.spec.scaling, ...each, scaleDown: { window: '1h' } };
  const { objects, redis } = stage.world;
  await objects.create(DEPLOYMENTS, namespace, {
    ...deployment,
    metadata: { name },
    spec: { ...deployment.spec, replicas },
  });
  await objects.create(POOLS, namespace, {
    ...pool,
    metadata: { name: `${pool.metadata.name}${suffix}` },
    spec: { ...pool.spec, source, redis: { url: redis.url }, scaleTargetRef: { name }, scaling },
  });
  return {
    pool: { namespace, name: `${pool.metadata.name}${suffix}` },
    deployment: { namespace, name },
  };
}

interface Manifest {
  readonly metadata: { readonly name: string };
  readonly spec: Json & { readonly source?: Partial<Record<Kind, object>>; readonly scaling?: Json };
}

test.for(firstCases)(
  '$name: woken from zero, explained, held when its keys are others, and untouched',
  async (one) => {
    const { redis, world, controller } = stage;
    const { objects } = world;
    const [kind, settings] = [kindOf(one), one.settings];
    await using library = await one.open(world.redis);
    await library.push(1);
    const key = await empty(redis, settings);
    const before = await othersKeys(redis);
    const namespace = await world.namespace();
    const { pool, deployment } = await apply(namespace, kind, settings[kind] ?? {}, 0);
    const lost = nowhere[kind] && (await apply(namespace, kind, nowhere[kind], 2));

    const replicas = async (of: ObjectRef): Promise<number | undefined> =>
      (await objects.get(DEPLOYMENTS, of)).spec?.replicas;
    const ready = (of: ObjectRef, text: RegExp): Promise<void> =>
      eventually(
        async () => expect(conditionText(await objects.get(POOLS, of), 'Ready')).toMatch(text),
        bounded,
      );
    const status = (parts: object): Promise<void> =>
      eventually(async () => expect((await objects.get(POOLS, pool)).status).toMatchObject(parts), bounded);

    const explain = async (): Promise<string> => {
      const env = { KUBECONFIG: world.server.kubeconfig };
      const { stdout, stderr } = await millrace(['explain', pool.name, '--namespace', namespace], { env });
      return stdout + stderr;
    };

    await ready(pool, /^True/);
    await status({ wake: 'Tracking', waiting: 0, inFlight: 0, desiredReplicas: 0 });
    expect(await othersKeys(redis)).toEqual(before);
    if (lost) {
      await ready(lost.pool, /^False SourceNotFound There is no /);
      expect(await replicas(lost.deployment)).toBe(2);
    }

    const armed = /^tracking_total_keys:[1-9]/m;
    await eventually(async () => expect(await redis.info('stats')).toMatch(armed), bounded);
    await library.push(1);
    const pushed = await othersKeys(redis);
    await eventually(async () => expect(await replicas(deployment)).toBe(1), bounded);
    await status({
      waiting: 1,
      desiredReplicas: 1,
      lastCause: 'ScaleUp',
      queue: expect.stringMatching(`^${kind}:`),
    });
    // by a change of its keys, and not by polling
    await eventually(async () => {
      const { body } = await controller.get('/metrics');
      const counts = body.split('\n').filter((text) => text.startsWith('millrace_wake_seconds_count{'));
      const line = counts.find((text) => text.includes(`namespace="${namespace}"`));
      expect(line).toMatch(/ [1-9]\d*$/);
    }, bounded);
    expect(await explain()).toMatch(/0→1: .*1 (task|waiting)/);
    expect(await othersKeys(redis)).toEqual(pushed);

    let held = 1;
    if (library.pause) {
      await library.pause(true);
      await library.push(3);
      await status({ waiting: 4, desiredReplicas: 1 });
      await library.pause(false);
      held = 4;
      await eventually(async () => expect(await replicas(deployment)).toBe(held), bounded);
    }
    const undo = await unknownLayouts[kind]?.(redis);
    if (undo) {
      await ready(pool, /^False SourceUnknownLayout /);
      await undo();
      await ready(pool, /^True/);
    }
    await redis.del(key);
    await redis.set(key, 'something else');
    await ready(pool, /^False RedisWrongKeyType The key ".*" is not a .*: nothing was touched/);
    expect(await redis.get(key)).toBe('something else');
    expect(await replicas(deployment)).toBe(held);
    for (const ref of [pool, ...(lost ? [lost.pool] : [])]) await objects.remove(POOLS, ref);
  },
);
