/** The Job of a task, and what its end means for the task. */
import { describe, expect, test } from 'vitest';
import { jobName, jobOf, misfitOf, MAX_JOB_TASK_BYTES } from '../../controller/act/jobs/job.ts';
import { endOf, taskEndOf } from '../../controller/act/jobs/job-end.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory } from '../../controller/decide/decision.ts';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import { RunAs, type WorkerPool } from '../../kube/workerpool.ts';
import type { Job, Pod } from '../../kube/wire.ts';

function pool(spec: Partial<WorkerPoolSpecInput> = {}): WorkerPool {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace: 'shop', name: 'videos', uid: 'u-1' },
    spec: withDefaults({
      redis: { url: 'redis://:secret@redis:6379/0' },
      runAs: RunAs.Job,
      template: {
        spec: {
          containers: [
            { name: 'main', image: 'ffmpeg:7' },
            { name: 'log', image: 'l:1' },
          ],
        },
      },
      ...spec,
    }),
  };
}

const task = {
  name: 'videos-bcdfghjk',
  queue: 'a$(HOME)',
  id: 'v1',
  raw: '{"id":"v1"}',
  attempt: 2,
  place: 'abc',
};

describe('the Job', () => {
  test('has one pod that is not restarted, belongs to the pool, and fails with its pod unless that was taken away', () => {
    const { metadata, spec } = jobOf(pool(), task);
    expect(metadata).toMatchObject({
      namespace: 'shop',
      name: task.name,
      labels: { 'millrace.dev/pool': 'videos', 'app.kubernetes.io/managed-by': 'millrace' },
      ownerReferences: [{ uid: 'u-1', controller: true }],
    });
    expect(spec).toMatchObject({
      parallelism: 1,
      completions: 1,
      backoffLimit: 0,
      podReplacementPolicy: 'Failed',
      podFailurePolicy: {
        rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
      },
    });
    // it is set when the outcome is recorded
    expect(spec).not.toHaveProperty('ttlSecondsAfterFinished');
    expect(spec).not.toHaveProperty('activeDeadlineSeconds');
    expect(spec.template.spec?.restartPolicy).toBe('Never');
    expect(spec.template.spec?.securityContext?.runAsNonRoot).toBe(true);
  });

  test('has the task in the environment of all its containers, and nothing of Redis', () => {
    const containers = [
      { name: 'main', image: 'ffmpeg:7', env: [{ name: 'MILLRACE_ATTEMPT', value: 'mine' }] },
      { name: 'log', image: 'l:1', terminationMessagePath: '/tmp/last' },
    ];
    const { spec } = jobOf(pool({ template: { spec: { containers } } }), task);
    const env = spec.template.spec?.containers.map((one) =>
      Object.fromEntries(
        one.env?.map(({ name, value, valueFrom }) => [name, value ?? valueFrom?.fieldRef?.fieldPath]) ?? [],
      ),
    );
    const common = {
      MILLRACE_TASK: "metadata.annotations['millrace.dev/task']",
      MILLRACE_TASK_ID: "metadata.annotations['millrace.dev/task-id']",
      // what Kubernetes makes a$(HOME) of again
      MILLRACE_QUEUE: 'a$$(HOME)',
      MILLRACE_POOL: 'shop/videos',
    };
    expect(env).toEqual([
      { ...common, MILLRACE_ATTEMPT: 'mine', MILLRACE_RESULT_FILE: '/dev/termination-log' },
      { ...common, MILLRACE_ATTEMPT: '2', MILLRACE_RESULT_FILE: '/tmp/last' },
    ]);
    expect(spec.template.metadata?.annotations).toEqual({
      'millrace.dev/task': task.raw,
      'millrace.dev/task-id': 'v1',
    });
    expect(JSON.stringify(spec)).not.toContain('secret');
  });

  test("asks the user's rules first", () => {
    const first = { action: 'FailJob', onExitCodes: { operator: 'In', values: [65] } };
    const job = { activeDeadlineSeconds: 60, podFailurePolicy: { rules: [first] } };
    const { spec } = jobOf(pool({ job }), task);
    expect(spec.podFailurePolicy?.rules).toMatchObject([first, { action: 'Ignore' }]);
    expect(spec.activeDeadlineSeconds).toBe(60);
  });

  test('has exit codes in the order that the API server demands, each once', () => {
    const rules = [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [65, 100, 9, 65] } }];
    const { spec } = jobOf(pool({ job: { podFailurePolicy: { rules } } }), task);
    expect(spec.podFailurePolicy?.rules[0]?.onExitCodes?.values).toEqual([9, 65, 100]);
  });

  test.each(['videos', 'a.b', `${'x'.repeat(53)}.${'y'.repeat(9)}`, 'x'.repeat(63), `${'x'.repeat(53)}-y`])(
    'has a name that is valid for the pool %s',
    (of) => {
      for (const random of [0, 0.5, 0.999_999]) {
        const name = jobName(of, () => random);
        expect(name.length).toBeLessThanOrEqual(63);
        expect(name).toMatch(/^[a-z\d]([-.a-z\d]*[a-z\d])?-[b-z2-9]{8}$/);
        expect(name).not.toMatch(/[.-]-/);
      }
    },
  );

  test.each<[string, Buffer, string | Buffer, number, RegExp | undefined]>([
    ['the largest', Buffer.alloc(MAX_JOB_TASK_BYTES, 'x'), 'a', 1 << 30, undefined],
    ['one byte more', Buffer.alloc(MAX_JOB_TASK_BYTES + 1, 'x'), 'a', 1 << 30, /more than 98304 bytes/],
    ['more than the pool takes', Buffer.from('abc'), 'a', 2, /more than 2 bytes/],
    ['no text', Buffer.from([0xff]), Buffer.from([0xff]), 1 << 30, /no UTF-8 text/],
    ['a NUL', Buffer.from('a\0'), 'a\0', 1 << 30, /NUL/],
    ['a NUL in the id alone', Buffer.from('{"id":"\\u0000"}'), '\0', 1 << 30, /NUL/],
  ])('%s', (_, raw, id, most, why) => {
    const found = misfitOf(raw, id, most);
    if (why) expect(found).toMatch(why);
    else expect(found).toBeUndefined();
  });
});

const failed = (reason: string, message = 'the Job failed'): Job => ({
  metadata: { name: 'videos-x', uid: 'j-1' },
  spec: { template: {}, activeDeadlineSeconds: 60 },
  status: {
    startTime: '2026-01-02T03:00:00Z',
    conditions: [
      { type: 'FailureTarget', status: 'True', reason },
      { type: 'Failed', status: 'True', reason, message, lastTransitionTime: '2026-01-02T03:01:00Z' },
    ],
  },
});
const complete: Job = {
  metadata: { name: 'videos-x', uid: 'j-1' },
  status: { conditions: [{ type: 'Complete', status: 'True' }] },
};

interface Ended {
  readonly exitCode?: number;
  readonly message?: string;
  readonly reason?: string;
}

function pod(ended: Ended | undefined, { phase = 'Failed', uid = 'j-1', born = 1 } = {}): Pod {
  const terminated = {
    exitCode: 0,
    startedAt: '2026-01-02T03:00:10Z',
    finishedAt: '2026-01-02T03:00:40Z',
    ...ended,
  };
  const status = { name: 'main', image: 'x', imageID: '', ready: false, restartCount: 0 };
  return {
    metadata: {
      name: `p-${born}`,
      creationTimestamp: `2026-01-02T03:00:0${born}Z`,
      ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name: 'videos-x', uid, controller: true }],
    },
    status: { phase, ...(ended && { containerStatuses: [{ ...status, state: { terminated } }] }) },
  };
}

const disrupted = (one: Pod, is = 'True'): Pod => ({
  ...one,
  status: { ...one.status, conditions: [{ type: 'DisruptionTarget', status: is }] },
});

describe('its end', () => {
  const of = (job: Job, ...pods: Pod[]) => {
    const end = endOf(job);
    return end && taskEndOf(job, end, pods, 'main');
  };

  test('has not come while the Job runs, or its last pod is ending', () => {
    expect(of({ metadata: { name: 'x' } })).toBeUndefined();
    const conditions = [{ type: 'FailureTarget', status: 'True' }];
    expect(of({ metadata: { name: 'x' }, status: { conditions } })).toBeUndefined();
  });

  test('with a result: what the container wrote, and how long it ran', () => {
    const succeeded = pod({ message: ' {"n":1}\n' }, { phase: 'Succeeded' });
    expect(of(complete, succeeded)).toEqual({ kind: 'result', value: ' {"n":1}\n', serviceMs: 30_000 });
    expect(of(complete, pod({}, { phase: 'Succeeded' }))).toMatchObject({ kind: 'result', value: '' });
  });

  test('with a result that nobody can read any more: of another Job of that name, or of no pod', () => {
    expect(of(complete)).toEqual({ kind: 'unknown' });
    expect(of(complete, pod({ message: 'x' }, { phase: 'Succeeded', uid: 'other' }))).toEqual({
      kind: 'unknown',
    });
  });

  describe('that did not come by itself, and so is none', () => {
    const succeeded = (message?: string): Pod =>
      pod(message === undefined ? {} : { message }, { phase: 'Succeeded' });
    const deleted = <T extends Job | Pod>(one: T, deletionTimestamp: string): T => ({
      ...one,
      metadata: { ...one.metadata, deletionTimestamp },
    });

    test('exit code 0 of a program that was told to stop, unless it wrote a result', () => {
      expect(of(complete, disrupted(succeeded()))).toEqual({ kind: 'unknown' });
      expect(of(complete, disrupted(succeeded('')))).toEqual({ kind: 'unknown' });
      expect(of(complete, disrupted(succeeded('done')))).toMatchObject({ kind: 'result', value: 'done' });
      expect(of(complete, disrupted(succeeded(), 'False'))).toMatchObject({ kind: 'result', value: '' });
      expect(of(complete, deleted(succeeded(), '2026-01-02T03:00:20Z'))).toEqual({ kind: 'unknown' });
      expect(of(complete, deleted(succeeded('done'), '2026-01-02T03:00:20Z'))).toMatchObject({
        kind: 'result',
      });
    });

    test.each([
      ['2026-01-02T03:00:59Z', 'unknown'],
      ['2026-01-02T03:01:00Z', 'unknown'],
      ['2026-01-02T03:01:01Z', 'failed'],
    ])('a Job that is deleted at %s and has failed at 03:01:00: %s', (at, kind) => {
      const job = deleted(failed('BackoffLimitExceeded'), at);
      expect(of(job, pod({ exitCode: 143 }))).toMatchObject({ kind });
    });
  });

  test.each([
    [1, 4_096],
    [3, 4_096],
    [4, 3_072],
    [7, 1_755],
  ])('with a result that Kubernetes has cut: of %i containers at %i bytes', (count, most) => {
    const containers = Array.from({ length: count - 1 }, (_, at) => ({ name: `c${at}`, image: 'x' }));
    const spec = { containers, initContainers: [{ name: 'init', image: 'x' }] };
    const wrote = (message: string): Pod => ({ ...pod({ message }, { phase: 'Succeeded' }), spec });
    expect(of(complete, wrote('x'.repeat(most - 1)))).toMatchObject({ kind: 'result' });
    for (const message of ['x'.repeat(most), 'é'.repeat(Math.ceil(most / 2))]) {
      const end = of(complete, wrote(message));
      expect(end).toMatchObject({ kind: 'failed', again: false });
      expect(end).toHaveProperty(
        'error',
        expect.stringMatching(`keeps ${most} bytes of it.* store it elsewhere`),
      );
    }
  });

  test.each<[string, Job, Pod[], string, boolean]>([
    [
      'an exit code',
      failed('BackoffLimitExceeded'),
      [pod({ exitCode: 3, reason: 'Error', message: 'no such file\n' })],
      'container "main" ended with exit code 3: no such file (Job videos-x)',
      true,
    ],
    [
      'no memory',
      failed('BackoffLimitExceeded'),
      [pod({ exitCode: 137, reason: 'OOMKilled' })],
      'container "main" ended with OOMKilled, exit code 137 (Job videos-x)',
      true,
    ],
    [
      'the last of two pods, of which the first was replaced',
      failed('BackoffLimitExceeded'),
      [pod({ exitCode: 143, message: 'evicted' }), pod({ exitCode: 1, message: 'second' }, { born: 2 })],
      'container "main" ended with exit code 1: second (Job videos-x)',
      true,
    ],
    [
      'a rule of the user',
      failed('PodFailurePolicy'),
      [pod({ exitCode: 65, reason: 'Error' })],
      'container "main" ended with exit code 65 (Job videos-x)',
      false,
    ],
    [
      'a rule about pods that are taken away, whether or not the pod is still there',
      failed('PodFailurePolicy', 'Pod a/b has condition DisruptionTarget matching FailJob rule at index 0'),
      [disrupted(pod({ exitCode: 143, reason: 'Error' }))],
      'Pod a/b has condition DisruptionTarget matching FailJob rule at index 0 (Job videos-x)',
      false,
    ],
    [
      'a pod that was taken away, which counts as an attempt',
      failed('BackoffLimitExceeded'),
      [disrupted(pod({ exitCode: 143, reason: 'Error' }))],
      'container "main" ended with exit code 143 (Job videos-x)',
      true,
    ],
    [
      'the deadline, even of a pod that never began',
      failed('DeadlineExceeded'),
      [pod(undefined, { phase: 'Pending' })],
      'the Job videos-x did not end within its deadline (activeDeadlineSeconds: 60)',
      true,
    ],
    [
      'no pod',
      failed('BackoffLimitExceeded', 'Job has reached it'),
      [],
      'Job has reached it (Job videos-x)',
      true,
    ],
  ])('without one: %s', (_, job, pods, error, again) => {
    expect(of(job, ...pods)).toMatchObject({ kind: 'failed', error, again });
  });
});

test('a Job is wanted for each task, up to maxReplicas', () => {
  const policy = policyOf(pool({ maxReplicas: 5 }).spec);
  const at = (waiting: number, inFlight: number, current: number): number => {
    const sample = { kind: 'known', waiting, inFlight, due: 0, leaving: 0 } as const;
    return decide(policy, sample, current, noMemory, 0).desired;
  };
  expect(at(3, 0, 0)).toBe(3);
  expect(at(3, 2, 2)).toBe(5);
  expect(at(30, 2, 2)).toBe(5);
  expect(at(0, 0, 0)).toBe(0);
});
