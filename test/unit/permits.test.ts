/** Which queue of a worker may pass those above it, and the cost of finding that out. */
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import type { Lane } from '../../worker/epoch/slots/lane.ts';
import { createPermits, type Permits } from '../../worker/epoch/slots/permits.ts';

interface TestLane extends Lane {
  readAt: number;
  readSentAt: number;
  wantsWork: boolean;
  inTransit: boolean;
  inMotion: boolean;
  /** Turns that it was told to make. */
  polls: number;
}

function lane(rank: number): TestLane {
  const nothing = (): void => undefined;
  const own: TestLane = {
    keys: queueKeys(`queue-${rank}`, 'result'),
    rank,
    held: 0,
    running: 0,
    wantsWork: false,
    inTransit: false,
    apart: false,
    suspects: false,
    solitary: false,
    taking: false,
    turning: false,
    full: false,
    heldSince: undefined,
    emptyInMs: 0,
    windowMs: 5,
    drainOrdered: false,
    maybeDrained: false,
    empty: true,
    readAt: -Infinity,
    readSentAt: -Infinity,
    inMotion: false,
    polls: 0,
    turns: 1,
    foundEmpty: (_turns, sentAt) => {
      own.readSentAt = sentAt;
      own.wantsWork = false;
    },
    poll: () => void own.polls++,
    fill: nothing,
    take: nothing,
    announceCompany: nothing,
    wake: nothing,
    guardLease: nothing,
  };
  return own;
}

/** `count` queues; `filled` of them hold tasks. */
function open(count: number, filled: (lane: Lane) => boolean | never) {
  const lanes = Array.from({ length: count }, (_, rank) => lane(rank));
  const requests: (readonly Lane[])[] = [];
  let answered = Promise.withResolvers<number>();
  const permits: Permits = createPermits(
    () => lanes,
    async (asked) => {
      requests.push(asked);
      return new Set(asked.filter(filled));
    },
    (rank) => {
      answered.resolve(rank);
      answered = Promise.withResolvers();
    },
  );
  return { lanes, lowest: lanes.at(-1) as TestLane, requests, permits, answer: () => answered.promise };
}

test.each([2, 16, 200])(
  'the lowest of %i empty queues passes after one request, and no turn',
  async (count) => {
    const { lanes, lowest, requests, permits, answer } = open(count, () => false);
    expect(permits.mayPass(lowest, true)).toBe(false);
    expect(permits.mayPass(lowest, true)).toBe(false);
    await answer();
    expect(permits.mayPass(lowest, true)).toBe(true);
    expect(requests.map((asked) => asked.length)).toEqual([count - 1]);
    expect(lanes.filter(({ polls }) => polls > 0)).toEqual([]);
  },
);

test('a queue above that holds tasks is read by a turn of its own, and is waited for', async () => {
  const { lanes, lowest, requests, permits, answer } = open(50, ({ rank }) => rank === 7);
  permits.mayPass(lowest, true);
  await answer();
  expect(permits.mayPass(lowest, true)).toBe(false);
  expect(lanes.filter(({ polls }) => polls > 0).map(({ rank }) => rank)).toEqual([7]);
  expect(requests).toHaveLength(1);
});

test('tasks on their way out of a queue are not in its list: only a turn finds them', async () => {
  const { lanes, lowest, requests, permits, answer } = open(10, () => false);
  const [first] = lanes as [TestLane];
  first.inMotion = true;
  permits.mayPass(lowest, true);
  await answer();
  expect(permits.mayPass(lowest, true)).toBe(false);
  expect(first.polls).toBe(1);
  expect(requests[0]).not.toContain(first);
});

test('a request that fails is made up for by a turn in each queue', async () => {
  const { lanes, lowest, permits, answer } = open(10, () => {
    throw new Error('the connection was closed');
  });
  permits.mayPass(lowest, true);
  await answer();
  expect(permits.mayPass(lowest, true)).toBe(false);
  expect(lanes.map(({ polls }) => polls)).toEqual([...Array.from({ length: 9 }, () => 1), 0]);
});

test('a task on its way to the worker goes first, although its queue was found empty a moment before', () => {
  const { lanes, lowest, permits } = open(2, () => false);
  const [first] = lanes as [TestLane];
  first.readAt = performance.now();
  permits.took(lowest);
  expect(permits.mayPass(lowest, true)).toBe(true);
  first.inTransit = true;
  expect(permits.mayPass(lowest, true)).toBe(false);
  first.inTransit = false;
  first.readAt = performance.now();
  expect(permits.mayPass(lowest, true)).toBe(true);
});

test('no queue is read for one that does not ask', () => {
  const { lowest, requests, permits } = open(10, () => false);
  expect(permits.mayPass(lowest, false)).toBe(false);
  expect(requests).toEqual([]);
});

test('if one of many queues that were assumed to hold tasks did not, the others are checked together', async () => {
  const { lanes, requests, permits, answer } = open(100, ({ rank }) => rank === 60);
  for (const one of lanes.slice(1)) one.wantsWork = true;
  permits.doubt();
  await answer();
  expect(requests).toHaveLength(1);
  expect(lanes.filter(({ wantsWork }) => wantsWork).map(({ rank }) => rank)).toEqual([60]);
});
