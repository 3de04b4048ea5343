/** What the README promises a newcomer: install, `helm test`, a pool, tasks in, results out, from nothing to nothing. */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { nothingLeft, poolOf } from '../support/kind-pool.ts';
import { SYSTEM, useRelease } from '../support/kind-release.ts';
import { watch } from '../support/kind-watch.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { squares, squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');

interface PodList {
  readonly items: {
    readonly metadata: { readonly name: string };
    readonly spec: {
      readonly securityContext: object;
      readonly containers: { readonly securityContext: object }[];
    };
  }[];
}

describe.skipIf(!place)('a release with two controllers and the Redis for trying things out', () => {
  const release = useRelease(place, {
    values: () => ({ replicas: 2, redis: { enabled: true } }),
  });

  test('passes its own `helm test`', async () => {
    const { cluster } = release();
    const said = await cluster.helm(['test', 'millrace', '--namespace', SYSTEM, '--logs']);
    expect(said).toMatch(/Phase: +Succeeded\n(?:.*\n)*.*the result was there after \d+ s/);
  });

  test('scales a pool from 0 to what its rule requires and back, with all results right', async () => {
    const pool = poolOf(release(), 'first');
    await pool.apply({
      template: squaresTemplate(),
      concurrency: 2,
      maxReplicas: 8,
      scaling: { tasksPerReplica: 40, scaleDown: { window: '4s' } },
    });
    await pool.asleep();
    using replicas = await watch(release(), ['deployment', pool.name], '{.spec.replicas}');
    const tasks = squares(200, 100);
    await pool.push(tasks);
    const answers = await pool.answers(tasks);
    await pool.asleep();

    // up in one step, and never more than 200 tasks at 40 a replica ask for
    const seen = await eventually(() => {
      const values = replicas.seen.map(({ value }) => Number(value));
      expect(values.length).toBeGreaterThan(2);
      expect(values.at(-1)).toBe(0);
      return values;
    });
    expect(seen.slice(0, 2)).toEqual([0, 5]);
    expect(Math.max(...seen)).toBe(5);
    expect(new Set(answers.map((answer) => answer.pod)).size).toBeGreaterThan(1);

    await eventually(
      async () => {
        const events = await pool.events();
        expect(events[0]).toBe('ScaledUp 0→5: 200 waiting, 0 in flight, 40 tasks a replica');
        expect(events.at(-1)).toMatch(
          /^ScaledDown \d→0: 0 waiting, 0 in flight, .*the last 4 s needed no more; \d drained$/,
        );
      },
      { everyMs: 200 },
    );
    expect(await pool.remains()).toEqual(nothingLeft);
    await eventually(
      async () => {
        expect(await pool.condition('Ready')).toBe('Ready=True Scaling: The pool is scaled by its queue.');
        expect(await pool.condition('Active')).toMatch(/^Active=False Idle/);
      },
      { everyMs: 200 },
    );
  });

  test('serves a client that does not use JSON', async () => {
    const { redis } = release();
    const pool = poolOf(release(), 'plain');
    await pool.apply({ template: squaresTemplate({ args: ['--command', 'tr a-z A-Z'] }) });
    await redis.lpush(pool.queue, 'task one', 'two\nlines');
    await eventually(
      async () => {
        expect(await redis.hgetall(pool.result)).toEqual({
          'task one': 'TASK ONE',
          'two\nlines': 'TWO\nLINES',
        });
      },
      { everyMs: 100 },
    );
  });

  test('gives workers the password as a file, which is in the environment of no task', async () => {
    const { cluster, namespace, redis, redisUrl } = release();
    const { password } = new URL(redisUrl);
    expect(password).toMatch(/^\w{32}$/);
    const metadata = { name: 'redis', namespace };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata, stringData: { password } };
    await cluster.applyYaml(JSON.stringify(secret));
    const pool = poolOf(release(), 'guarded');
    const passwordFrom = { secretKeyRef: { name: 'redis', key: 'password' } };
    await pool.apply({
      redis: { url: redisUrl.replace(`:${password}@`, ''), passwordFrom },
      template: squaresTemplate({ args: ['--command', 'env'] }),
    });
    await redis.lpush(pool.queue, 'look');
    const seen = await eventually(
      async () => {
        const result = await redis.hget(pool.result, 'look');
        expect(result).not.toBeNull();
        return result;
      },
      { everyMs: 100 },
    );
    expect(seen).toContain('MILLRACE_TASK_ID=look');
    expect(seen).not.toContain('MILLRACE_REDIS');
    expect(seen).not.toContain(password);
  });

  test('is reached by the command line from outside of the cluster, through a port-forward', async () => {
    const { cluster, namespace } = release();
    const run = (...args: string[]): Promise<Ended> =>
      millrace([...args, '--namespace', namespace], { env: cluster.env });
    const done = await run('enqueue', '{"id":"outside","n":12,"ms":5}', '--pool', 'first', '--wait');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(done.stdout)).toMatchObject({ square: 144 });
    expect((await run('inspect', 'first')).stdout).toMatch(/^QUEUE +WAITING.*\nfirst:queue +0 /);
    expect((await run('explain', 'first')).stdout).toContain('tasks a replica');
    expect((await run('pools')).stdout).toMatch(/\nfirst .*\n(.*\n)*plain /);
    expect((await run('doctor', 'first')).stdout).toMatch(/ok .*Redis/i);
  });

  test('has a page behind the sub-path of a proxy, whichever controller answers', async () => {
    const { cluster } = release();
    const at = `/api/v1/namespaces/${SYSTEM}/services/millrace:8080/proxy/dashboard`;
    for (let again = 0; again < 4; again++) {
      expect(await cluster.kubectl(['get', '--raw', `${at}/`])).toContain('<title>Millrace');
      // kubectl shows its own token to the API server, which keeps it
      const said = await cluster.kubectl(['get', '--raw', `${at}/api/pools`]).catch(String);
      expect(said).toMatch(/Unauthorized|token of Kubernetes|must be logged in|provide credentials/i);
    }
  });

  test('shows its pools to users who may list them', async () => {
    const { cluster, namespace } = release();
    const account = ['--namespace', SYSTEM, '--serviceaccount', `${SYSTEM}:reader`];
    const made = ['serviceaccount/reader', 'rolebinding/reader'];
    await cluster.kubectl(['delete', ...made, '--namespace', SYSTEM, '--ignore-not-found']);
    await cluster.kubectl(['create', 'serviceaccount', 'reader', '--namespace', SYSTEM]);
    await cluster.kubectl(['create', 'rolebinding', 'reader', '--clusterrole', 'view', ...account]);
    const token = (await cluster.kubectl(['create', 'token', 'reader', '--namespace', SYSTEM])).trim();
    const url = `http://millrace.${SYSTEM}:8080/dashboard/api/pools`;
    const script = `fetch(${JSON.stringify(url)}, { headers: { 'x-millrace-token': ${JSON.stringify(token)} } })
      .then(async (answer) => console.log(answer.status, await answer.text()))`;
    const inPod = ['exec', await release().leader(), '--namespace', SYSTEM, '--', 'node', '-e', script];
    // the API server learns of the account and of its rights some time after it has stored them
    const said = await eventually(
      async () => {
        const answer = await cluster.kubectl(inPod);
        expect(answer).toMatch(/^200 /);
        return answer;
      },
      { everyMs: 200 },
    );
    // the account may list in the release's namespace, and there alone
    expect(said).not.toContain(namespace);
  });

  test('shows in kubectl what a pool does', async () => {
    const { cluster, namespace } = release();
    const shown = ['get', 'wp', 'first', '-n', namespace];
    // a test before this one has woken it
    await eventually(
      async () => {
        const [head = '', line = ''] = (await cluster.kubectl(shown)).split('\n');
        expect(head).toMatch(/^NAME +QUEUE +WAITING +IN FLIGHT +REPLICAS +DESIRED +READY +REASON/i);
        expect(line).toMatch(/^first +first:queue +0 +0 +0 +0 +True +Scaling/);
      },
      { everyMs: 200 },
    );
  });

  test('runs as an arbitrary user, on a read-only root file system', async () => {
    const { cluster } = release();
    const list = await cluster.kubectl(['get', 'pods', '--namespace', SYSTEM, '--output', 'json']);
    const { items }: PodList = JSON.parse(list);
    const controllers = items.filter(({ metadata }) => !metadata.name.includes('redis'));
    expect(controllers).toHaveLength(2);
    for (const { metadata, spec } of items) {
      expect(spec.securityContext, metadata.name).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const container of spec.containers) {
        expect(container.securityContext, metadata.name).toMatchObject({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
      }
      const [id, written] = await Promise.all([
        cluster.kubectl(['exec', metadata.name, '--namespace', SYSTEM, '--', 'id', '-u']),
        cluster.kubectl(['exec', metadata.name, '--namespace', SYSTEM, '--', 'touch', '/tmp/file']).then(
          () => 'written',
          (error: Error) => error.message,
        ),
      ]);
      expect(Number(id), metadata.name).toBeGreaterThan(0);
      expect(written, metadata.name).toContain('Read-only file system');
    }
  });
});
