/**
 * Parked replicas with a real kubelet: the first task begins in one of them, its pod gets its full size without a restart, and is
 * parked again. How long that takes is printed, not asserted.
 */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { poolOf, type Pool } from '../support/kind-pool.ts';
import { useRelease, type Release } from '../support/kind-release.ts';
import { watch, type Watch } from '../support/kind-watch.ts';
import { behind, squares, squaresTemplate, type Answer } from '../support/squares.ts';

const place = inject('cluster');
const ROUNDS = 10;
const bounded = { withinMs: 60_000, everyMs: 100 };
const resources = { requests: { cpu: '200m', memory: '128Mi' }, limits: { memory: '256Mi' } };

interface PodNow {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly containerStatuses?: readonly {
      readonly restartCount: number;
      readonly resources?: { readonly requests?: { readonly cpu?: string } };
    }[];
  };
}

describe.skipIf(!place)('a pool with parked replicas', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });

  test('wakes in place', async () => {
    const pool = poolOf(release(), 'parked');
    // with more tasks a replica, one that reached the second pod may wait for the task behind the gate
    const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
    await pool.apply({ template: squaresTemplate({ resources }), scaling, parked: { replicas: 2 } });
    const names = await parkedPods(release(), pool);
    using sizes = await watch(
      release(),
      ['pods', '--selector', pool.label],
      '{.metadata.name} {.status.containerStatuses[0].resources.requests.cpu}',
    );
    const rows: Round[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      rows.push(await oneRound({ release: release(), pool, names, sizes }, i));
      expect(await parkedPods(release(), pool)).toEqual(names);
    }
    console.log('push to a pool with parked replicas, ms until:');
    console.table(rows);
    // no other pods, and none of them restarted
    const pods = await podsNow(release(), pool);
    expect(pods.map(({ status }) => status?.containerStatuses?.[0]?.restartCount)).toEqual([0, 0]);
  });
});

interface Round {
  readonly result: number;
  /** The pod of a task that still runs has what the template requests. */
  readonly reserved: number;
}

async function podsNow(release: Release, { label }: Pool): Promise<readonly PodNow[]> {
  return (await release.get<{ items: PodNow[] }>('pods', '--selector', label)).items;
}

/** Resolves to the names of the two pods once both are parked, as the kubelet has it, and wait for a task. */
function parkedPods(release: Release, pool: Pool): Promise<string[]> {
  return eventually(async () => {
    const pods = await podsNow(release, pool);
    const cpu = pods.map(({ status }) => status?.containerStatuses?.[0]?.resources?.requests?.cpu);
    expect(cpu).toEqual(['10m', '10m']);
    const names = pods.map(({ metadata }) => metadata.name).toSorted();
    const states = names.map((name) =>
      release.redis.hget(`millrace:{${pool.queue}}:worker:${name}`, 'state'),
    );
    expect(await Promise.all(states)).toEqual(['idle', 'idle']);
    return names;
  }, bounded);
}

interface Scene {
  readonly release: Release;
  readonly pool: Pool;
  /** Of the pods. */
  readonly names: readonly string[];
  readonly sizes: Watch;
}

/** One task of which the result is awaited, and one that runs until its pod has its full size. */
async function oneRound({ release, pool, names, sizes }: Scene, i: number): Promise<Round> {
  const gate = pool.gate(`gate-${i}`);
  const [task] = squares(1, 0, `first${i}-`);
  const more = behind(gate, squares(1, 0, `more${i}-`));
  if (!task) throw new Error('no task was made');
  const before = sizes.seen.length;
  const pushed = performance.now();
  await pool.push([task, ...more]);
  const result = await eventually(
    async () => {
      expect(await release.redis.hexists(pool.result, task.id)).toBe(1);
      return performance.now();
    },
    { everyMs: 2 },
  );
  // the two may run in different pods, and either gets its full size first
  const busy = await eventually(async () => {
    const held = await Promise.all(
      names.map((name) => release.redis.hlen(`millrace:{${pool.queue}}:inflight:${name}`)),
    );
    expect(held.filter((tasks) => tasks === 1)).toHaveLength(1);
    return names[held.indexOf(1)];
  }, bounded);
  const reserved = await eventually(() => {
    const full = sizes.seen.slice(before).find(({ value }) => value === `${busy} 200m`);
    if (!full) throw new Error(`${busy} does not have its full size yet`);
    return full;
  }, bounded);
  await gate.open();
  const [{ pod }] = (await pool.answers(more)) as [Answer];
  expect(pod).toBe(busy);
  return { result: Math.round(result - pushed), reserved: Math.round(reserved.at - pushed) };
}
