import { expect, test } from 'vitest';
import { planMove } from '../../cli/commands/move-plan.ts';
import { queueKeys } from '../../queue/keys.ts';
import { partitionedKeys } from '../../queue/partitions.ts';
import type { AccessFlags } from '../../cli/access/access-flags.ts';
import type { Place } from '../../cli/access/place.ts';

const elsewhere = { redis: 'redis://new' } as AccessFlags;
const here = { flags: undefined, queue: undefined, result: undefined };
const there = { ...here, flags: elsewhere };
const tiles = { queues: [queueKeys('tiles', 'result')] } as const;
const [first, ...rest] = partitionedKeys('tiles', 'result', [1, 2]);
const parts = {
  queues: [first, ...rest],
  partitioned: { keys: queueKeys('tiles', 'result'), numbers: [1, 2] },
} as Pick<Place, 'queues' | 'partitioned'>;
const several = { queues: [queueKeys('a', 'result'), queueKeys('b', 'result')] } as const;

type Case = [string, ...Parameters<typeof planMove>, string[]];

test.each<Case>([
  ['the same names elsewhere', tiles, { pool: undefined }, there, {}, ['tiles: tiles']],
  ['another name', tiles, { pool: undefined }, { ...here, queue: 'maps' }, {}, ['tiles: maps']],
  ['partitions', tiles, { pool: undefined }, here, { toPartitions: 2 }, ['tiles: tiles:{0} tiles:{1}']],
  [
    'as many partitions elsewhere',
    parts,
    { pool: undefined },
    there,
    {},
    ['tiles: tiles:{0} tiles:{1}', 'tiles:{0}: tiles:{0} tiles:{1}', 'tiles:{1}: tiles:{0} tiles:{1}'],
  ],
  ['each of several queues', several, { pool: undefined }, there, {}, ['a: a', 'b: b']],
])('%s', (_, from, to, destination, flags, expected) => {
  const plans = planMove(from, to, destination, flags);
  expect(plans.map((plan) => `${plan.from.queue}: ${plan.to.map(({ queue }) => queue).join(' ')}`)).toEqual(
    expected,
  );
  // once for each queue, beside its plain name
  const names = new Set(plans.flatMap(({ records }) => records?.from.queue ?? []));
  expect([...names]).toEqual(from.queues.map(({ queue }) => queue).filter((name) => !name.includes('{')));
});

test.each<[string, Parameters<typeof planMove>[0], Parameters<typeof planMove>[2], string]>([
  ['no destination', tiles, here, 'no destination is given'],
  ['one name for two queues', several, { ...there, queue: 'maps' }, 'one name for 2 queues'],
])('%s is refused', (_, from, destination, words) => {
  expect(() => planMove(from, { pool: undefined }, destination, {})).toThrow(words);
});
