/** Which occurrences of a cron task are pushed. */
import { expect, test } from 'vitest';
import { cronTimesOf } from '../../controller/decide/cron.ts';
import { occurrencesToPush, type DueOccurrences } from '../../controller/decide/occurrences.ts';
import { ConcurrencyPolicy, Missed } from '../../kube/workerpool.ts';

const at = (text: string): number => Date.parse(`2026-11-${text}Z`);
const time = (ms: number): string => new Date(ms).toISOString().slice(8, 16);

interface Case {
  readonly schedule?: string;
  readonly zone?: string;
  readonly since: string;
  readonly now: string;
  readonly missed?: Missed;
  readonly policy?: ConcurrencyPolicy;
  readonly running?: boolean;
}

function found({
  schedule = '*/10 * * * *',
  zone = 'UTC',
  since,
  now,
  missed,
  policy,
  running,
}: Case): DueOccurrences {
  const times = cronTimesOf(schedule, zone, 'crons[0]', 'schedule');
  return occurrencesToPush(times, at(since), at(now), {
    missed: missed ?? Missed.Last,
    concurrencyPolicy: policy ?? ConcurrencyPolicy.Allow,
    running: running ?? false,
  });
}

const pushed = (given: Case): string[] => found(given).push.map(time);

const { Skip, All } = Missed;
const { Forbid } = ConcurrencyPolicy;

test.each<[string, Case, string[]]>([
  ['none is due', { since: '29T10:00', now: '29T10:09:59' }, []],
  ['one is due', { since: '29T10:00', now: '29T10:10' }, ['29T10:10']],
  ['what was due at the time it began with is done', { since: '29T10:10', now: '29T10:10:30' }, []],
  ['of those missed, the last', { since: '29T09:00', now: '29T10:05' }, ['29T10:00']],
  ['of those missed, none', { since: '29T09:00', now: '29T10:05', missed: Skip }, []],
  [
    'of those missed, each',
    { since: '29T09:35', now: '29T10:05', missed: All },
    ['29T09:40', '29T09:50', '29T10:00'],
  ],
  ['one is on time, and nothing is made up for', { since: '29T09:00', now: '29T10:00:59' }, ['29T10:00']],
  ['on time is a minute', { since: '29T09:00', now: '29T10:01', missed: Skip }, ['29T10:00']],
  ['and no longer', { since: '29T09:00', now: '29T10:01:01', missed: Skip }, []],
  [
    'two within a minute are both on time',
    { schedule: '* * * * *', since: '29T10:00', now: '29T10:02' },
    ['29T10:01', '29T10:02'],
  ],
  ['none while one runs', { since: '29T10:00', now: '29T10:10', policy: Forbid, running: true }, []],
  [
    'one at a time',
    { schedule: '* * * * *', since: '29T10:00', now: '29T10:02', policy: Forbid },
    ['29T10:02'],
  ],
  ['all, one at a time', { since: '29T09:00', now: '29T10:05', missed: All, policy: Forbid }, ['29T10:00']],
  [
    'those that run matter to Forbid alone',
    { since: '29T10:00', now: '29T10:10', running: true },
    ['29T10:10'],
  ],
  [
    'in a time zone',
    { schedule: '0 3 * * *', zone: 'Europe/Berlin', since: '28T12:00', now: '29T02:00:10' },
    ['29T02:00'],
  ],
])('%s', (_, given, expected) => {
  expect(pushed(given)).toEqual(expected);
});

test('of a million missed, the last hundred', () => {
  const times = pushed({ schedule: '* * * * *', since: '01T00:00', now: '29T12:00:00', missed: All });
  expect(times).toHaveLength(100);
  expect([times[0], times.at(-1)]).toEqual(['29T10:21', '29T12:00']);
});

test.each<[string, Case, Omit<DueOccurrences, 'push'>]>([
  ['pushed', { since: '29T10:00', now: '29T10:10' }, { missed: 0, skipped: 0 }],
  ['the last of those missed is pushed', { since: '29T09:30', now: '29T10:05' }, { missed: 2, skipped: 0 }],
  ['none of them is', { since: '29T09:30', now: '29T10:05', missed: Skip }, { missed: 3, skipped: 0 }],
  ['all of them are', { since: '29T09:30', now: '29T10:05', missed: All }, { missed: 0, skipped: 0 }],
  ['one is on time', { since: '29T09:30', now: '29T10:00' }, { missed: 2, skipped: 0 }],
  [
    'one is on time while the last task runs',
    { since: '29T09:30', now: '29T10:00', policy: Forbid, running: true },
    { missed: 2, skipped: 1 },
  ],
  [
    'all, one at a time',
    { since: '29T09:30', now: '29T10:00', missed: All, policy: Forbid },
    { missed: 0, skipped: 2 },
  ],
])('what is left out is counted: %s', (_, given, counts) => expect(found(given)).toMatchObject(counts));
