/** A pool that runs Jobs, in a namespace of its own, with what its tests do to it. */
import { POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { queueKeys } from '../../queue/keys.ts';
import { jobPods } from './job-pods.ts';
import { millrace } from './millrace.ts';
import type { Stage } from './stage.ts';
import { poolManifest, type Json } from './world.ts';

export async function createJobPool(stage: Stage, spec: Json = {}) {
  const { world, redis } = stage;
  const ref: ObjectRef = { namespace: await world.namespace(), name: 'videos' };
  const keys = queueKeys(ref.namespace, `${ref.namespace}:result`);
  const template = { spec: { containers: [{ name: 'main', image: 'ffmpeg:7' }] } };
  const retry = { backoff: { initial: '10ms', max: '10ms' } };
  const { queue, result } = keys;
  const manifest = poolManifest(ref.name, world.redis, {
    queue,
    result,
    runAs: 'Job',
    template,
    retry,
    ...spec,
  });
  await world.objects.create(POOLS, ref.namespace, manifest);
  const { jobs, ...pods } = jobPods(world.objects, ref.namespace);
  return {
    ...pods,
    ref,
    keys,
    jobs,
    push: (...tasks: string[]) => redis.lpush(queue, ...tasks),
    result: (id: string) => redis.hget(result, id),
    pool: (): Promise<WorkerPool> => world.objects.get(POOLS, ref),
    edit: (change: Json) => world.objects.patch(POOLS, ref, { spec: change }),
    dead: () => readDeadLetters(redis, keys),
    cli: (...args: string[]) =>
      millrace([...args, '-n', ref.namespace], { env: { KUBECONFIG: world.server.kubeconfig } }),
  };
}
