import { expect, test } from 'vitest';
import { slimPod } from '../../controller/act/known-pod.ts';
import { podFailureOf } from '../../controller/act/pod-failures.ts';
import type { Pod } from '../../kube/wire.ts';

type Container = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];

function pod(container: Partial<Container>, more: Partial<Pod['metadata']> = {}): Pod {
  const status = { name: 'worker', image: 'i', imageID: '', ready: false, restartCount: 0, ...container };
  return { metadata: { name: 'tiles-1', ...more }, status: { containerStatuses: [status] } };
}

/** A pod of two containers, of which the worker is never restarted and the other one runs. */
function pair(worker: Partial<Container>, phase = 'Running'): Pod {
  const { metadata, status } = pod(worker);
  const side = { ...status?.containerStatuses?.[0], name: 'side', state: { running: {} } } as Container;
  return {
    metadata,
    spec: {
      containers: [
        { name: 'worker', image: 'i', restartPolicy: 'Never' },
        { name: 'side', image: 'i' },
      ],
    },
    status: { phase, containerStatuses: [...(status?.containerStatuses ?? []), side] },
  };
}

const crashed = {
  exitCode: 1,
  reason: 'Error',
  message: 'starting\nmillrace-worker: ./nope is not there: give the right path\n',
};

const at = (minute: number): string => `2026-01-01T00:0${minute}:00Z`;

/** Pods of an age, the oldest first, that have ended, or not. */
const fates: [what: string, pods: [phase: string, crashed: boolean][], trouble: string | undefined][] = [
  [
    'an old one that failed beside one that runs',
    [
      ['Failed', true],
      ['Running', false],
    ],
    undefined,
  ],
  [
    'one that runs beside a newer one that failed',
    [
      ['Running', false],
      ['Failed', true],
    ],
    'pod-1',
  ],
  [
    'one that fails after the other',
    [
      ['Failed', true],
      ['Failed', true],
    ],
    'pod-1',
  ],
  [
    'one that crashes beside a newer one',
    [
      ['Running', true],
      ['Running', false],
    ],
    'pod-0',
  ],
  [
    'one that ended well, last of all',
    [
      ['Failed', true],
      ['Succeeded', false],
    ],
    undefined,
  ],
];

test.each(fates)('of several pods: %s', (_, pods, trouble) => {
  const all = pods.map(([phase, bad], i): Pod => {
    const made = pod(
      { state: bad ? { terminated: crashed } : { running: {} } },
      { name: `pod-${i}`, creationTimestamp: at(i) },
    );
    return { ...made, status: { ...made.status, phase } };
  });
  const found = podFailureOf(all);
  if (trouble === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(`of pod ${trouble} crashes`);
});

const cases: [string, Pod, string | undefined][] = [
  ['a running container', pod({ state: { running: {} } }), undefined],
  ['one that is being created', pod({ state: { waiting: { reason: 'ContainerCreating' } } }), undefined],
  ['one that ended well', pod({ state: { terminated: { exitCode: 0 } } }), undefined],
  [
    'one that ended well for good beside another one that runs',
    pair({ state: { terminated: { exitCode: 0 } } }),
    'container "worker" of pod tiles-1 has ended (exit code 0); it is not restarted, and the pod is not replaced while its other containers run',
  ],
  ['one that may end, and runs', pair({ state: { running: {} } }), undefined],
  [
    'one that ended well with its pod',
    pair({ state: { terminated: { exitCode: 0 } } }, 'Succeeded'),
    undefined,
  ],
  [
    'one that crashes says its last words',
    pod({
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: crashed },
      restartCount: 4,
    }),
    'container "worker" of pod tiles-1 crashes (exit code 1, restarted 4 times): millrace-worker: ./nope is not there: give the right path',
  ],
  [
    'one that has just crashed',
    pod({ state: { terminated: crashed } }),
    'container "worker" of pod tiles-1 crashes (exit code 1): millrace-worker: ./nope is not there: give the right path',
  ],
  [
    'one that was killed for its memory',
    pod({
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } },
    }),
    'container "worker" of pod tiles-1 crashes (exit code 137): OOMKilled',
  ],
  [
    'an image that cannot be had',
    pod({ state: { waiting: { reason: 'ImagePullBackOff', message: 'no such image\nmore' } } }),
    'container "worker" of pod tiles-1 cannot start: ImagePullBackOff: no such image',
  ],
  [
    'one that is on its way out',
    pod({ state: { terminated: crashed } }, { deletionTimestamp: 'now' }),
    undefined,
  ],
  [
    'a pod without a place',
    {
      metadata: { name: 'tiles-1' },
      status: {
        conditions: [
          { type: 'PodScheduled', status: 'False', message: '0/3 nodes are available: too little cpu.' },
        ],
      },
    },
    'pod tiles-1 cannot be scheduled: 0/3 nodes are available: too little cpu.',
  ],
];

test.each(cases)('%s', (_, of, expected) => expect(podFailureOf([of])).toBe(expected));

test('is found in the cached part of a pod, too', () => {
  for (const [, of, expected] of cases) expect(podFailureOf([slimPod(of)])).toBe(expected);
});

test('the first pod in trouble speaks for all', () => {
  const well = pod({ state: { running: {} } });
  expect(podFailureOf([well, pod({ state: { terminated: crashed } })])).toContain('exit code 1');
});
