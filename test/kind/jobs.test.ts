/**
 * A Job for each task, in pods of a public image with nothing of Millrace in it: tasks that run for longer than any window, one whose
 * pod is evicted, one that fails, one that is cancelled. Each starts one pod for each attempt. And a node that is drained while Jobs run.
 */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { PYTHON_IMAGE } from '../support/kind-images.ts';
import { nothingLeft, poolOf } from '../support/kind-pool.ts';
import { SYSTEM, useRelease } from '../support/kind-release.ts';

const place = inject('cluster');
const patient = { withinMs: 170_000, everyMs: 250 };

/** Runs for as many seconds as its task says; `fail` runs out of the file that it would need. */
const SCRIPT = `
set -e
case "$MILLRACE_TASK" in
  fail) echo "attempt $MILLRACE_ATTEMPT" >&2; exit 3;;
  *) sleep "\${MILLRACE_TASK#* }";;
esac
printf 'slept as %s' "$MILLRACE_TASK" > "$MILLRACE_RESULT_FILE"
`;

/** Waits for the key GATE in Redis. */
const GATED = `
trap 'exit 143' TERM
exec 3<>"/dev/tcp/$REDIS/6379"; printf 'INCR begun\\r\\n' >&3; read -r _ <&3
until { exec 3<>"/dev/tcp/$REDIS/6379"; printf 'EXISTS %s\\r\\n' "$GATE" >&3; read -r found <&3; [[ $found == :1* ]]; }
do sleep 0.2; done
printf '%s in attempt %s' "$MILLRACE_TASK" "$MILLRACE_ATTEMPT" > "$MILLRACE_RESULT_FILE"
`;

interface Pods {
  readonly items: readonly {
    readonly metadata: {
      readonly name: string;
      readonly uid: string;
      readonly deletionTimestamp?: string;
      readonly annotations: Record<string, string>;
    };
    readonly status: { readonly phase: string };
  }[];
}

describe.skipIf(!place)('Jobs', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });

  test('one pod for each attempt, however long it runs and whatever becomes of it', async () => {
    const { cluster, redis, namespace } = release();
    const pool = poolOf(release(), 'jobs');
    await pool.apply({
      runAs: 'Job',
      maxReplicas: 5,
      retry: { attempts: 2, backoff: { initial: '1s', max: '1s' } },
      template: {
        spec: {
          securityContext: { runAsUser: 1000 },
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'main',
              image: PYTHON_IMAGE,
              imagePullPolicy: 'IfNotPresent',
              command: ['sh', '-c', SCRIPT],
            },
          ],
        },
      },
    });
    const started = new Map<string, string>();
    const pods = async (): Promise<Pods['items']> => {
      const { items } = await release().get<Pods>('pods', '--selector', pool.label);
      for (const { metadata } of items)
        started.set(metadata.uid, metadata.annotations['millrace.dev/task'] ?? '');
      return items;
    };
    const running = (task: string) =>
      eventually(async () => {
        const found = (await pods()).find(
          ({ metadata, status }) =>
            metadata.annotations['millrace.dev/task'] === task &&
            !metadata.deletionTimestamp &&
            status.phase === 'Running',
        );
        if (!found) throw new Error(`no pod runs "${task}"`);
        return found.metadata;
      }, patient);

    // over the default window of a scale-in, 60 s
    const long = ['a 62', 'b 62'];
    await redis.lpush(pool.queue, ...long, 'evicted 8', 'cancelled 600', 'fail', 'last 1');
    const { name, uid } = await running('evicted 8');
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
    await cluster.kubectl(
      ['create', '--raw', `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, '-f', '-'],
      { input: JSON.stringify(eviction) },
    );
    await running('cancelled 600');
    await redis.zadd(`millrace:{${pool.queue}}:cancelled`, String(Date.now() + 3_600_000), 'cancelled 600');

    const finished = [...long, 'evicted 8', 'last 1'];
    await eventually(async () => {
      await pods();
      expect(await redis.hmget(pool.result, ...finished)).toEqual(finished.map((task) => `slept as ${task}`));
    }, patient);
    expect(await redis.hget(`millrace:{${pool.queue}}:errors`, 'cancelled 600')).toContain(
      '"cancelled":true',
    );
    expect(await redis.hget(`millrace:{${pool.queue}}:errors`, 'fail')).toMatch(
      /failed 2 of 2 attempts: container \\"main\\" ended with exit code 3: attempt 2 \(Job jobs-/,
    );
    await pods();
    const count = (task: string): number => [...started.values()].filter((one) => one === task).length;
    expect(started.has(uid)).toBe(true);
    expect(
      Object.fromEntries([...finished, 'cancelled 600', 'fail'].map((task) => [task, count(task)])),
    ).toEqual({
      'a 62': 1,
      'b 62': 1,
      'evicted 8': 2,
      'last 1': 1,
      'cancelled 600': 1,
      fail: 2,
    });
  });

  test('a drained node: the same attempt runs again in a new pod, unless the failure policy ends it', async () => {
    const { cluster, redis } = release();
    const moves = poolOf(release(), 'moves');
    const gives = poolOf(release(), 'gives-up');
    const env = [
      { name: 'REDIS', value: `millrace-redis.${SYSTEM}` },
      { name: 'GATE', value: 'drained' },
    ];
    const main = { name: 'main', image: PYTHON_IMAGE, imagePullPolicy: 'IfNotPresent', env };
    const containers = [{ ...main, command: ['bash', '-c', GATED] }];
    // one that counts would be the last
    const spec = {
      runAs: 'Job',
      maxReplicas: 3,
      retry: { attempts: 1 },
      template: { spec: { securityContext: { runAsUser: 1000 }, containers } },
    };
    const taken = { type: 'DisruptionTarget', status: 'True' };
    const rules = [{ action: 'FailJob', onPodConditions: [taken] }];
    await moves.apply(spec);
    await gives.apply({ ...spec, job: { podFailurePolicy: { rules } } });
    await redis.lpush(moves.queue, 'a', 'b', 'c');
    await redis.lpush(gives.queue, 'd');
    const selector = `millrace.dev/pool in (${moves.name}, ${gives.name})`;
    const inPhase = async (phase: string): Promise<string[]> => {
      const { items } = await release().get<Pods>('pods', '--selector', selector);
      return items.filter(({ status }) => status.phase === phase).map(({ metadata }) => metadata.uid);
    };
    await eventually(async () => expect(await inPhase('Running')).toHaveLength(4), patient);
    // bash as the first process of a container is not stopped by SIGTERM before it has its trap
    await eventually(async () => expect(await redis.get('begun')).toBe('4'), patient);
    const before = await inPhase('Running');
    const node = `${cluster.place.name}-control-plane`;
    try {
      await cluster.kubectl([
        'drain',
        node,
        '--ignore-daemonsets',
        '--timeout=300s',
        '--pod-selector',
        selector,
      ]);
      await eventually(
        async () =>
          expect(await moves.condition('Ready')).toMatch(
            /^Ready=False WorkersFailing: .*cannot be scheduled: .*unschedulable/,
          ),
        patient,
      );
      await eventually(async () => expect(await inPhase('Pending')).toHaveLength(3), patient);
    } finally {
      await cluster.kubectl(['uncordon', node]);
    }
    await redis.set('drained', 'over');
    await eventually(
      async () =>
        expect(await redis.hgetall(moves.result)).toEqual({
          a: 'a in attempt 1',
          b: 'b in attempt 1',
          c: 'c in attempt 1',
        }),
      patient,
    );
    expect(await inPhase('Succeeded')).toHaveLength(3);
    expect((await inPhase('Succeeded')).filter((uid) => before.includes(uid))).toEqual([]);
    expect(await redis.hgetall(`millrace:{${moves.queue}}:errors`)).toEqual({});
    await eventually(
      async () =>
        expect(await redis.hget(`millrace:{${gives.queue}}:errors`, 'd')).toMatch(
          /not to be retried: Pod \S+ has condition DisruptionTarget matching FailJob rule at index 0/,
        ),
      patient,
    );
    await eventually(async () => expect(await moves.remains()).toEqual(nothingLeft), patient);
  });
});
