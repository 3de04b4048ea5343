/** Jobs of a pool that go, or stay, by somebody else's will: policies of the cluster, their time to live, a pool in another cluster. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JOBS, POOLS } from '../../kube/resources.ts';
import { holdTask } from '../../queue/outcomes/held-task.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { createJobPool } from '../support/job-pool.ts';
import { startJobController } from '../support/job-pods.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, type Json } from '../support/world.ts';

const stage = useStage();
let controllers: AsyncDisposable | undefined;
beforeAll(async () => void (controllers = await startJobController(stage.world)));
afterAll(async () => await controllers?.[Symbol.asyncDispose]());

const LEASES = { everyMs: 50 };
const create = (spec: Json = {}): ReturnType<typeof createJobPool> => createJobPool(stage, spec);

describe.concurrent('with a controller', () => {
  test('a Job that may not be deleted: Ready says so, the others go on, and it is cancelled when it may', async () => {
    const { push, podOf, end, keys, ref, pool, result } = await create();
    const { objects } = stage.world;
    const admission = { group: 'admissionregistration.k8s.io', version: 'v1' };
    const name = `keep-${ref.namespace}`;
    const rule = { apiGroups: ['batch'], apiVersions: ['v1'], operations: ['DELETE'], resources: ['jobs'] };
    const validation = { expression: 'false', message: 'jobs are kept here', reason: 'Forbidden' };
    await objects.create({ ...admission, plural: 'validatingadmissionpolicies' }, undefined, {
      metadata: { name },
      spec: { matchConstraints: { resourceRules: [rule] }, validations: [validation] },
    });
    const binding = { ...admission, plural: 'validatingadmissionpolicybindings' };
    const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': ref.namespace } };
    await objects.create(binding, undefined, {
      metadata: { name },
      spec: { policyName: name, validationActions: ['Deny'], matchResources: { namespaceSelector } },
    });
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } };
    // policies are compiled some time after they are stored: until then, each probe is removed
    let probes = 0;
    const isKept = async (): Promise<void> => {
      const probe = { namespace: ref.namespace, name: `probe-${probes++}` };
      await objects.create(JOBS, ref.namespace, {
        metadata: { name: probe.name },
        spec: { suspend: true, template },
      });
      const refusal = await objects.remove(JOBS, probe).then(
        () => 'removed',
        (error: Error) => error.message,
      );
      expect(refusal).toContain('jobs are kept here');
    };
    await eventually(isKept);
    await push('kept');
    await podOf('kept');
    await using queue = openQueue({ redis: stage.world.redis.url, queue: keys.queue, result: keys.result });
    await queue.cancel('kept');
    await eventually(async () =>
      expect(conditionText(await pool(), 'Ready')).toMatch(
        /^False JobsFailing Job videos-\w{8} cannot be brought further: .*jobs are kept here/,
      ),
    );
    await push('other');
    await end('other', { message: 'fine' });
    await eventually(async () => expect(await result('other')).toBe('fine'));
    expect((await podOf('kept')).metadata.deletionTimestamp).toBeUndefined();
    await stage.world.transport.call({
      method: 'DELETE',
      path: `/apis/${admission.group}/v1/${binding.plural}/${name}`,
      what: 'the binding',
    });
    await expect(queue.result('kept', { timeoutMs: 120_000 })).rejects.toThrow('was cancelled');
  });

  test('a Job that Kubernetes removes after its time leaves its result, and nothing runs again', async () => {
    const { push, end, jobs, result, started, keys } = await create({ job: { ttlSecondsAfterFinished: 0 } });
    await push('a');
    await end('a', { message: 'there' });
    await eventually(async () => expect(await jobs()).toEqual([]));
    expect(await result('a')).toBe('there');
    await push('b');
    await end('b', { message: 'there, too' });
    await eventually(async () => expect(await jobs()).toEqual([]));
    expect(await result('b')).toBe('there, too');
    await eventually(async () => expect(await stage.redis.zcard(keys.workers)).toBe(0));
    expect(started.size).toBe(2);
  });

  test('a task of a pool of the same name in another cluster is left to its Job there', async () => {
    const { push, podOf, end, edit, keys, ref, jobs, result } = await create({ mode: 'Paused' });
    const about = { pool: `${ref.namespace}/videos`, poolUid: 'of another cluster' };
    await push('theirs');
    expect(await holdTask(stage.redis, keys, 'job/videos-theirs22', 3_600_000, about)).toBe(true);
    await edit({ mode: 'Active' });
    await push('ours');
    await podOf('ours');
    await end('ours', { message: 'done' });
    await eventually(async () => expect(await result('ours')).toBe('done'));
    expect(await jobs()).toHaveLength(1);
    await stage.world.objects.remove(POOLS, ref);
    await eventually(
      async () => await expect(stage.world.objects.get(POOLS, ref)).rejects.toMatchObject({ notFound: true }),
    );
    expect(await stage.redis.hvals(keys.inflight('job/videos-theirs22'))).toEqual(['theirs']);
  });
});

test('a Job that Kubernetes removes while no controller is there, by a policy of the cluster: its task runs again', async () => {
  const { push, podOf, end, jobs, result, ref } = await create();
  await push('t');
  const { metadata } = await podOf('t');
  await stage.controller.kill();
  const [job] = await jobs();
  const name = job?.metadata.name ?? '';
  await stage.world.objects.patch(
    JOBS,
    { namespace: ref.namespace, name },
    { spec: { ttlSecondsAfterFinished: 0 } },
  );
  await end('t', { message: 'nobody has read it' });
  await eventually(async () => expect(await jobs()).toEqual([]), LEASES);
  await stage.startController();
  const again = await podOf('t');
  expect(again.metadata.uid).not.toBe(metadata.uid);
  expect(again.spec?.containers[0]?.env?.find((one) => one.name === 'MILLRACE_ATTEMPT')?.value).toBe('1');
  await end('t', { message: 'second' });
  await eventually(async () => expect(await result('t')).toBe('second'));
});
