/** The bounds of a decision: steps, schedules, the pattern of past days; and the advice if the target cannot be met. */
import { describe, expect, test } from 'vitest';
import { adviceFor, type Advice, type Situation } from '../../controller/decide/target-wait/advice.ts';
import {
  BIN_MS,
  forecastFloor,
  updateForecast,
  type Forecast,
} from '../../controller/decide/target-wait/forecast.ts';
import { limitStep, type Change } from '../../controller/decide/max-step.ts';
import { boundsAt, type Schedule } from '../../controller/decide/schedule.ts';

describe('steps', () => {
  /** Rows of [s, desired, expected]. */
  const run = (
    from: number,
    limits: Parameters<typeof limitStep>[3],
    rows: readonly (readonly [number, number, number])[],
  ): void => {
    let replicas = from;
    let changes: readonly Change[] = [];
    for (const [s, desired, expected] of rows) {
      ({ replicas, changes } = limitStep(desired, replicas, changes, limits, s * 1_000));
      expect({ s, replicas }).toEqual({ s, replicas: expected });
    }
  };
  test('none are set: immediately', () =>
    run(0, { up: undefined, down: undefined }, [
      [0, 40, 40],
      [1, 0, 0],
    ]));
  test('a number of replicas in 15 s', () =>
    run(0, { up: { replicas: 4 }, down: undefined }, [
      [0, 40, 4],
      [1, 40, 4],
      [14, 40, 4],
      [15, 40, 8],
      [16, 5, 5],
      [17, 40, 8],
    ]));
  test('a percentage of the previous number, and at least one', () =>
    run(20, { up: undefined, down: { percent: 50 } }, [
      [0, 0, 10],
      [5, 0, 10],
      [15, 0, 5],
      [30, 0, 2],
      [45, 0, 1],
      [60, 0, 0],
    ]));
});

describe('schedules', () => {
  const own = { minReplicas: 0, maxReplicas: 10 };
  const at = (start: number, durationMs: number, minReplicas?: number, maxReplicas?: number): Schedule => ({
    name: `from ${start}`,
    lastStart: (now) => (now >= start ? start : undefined),
    nextStart: (now) => (now < start ? start : undefined),
    durationMs,
    minReplicas,
    maxReplicas,
  });
  test.each([
    [99, 0, undefined, 100],
    [100, 3, 'from 100', 150],
    [149, 3, 'from 100', 150],
    [150, 0, undefined, undefined],
  ])('at %d', (now, minReplicas, minBy, until) =>
    expect(boundsAt(own, [at(100, 50, 3)], now)).toEqual({
      minReplicas,
      maxReplicas: 10,
      minBy,
      maxBy: undefined,
      on: minBy === undefined ? [] : [minBy],
      until,
    }),
  );
  test('of several, the largest', () =>
    expect(boundsAt(own, [at(0, 50, 3, 5), at(0, 50, 4), at(2, 50, undefined, 20)], 3)).toMatchObject({
      minReplicas: 4,
      maxReplicas: 20,
      minBy: 'from 0',
      maxBy: 'from 2',
      until: 50,
    }));
  test('a scheduled minimum raises the maximum; a scheduled maximum lowers the own minimum', () => {
    expect(boundsAt(own, [at(0, 50, 15)], 1)).toMatchObject({
      minReplicas: 15,
      maxReplicas: 15,
      maxBy: 'from 0',
    });
    expect(boundsAt({ minReplicas: 5, maxReplicas: 10 }, [at(0, 50, undefined, 2)], 1)).toMatchObject({
      minReplicas: 2,
      maxReplicas: 2,
      minBy: 'from 0',
    });
  });
});

describe('forecast', () => {
  const DAY_MS = 86_400_000;
  /** Lives through days; `need` says what is needed at a time. Looks come every 5 minutes. */
  const live = (
    days: number,
    need: (at: number) => number,
  ): { forecast: Forecast | undefined; now: number } => {
    let forecast: Forecast | undefined;
    let held = 0;
    let now = 0;
    for (; now < days * DAY_MS; now += 300_000) {
      const needed = need(now);
      forecast = updateForecast(forecast, { now, elapsedMs: 300_000, held, needed, startMs: 3_600_000 });
      held = needed;
    }
    return { forecast, now };
  };
  const morning = (at: number): number => (Math.floor(at / 3_600_000) % 24 === 9 ? 8 : 0);

  test('what comes every day is expected, as soon as that has paid', () => {
    const { forecast, now } = live(6, morning);
    expect(forecastFloor(forecast, now + 9.5 * 3_600_000)).toBe(8);
    expect(forecastFloor(forecast, now + 12 * 3_600_000)).toBe(0);
  });
  test('after one day there is no pattern', () => {
    const { forecast, now } = live(1.2, morning);
    expect(forecastFloor(forecast, now + 9.5 * 3_600_000 - 0.2 * DAY_MS)).toBe(0);
  });
  test('what comes at a different hour each day is not', () => {
    const wandering = (at: number): number =>
      Math.floor(at / 3_600_000) % 24 === (Math.floor(at / DAY_MS) * 7) % 24 ? 8 : 0;
    const { forecast, now } = live(20, wandering);
    for (let at = 0; at < DAY_MS; at += BIN_MS) expect(forecastFloor(forecast, now + at)).toBe(0);
  });
  test('a pattern that ends is given up', () => {
    const { forecast, now } = live(40, (at) => (at < 10 * DAY_MS ? morning(at) : 0));
    expect(forecastFloor(forecast, now + 9.5 * 3_600_000)).toBe(0);
  });
  test('a weekend is part of the week', () => {
    // the epoch was a Thursday
    const weekday = (at: number): number => ([2, 3].includes(Math.floor(at / DAY_MS) % 7) ? 0 : morning(at));
    const { forecast } = live(42, weekday);
    expect(forecast?.week.needs[2 * 96 + 38]).toBe(0);
    expect(forecast?.week.needs[4 * 96 + 38]).toBeGreaterThan(7);
    expect(JSON.stringify(forecast).length).toBeLessThan(6_000);
  });
});

describe('advice', () => {
  /** 1,000 tasks: 990 would have been in time with up to 2 replicas, 10 needed about 16. */
  const floors = Array.from({ length: 33 }, (_, i) => (i === 8 ? 985 : i === 32 ? 15 : 0));
  const held: Situation = {
    waitMs: 10_000,
    startMs: 3_000,
    startKnown: true,
    minReplicas: 0,
    maxReplicas: 50,
    floors,
    over: 0,
    mean: 3,
    unfetched: false,
    serviceMs: 1_000,
    redis: undefined,
  };
  const answersIn = (roundTripMs: number) => ({ server: 'redis:6379/2', roundTripMs });
  test('a target that is held needs none', () => expect(adviceFor(held)).toBeUndefined());
  test('starting takes longer than the target: a floor, and what it costs', () => {
    const advice = adviceFor({ ...held, startMs: 30_000 });
    expect(advice).toMatchObject({ reason: 'StartTimeAboveTarget', minReplicas: 16 });
    expect(advice?.message).toBe(
      'replicas take 30 s to start, the target is 10 s: minReplicas 16 would hold it, for at most 312 pod-hours a day more',
    );
    expect(adviceFor({ ...held, startMs: 30_000, minReplicas: 16 })).toBeUndefined();
  });
  test('a floor above the maximum names both', () => {
    const advice = adviceFor({ ...held, startMs: 30_000, maxReplicas: 8 });
    expect(advice).toMatchObject({ minReplicas: 16, maxReplicas: 16 });
    expect(advice?.message).toContain('minReplicas 16 and maxReplicas 16 would hold it');
  });
  test('no start was observed yet, or hardly a task: no advice', () => {
    expect(adviceFor({ ...held, startMs: 30_000, startKnown: false })).toBeUndefined();
    expect(adviceFor({ ...held, startMs: 30_000, floors: [50] })).toBeUndefined();
  });
  test('the maximum is too low', () => {
    const advice = adviceFor({ ...held, over: 0.031, maxReplicas: 20 });
    expect(advice).toMatchObject({ reason: 'MaxReplicasTooLow', maxReplicas: 22 });
    expect(advice?.message).toMatch(
      /^3.1 % of recent tasks waited for longer than 10 s: maxReplicas 22 would/,
    );
  });
  test.each<[string, Partial<Situation>, Advice['reason'] | undefined]>([
    ['slots are free, how Redis answers is not known', { unfetched: true }, 'WorkersNotFetching'],
    ['slots are free, Redis answers', { unfetched: true, redis: answersIn(250) }, 'WorkersNotFetching'],
    ['slots are free, Redis is slow', { unfetched: true, redis: answersIn(251) }, 'RedisSaturated'],
    ['every task waits longer for Redis than it runs', { redis: answersIn(1_000) }, 'RedisSaturated'],
    ['long tasks in all slots, Redis is slow', { redis: answersIn(999) }, undefined],
    ['the same, and the maximum is too low', { redis: answersIn(999), maxReplicas: 20 }, 'MaxReplicasTooLow'],
    [
      'Redis is slow, and starts take too long',
      { unfetched: true, redis: answersIn(800), startMs: 30_000 },
      'RedisSaturated',
    ],
    ['Redis is slow, and no task was late', { unfetched: true, redis: answersIn(800), over: 0 }, undefined],
    [
      'Redis is slow, hardly a task was seen',
      { unfetched: true, redis: answersIn(800), floors: [50] },
      undefined,
    ],
  ])('tasks are late: %s', (_, change, reason) =>
    expect(adviceFor({ ...held, over: 0.2, ...change })?.reason).toBe(reason),
  );
  test('Redis and workers are each named, with what to check', () => {
    const late = { ...held, over: 0.2, unfetched: true };
    expect(adviceFor({ ...late, redis: answersIn(812) })?.message).toBe(
      'Redis at redis:6379/2 takes 0.8 s to answer: more replicas will not hold the target of 10 s; ' +
        'look at its SLOWLOG and used CPU, or give the queue a Redis of its own',
    );
    const idle =
      'tasks wait although workers have free slots: more replicas will not hold the target of 10 s; look at ';
    expect(adviceFor(late)?.message).toBe(`${idle}Redis and at what the workers log`);
    expect(adviceFor({ ...late, redis: answersIn(3) })?.message).toBe(`${idle}what the workers log`);
  });
});
