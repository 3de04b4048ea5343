/** What browsers are told of a list of pools: the fields that differ from what they have, and nothing else. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { OverviewChange, PoolRow } from '../../controller/dashboard/api.ts';
import type { Board } from '../../controller/dashboard/board.ts';
import { createOverview, type OverviewChannel } from '../../controller/dashboard/channels/overview.ts';
import { poolRow } from '../support/pool-row.ts';

const FIRST = poolRow('a/mail', { asOf: 1 });

let row: PoolRow;
let overview: OverviewChannel;
let heard: OverviewChange[];

beforeEach(async () => {
  vi.useFakeTimers();
  row = FIRST;
  heard = [];
  const board = { rows: () => new Map([[row.key, row]]) } as unknown as Board;
  const about = { version: '1', actions: 'none', showTasks: true, host: 'dev' } as const;
  overview = createOverview({ board, about, now: () => Date.now() });
  await overview.listen(await overview.fresh(), (event) => {
    const [, data = ''] = /^data: (.*)$/m.exec(event) ?? [];
    heard.push(JSON.parse(data) as OverviewChange);
  });
});
afterEach(() => {
  overview.stop();
  vi.useRealTimers();
});

async function becomes(change: Partial<PoolRow>): Promise<readonly unknown[]> {
  row = { ...row, ...change };
  heard = [];
  await vi.advanceTimersByTimeAsync(1_000);
  return heard.flatMap(({ changed }) => changed);
}

test('a field that differs, without those that do not', async () => {
  expect(await becomes({ waiting: 3 })).toEqual([{ key: 'a/mail', waiting: 3 }]);
  expect(await becomes({})).toEqual([]);
});

test('that a pool was read again is told with the next change of its own', async () => {
  expect(await becomes({ asOf: 2 })).toEqual([]);
  expect(await becomes({ asOf: 3, waiting: 1 })).toEqual([{ key: 'a/mail', asOf: 3, waiting: 1 }]);
  expect(await becomes({ asOf: 4 })).toEqual([]);
  // the numbers are from the last time that it was read
  expect(await becomes({ known: false })).toEqual([{ key: 'a/mail', asOf: 4, known: false }]);
  expect(await becomes({ waiting: 2 })).toEqual([{ key: 'a/mail', waiting: 2 }]);
});
