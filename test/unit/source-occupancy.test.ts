/** Which pods hold tasks of another library: as rows of what the library reports, and what follows for each pod. */
import { describe, expect, test } from 'vitest';
import {
  occupancyOf,
  idleAfter,
  type Occupancy,
  type IdleSince,
} from '../../controller/act/source-occupancy.ts';
import type { Member } from '../../controller/act/target.ts';
import type { SourceWorker } from '../../queue/sources/source.ts';

const pod = (id: string, more: Partial<Member> = {}): Member => ({
  id,
  ready: true,
  created: 0,
  going: false,
  ...more,
});
const worker = (host: string, tasks = 0): SourceWorker => ({ id: `worker on ${host}`, hosts: [host], tasks });

const long = `mail-${'x'.repeat(60)}-7d9f-abcde`;

describe('a worker is found in the pod', () => {
  test.each<[string, Member, string]>([
    ['of its host name', pod('mail-1'), 'mail-1'],
    ['of a host name with a domain', pod('mail-1'), 'mail-1.mail.default.svc.cluster.local'],
    ['of a host name that Kubernetes cut', pod(long), long.slice(0, 63)],
    ['of its address', pod('mail-1', { addresses: ['10.1.2.3', 'fd00::3'] }), 'fd00::3'],
  ])('%s', (_, member, host) => {
    const occupancy = occupancyOf([member, pod('other')], { workers: [worker(host, 2)], unnamed: 0 });
    expect(occupancy.get(member.id)).toMatchObject({ tasks: 2, idle: false });
    expect(occupancy.get('other')).toMatchObject({ tasks: 0, workers: [] });
  });

  test('of exactly that name, and of no name that begins like it', () => {
    const occupancy = occupancyOf([pod('mail-1')], { workers: [worker('mail-12', 1)], unnamed: 0 });
    expect(occupancy.get('mail-1')?.workers).toEqual([]);
  });
});

test.each<[string, readonly SourceWorker[], number, boolean]>([
  ['is idle when the holders of all tasks are in other pods', [worker('b', 1)], 0, true],
  ['is not when one of them is somewhere that is not known', [worker('elsewhere', 1)], 0, false],
  ['is not while a task names no worker', [worker('b', 1)], 1, false],
])('a pod without a worker, where each task names its holder at once, %s', (_, workers, unnamed, idle) => {
  const occupancy = occupancyOf([pod('a'), pod('b')], { workers, unnamed, complete: true });
  expect(occupancy.get('a')?.idle).toBe(idle);
});

test('an address that several pods have is that of all of them', () => {
  const members = ['a', 'b'].map((id) => pod(id, { addresses: ['192.168.0.1'] }));
  const occupancy = occupancyOf(members, { workers: [worker('192.168.0.1', 1)], unnamed: 0 });
  expect(members.map(({ id }) => occupancy.get(id)?.idle)).toEqual([false, false]);
});

describe('a pod is idle', () => {
  test.each<[string, Member, readonly SourceWorker[], number, boolean]>([
    ['when its worker holds nothing', pod('a'), [worker('a')], 0, true],
    ['not when its worker holds a task', pod('a'), [worker('a', 1)], 0, false],
    ['not when one of its workers does', pod('a'), [worker('a'), worker('a', 1)], 0, false],
    ['not when it is ready and no worker is known there', pod('a'), [], 0, false],
    ['when it never became ready and no worker is known there', pod('a', { ready: false }), [], 0, true],
    [
      'not when it is not ready, and a busy worker is somewhere that is not known',
      pod('a', { ready: false }),
      [worker('elsewhere', 1)],
      0,
      false,
    ],
    ['not while a task names no worker', pod('a'), [worker('a')], 1, false],
  ])('%s', (_, member, workers, unnamed, idle) => {
    expect(occupancyOf([member], { workers, unnamed }).get('a')?.idle).toBe(idle);
  });
});

describe('it has been idle since', () => {
  const pods = (idle: boolean): Occupancy => ({ workers: [], tasks: idle ? 0 : 1, idle });
  const reads = (...seen: readonly (readonly [number, boolean])[]): IdleSince =>
    seen.reduce<IdleSince>(
      (before, [now, idle]) => idleAfter(new Map([['a', pods(idle)]]), before, now),
      new Map(),
    );

  test.each<[string, IdleSince, number | undefined]>([
    ['the first read that saw it idle', reads([1_000, true], [2_000, true], [3_000, true]), 1_000],
    ['the read after the last task', reads([1_000, true], [2_000, false], [3_000, true]), 3_000],
    ['never, while it holds a task', reads([1_000, true], [2_000, false]), undefined],
    ['a read that no other preceded for long', reads([1_000, true], [2_000, true], [60_000, true]), 60_000],
  ])('%s', (_, idle, since) => {
    expect(idle.get('a')?.since).toBe(since);
  });
});
