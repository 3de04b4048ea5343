import { describe, expect, test } from 'vitest';
import { deathsOf, recoveryNote, type Death } from '../../controller/recover/deaths.ts';
import { slimPod } from '../../controller/act/known-pod.ts';
import type { Pod } from '../../kube/wire.ts';

type Container = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
type Ended = NonNullable<NonNullable<Container['state']>['terminated']>;

const AT = '2026-01-01T00:00:10Z';
const at = Date.parse(AT);
const base = { name: 'worker', image: 'i', imageID: '', ready: false, restartCount: 0 };
const running = { state: { running: { startedAt: AT } } };
const end = (containerID: string, exitCode = 1, reason = 'Error'): Ended => ({
  containerID,
  exitCode,
  reason,
  finishedAt: AT,
});

function pod(containers: Partial<Container>[], more: { meta?: object; status?: object } = {}): Pod {
  const containerStatuses = containers.map((container) => ({ ...base, ...container }));
  return {
    metadata: { name: 'tiles-1', ...more.meta },
    status: { phase: 'Running', containerStatuses, ...more.status },
  };
}

const well = pod([running]);
const leaving = { meta: { deletionTimestamp: AT } };
const evicted = { status: { phase: 'Failed', reason: 'Evicted' } };
const disrupted = {
  ...leaving,
  status: { conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI' }] },
};
const oom = { restartCount: 1, ...running, lastState: { terminated: end('a', 137, 'OOMKilled') } };
const backingOff = {
  state: { waiting: { reason: 'CrashLoopBackOff' } },
  lastState: { terminated: end('a', 3) },
};

const one: [what: string, before: Pod | undefined, now: Pod | undefined, ...deaths: Partial<Death>[]][] = [
  [
    'a container that has just ended',
    well,
    pod([{ state: { terminated: end('a', 3) } }]),
    {
      reason: 'Error',
      message: 'Error (exit code 3)',
      why: 'lost',
      endedAt: at,
      restarted: false,
      only: true,
    },
  ],
  [
    'one that ran again before anybody looked',
    well,
    pod([oom]),
    { reason: 'OOMKilled', message: 'OOMKilled (exit code 137)', why: 'lost', restarted: true },
  ],
  [
    'a second end',
    pod([oom]),
    pod([{ state: { terminated: end('b', 4) } }]),
    { message: 'Error (exit code 4)' },
  ],
  [
    'one that was down when the watch began',
    undefined,
    pod([backingOff]),
    { message: 'Error (exit code 3)' },
  ],
  [
    'one of two',
    pod([running, { ...running, name: 'side' }]),
    pod([running, { name: 'side', state: { terminated: end('s') } }]),
    { message: 'Error (exit code 1) in container "side"', only: false },
  ],
  [
    'one that was ended because another container had all of them started anew',
    well,
    pod([
      { state: { terminated: end('a', 137, 'RestartingAllContainers') } },
      { name: 'side', state: { terminated: end('s', 42) } },
    ]),
    { reason: 'RestartingAllContainers', why: 'displaced', only: false },
    { reason: 'Error', why: 'lost', message: 'Error (exit code 42) in container "side"' },
  ],
  ['a pod that is gone', well, undefined, { reason: 'PodDeleted', why: 'displaced', endedAt: undefined }],
  [
    'a container that was killed because its pod goes',
    well,
    pod([{ state: { terminated: end('a', 137) } }], leaving),
    { reason: 'PodDeleted', message: 'its pod was deleted', why: 'displaced', endedAt: at },
  ],
  [
    'memory that runs out on the way out',
    well,
    pod([{ state: { terminated: end('a', 137, 'OOMKilled') } }], leaving),
    { reason: 'OOMKilled', why: 'lost' },
  ],
  [
    'an eviction by request',
    well,
    pod([{ state: { terminated: end('a', 143) } }], disrupted),
    { reason: 'Evicted', message: 'Evicted (EvictionByEvictionAPI)', why: 'displaced' },
  ],
  [
    'a pod that is deleted, killed at the end of its grace period, and has its phase by then',
    well,
    pod([{ state: { terminated: end('a', 137) } }], { ...leaving, status: { phase: 'Failed' } }),
    { reason: 'PodDeleted', message: 'its pod was deleted', why: 'displaced', endedAt: at, only: true },
  ],
  [
    'the same of one that is evicted by request',
    well,
    pod([{ state: { terminated: end('a', 137) } }], {
      ...leaving,
      status: { ...disrupted.status, phase: 'Failed' },
    }),
    { reason: 'Evicted', message: 'Evicted (EvictionByEvictionAPI)', why: 'displaced' },
  ],
  [
    'memory that runs out on the way out, in the second of two containers, with the phase',
    well,
    pod(
      [
        { name: 'side', state: { terminated: end('s', 143) } },
        { state: { terminated: end('a', 137, 'OOMKilled') } },
      ],
      { ...leaving, status: { phase: 'Failed' } },
    ),
    { reason: 'OOMKilled', message: 'OOMKilled (exit code 137)', why: 'lost' },
  ],
  ['an eviction by the kubelet', well, pod([], evicted), { reason: 'Evicted', why: 'displaced' }],
  [
    'a pod whose containers ended for good',
    well,
    pod([{ state: { terminated: end('a', 0, 'Completed') } }], { status: { phase: 'Succeeded' } }),
    { reason: 'Completed', message: 'Completed (exit code 0)', why: 'lost', endedAt: at },
  ],
];

const none: [what: string, before: Pod | undefined, now: Pod | undefined][] = [
  ['a new pod', undefined, pod([])],
  ['a pod that runs since an end that is history', undefined, pod([oom])],
  ['the same version again', pod([oom]), pod([oom])],
  ['a pause before the next start', pod([{ state: { terminated: end('a', 3) } }]), pod([backingOff])],
  ['the next start', pod([backingOff]), pod([{ ...running, lastState: { terminated: end('a', 3) } }])],
  ['a deletion that begins', well, pod([running], leaving)],
  ['the removal of what had ended', pod([{ state: { terminated: end('a', 0) } }], leaving), undefined],
  ['the removal of an evicted pod', pod([], evicted), undefined],
  ['a readiness that changes', well, pod([{ ...running, ready: true }])],
];

describe('found in the cached part of pods', () => {
  const keep = (of: Pod | undefined): Pod | undefined => of && slimPod(of);
  test.each(one)('%s', (_, before, now, ...deaths) => {
    expect(deathsOf(keep(before), keep(now))).toEqual(
      deaths.map((death) => expect.objectContaining({ worker: 'tiles-1', ...death })),
    );
  });
  test.each(none)('nothing: %s', (_, before, now) => expect(deathsOf(keep(before), keep(now))).toEqual([]));
});

test.each([
  [0, 'tiles-1 ended: OOMKilled (exit code 137). It held no task.'],
  [1, 'tiles-1 ended: OOMKilled (exit code 137). The task that it held is back in the queue.'],
  [3, 'tiles-1 ended: OOMKilled (exit code 137). The 3 tasks that it held are back in the queue.'],
])('%i tasks in words', (tasks, words) => {
  expect(recoveryNote('tiles-1', 'OOMKilled (exit code 137)', tasks)).toBe(words);
});
