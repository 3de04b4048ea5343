/** When schedules begin and end: fixed dates around both changes of the clocks, and errors in a spec. */
import { describe, expect, test } from 'vitest';
import { cronTimesOf } from '../../controller/decide/cron.ts';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Memory } from '../../controller/decide/decision.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import { boundsAt } from '../../controller/decide/schedule.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { ScheduleSpec } from '../../kube/workerpool.ts';

const berlin = 'Europe/Berlin';
const iso = (at: number | undefined): string | undefined =>
  at === undefined ? undefined : new Date(at).toISOString().replace(':00.000Z', 'Z');

describe('starts', () => {
  // clocks go forward on 29 March 2026 at 02:00 (01:00Z), and back on 25 October 2026 at 03:00 (01:00Z)
  test.each([
    ['0 8 * * 1-5', '2026-03-27T12:00Z', '2026-03-27T07:00Z', '2026-03-30T06:00Z'],
    ['0 8 * * 1-5', '2026-10-23T12:00Z', '2026-10-23T06:00Z', '2026-10-26T07:00Z'],
    ['the very minute', '2026-03-30T06:00Z', '2026-03-30T06:00Z', '2026-03-31T06:00Z'],
    ['30 2 * * *', '2026-03-28T12:00Z', '2026-03-28T01:30Z', '2026-03-29T01:00Z'],
    ['30 2 * * *', '2026-03-29T12:00Z', '2026-03-29T01:00Z', '2026-03-30T00:30Z'],
    ['30 2 * * *', '2026-10-25T00:29Z', '2026-10-24T00:30Z', '2026-10-25T00:30Z'],
    ['30 2 * * *', '2026-10-25T01:45Z', '2026-10-25T00:30Z', '2026-10-26T01:30Z'],
    ['0 0 29 2 *', '2026-01-01T00:00Z', '2024-02-28T23:00Z', '2028-02-28T23:00Z'],
  ])('%s at %s', (cron, now, last, next) => {
    const starts = cronTimesOf(cron === 'the very minute' ? '0 8 * * 1-5' : cron, berlin, 'start');
    expect([starts.lastStart, starts.nextStart].map((of) => iso(of(Date.parse(now))))).toEqual([last, next]);
  });

  // a skipped hour that ends at midnight, on Saturday, 28 March 2026, at 23:00 (01:00Z)
  test.each([
    ['America/Nuuk', '45 23 * * 6', '2026-03-28T12:00Z', '2026-03-22T01:45Z', '2026-03-29T01:00Z'],
    ['America/Nuuk', '45 23 * * 6', '2026-03-29T01:00Z', '2026-03-29T01:00Z', '2026-04-05T00:45Z'],
    ['America/Nuuk', '0,30 23 28 3 *', '2026-03-29T00:59Z', '2025-03-29T01:30Z', '2026-03-29T01:00Z'],
    ['America/Nuuk', '0 0 * * 0', '2026-03-29T00:59Z', '2026-03-22T02:00Z', '2026-03-29T01:00Z'],
    // one that begins at midnight, on Sunday, and one of half an hour
    ['Asia/Beirut', '30 0 * * 0', '2026-03-28T12:00Z', '2026-03-21T22:30Z', '2026-03-28T22:00Z'],
    ['Australia/Lord_Howe', '15 2 * * 0', '2026-10-03T12:00Z', '2026-09-26T15:45Z', '2026-10-03T15:30Z'],
    // a whole day, the last but one of 2011
    ['Pacific/Apia', '0 12 30 12 *', '2011-12-29T12:00Z', '2010-12-30T22:00Z', '2011-12-30T10:00Z'],
    // every twenty minutes, by what the clocks show
    ['Europe/Berlin', '*/20 * * * *', '2026-03-29T00:59Z', '2026-03-29T00:40Z', '2026-03-29T01:00Z'],
    ['Europe/Berlin', '*/20 * * * *', '2026-10-25T00:50Z', '2026-10-25T00:40Z', '2026-10-25T01:00Z'],
    ['Europe/Berlin', '*/20 * * * *', '2026-10-25T01:10Z', '2026-10-25T01:00Z', '2026-10-25T01:20Z'],
    ['Europe/Berlin', '*/20 2 * * *', '2026-10-25T01:10Z', '2026-10-25T00:40Z', '2026-10-26T01:00Z'],
    ['Europe/Berlin', '*/20 2 * * *', '2026-03-29T00:10Z', '2026-03-28T01:40Z', '2026-03-29T01:00Z'],
  ])('%s: %s at %s', (zone, cron, now, last, next) => {
    const starts = cronTimesOf(cron, zone, 'start');
    expect([starts.lastStart, starts.nextStart].map((of) => iso(of(Date.parse(now))))).toEqual([last, next]);
  });

  test('one instance answers for any time, in any order', () => {
    const { lastStart } = cronTimesOf('*/7 3 * * *', berlin, 'start');
    const fresh = (at: number): number | undefined =>
      cronTimesOf('*/7 3 * * *', berlin, 'start').lastStart(at);
    const begin = Date.parse('2026-03-29T00:00Z');
    const times = Array.from({ length: 100 }, (_, i) => begin + ((i * 37) % 100) * 431_000);
    expect(times.map(lastStart)).toEqual(times.map(fresh));
  });
});

/** `minReplicas: null` for none. */
type Change = Omit<Partial<ScheduleSpec>, 'minReplicas'> & { readonly minReplicas?: number | null };
const schedule = ({ minReplicas = 3, ...change }: Change): ScheduleSpec => ({
  start: '0 8 * * 1-5',
  duration: '10h',
  timeZone: berlin,
  ...(minReplicas !== null && { minReplicas }),
  ...change,
});
const policy = (...schedules: ScheduleSpec[]) => policyOf(withDefaults({ redis: {}, schedules }));

describe('bounds', () => {
  const minAt = (now: string, ...schedules: ScheduleSpec[]): number => {
    const of = policy(...schedules);
    return boundsAt(of, of.schedules ?? [], Date.parse(now)).minReplicas;
  };
  test.each([
    ['before the start', '2026-03-27T06:59:59.999Z', 0],
    ['at the start', '2026-03-27T07:00Z', 3],
    ['before the end', '2026-03-27T16:59:59.999Z', 3],
    ['at the end', '2026-03-27T17:00Z', 0],
    ['on Saturday', '2026-03-28T09:00Z', 0],
    ['on Monday in summer time', '2026-03-30T06:00Z', 3],
  ])('%s', (_, now, min) => expect(minAt(now, schedule({}))).toBe(min));

  test('a duration is elapsed time, even if the clocks change', () => {
    const night = schedule({ start: '0 22 * * *', duration: '8h' });
    expect(minAt('2026-03-29T04:59:59Z', night)).toBe(3);
    expect(minAt('2026-03-29T05:00Z', night)).toBe(0);
    expect(minAt('2026-10-25T03:59:59Z', night)).toBe(3);
    expect(minAt('2026-10-25T04:00Z', night)).toBe(0);
  });

  test('longer than the time to the next start: always on', () => {
    const always = schedule({ start: '0 * * * *', duration: '90m' });
    for (let minute = 0; minute < 180; minute += 7)
      expect(minAt(new Date(Date.parse('2026-03-29T00:00Z') + minute * 60_000).toISOString(), always)).toBe(
        3,
      );
  });

  test('overlapping: the larger minimum for as long as it is on', () => {
    const lunch = schedule({ start: '0 12 * * *', duration: '1h', minReplicas: 7 });
    expect(minAt('2026-03-27T10:59Z', schedule({}), lunch)).toBe(3);
    expect(minAt('2026-03-27T11:00Z', schedule({}), lunch)).toBe(7);
    expect(minAt('2026-03-27T12:00Z', schedule({}), lunch)).toBe(3);
  });
});

describe('an idle pool', () => {
  const of = policy(schedule({ name: 'office hours' }));
  const nothing = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0 } as const;
  test('requires a decision when a schedule begins and when it ends, and acts then', () => {
    let memory: Memory = noMemory;
    let replicas = 0;
    const reasons: string[] = [];
    let now = Date.parse('2026-03-27T03:00Z');
    const looks: (string | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      const decision = decide(of, nothing, replicas, memory, now);
      ({ memory, desired: replicas } = decision);
      reasons.push(decision.reason);
      looks.push(iso(decision.decideAgainAt));
      now = decision.decideAgainAt ?? Number.NaN;
    }
    expect(looks).toEqual([
      '2026-03-27T07:00Z',
      '2026-03-27T17:00Z',
      '2026-03-30T06:00Z',
      '2026-03-30T16:00Z',
    ]);
    expect(reasons).toEqual([
      '0: 0 waiting, 0 in flight, 5 tasks a replica',
      '0→3: 0 waiting, 0 in flight, 5 tasks a replica, minReplicas 3 by schedule "office hours"',
      '3→0: 0 waiting, 0 in flight, 5 tasks a replica; the last 60 s needed no more',
      '0→3: 0 waiting, 0 in flight, 5 tasks a replica, minReplicas 3 by schedule "office hours"',
    ]);
  });

  test('a maximum of nothing stops the work, with the words for it', () => {
    const closed = policy(schedule({ minReplicas: null, maxReplicas: 0 }));
    const decision = decide(
      closed,
      { ...nothing, waiting: 20 },
      2,
      noMemory,
      Date.parse('2026-03-27T08:00Z'),
    );
    expect(decision).toMatchObject({ desired: 0, limited: 'max' });
    expect(decision.reason).toContain(', maxReplicas 0 by schedule "0 8 * * 1-5"');
  });
});

describe('what cannot be a schedule', () => {
  test.each<[Change, string]>([
    [
      { start: '99 8 * * *' },
      'schedules[1].start is "99 8 * * *" (Invalid value for minute: 99): write five fields of cron, minute hour day month weekday, such as "0 8 * * 1-5"',
    ],
    [{ start: '0 0 8 * * 1-5' }, 'schedules[1].start is "0 0 8 * * 1-5" (mode'],
    [{ start: 'at eight' }, 'write five fields of cron'],
    [{ start: '0 8 32 * *' }, 'Invalid value for day: 32'],
    [{ start: '0 8 * 13 *' }, 'Invalid value for month: 13'],
    [{ start: '@daily' }, 'write five fields of cron'],
    [
      { start: '0 8 31 2 *' },
      'schedules[1].start is "0 8 31 2 *", a date that never occurs: correct the day or the month',
    ],
    [
      { timeZone: 'Europe/Berln' },
      'schedules[1].timeZone is "Europe/Berln", which is no time zone: write a name of the IANA database, such as Europe/Berlin',
    ],
    [{ duration: '10' }, 'schedules[1].duration: '],
    [{ duration: '0s' }, 'schedules[1].duration is 0s: write how long it holds, such as 10h'],
    [{ minReplicas: 1.5 }, 'schedules[1].minReplicas is 1.5: write a number of replicas such as 3'],
    [{ minReplicas: null }, 'schedules[1] changes nothing: set minReplicas or maxReplicas in it'],
  ])('%j', (change, message) => {
    const read = (): unknown => policy(schedule({}), schedule(change));
    expect(read).toThrow(RangeError);
    expect(read).toThrow(message);
  });
});
