/** One computation for all listeners, and none without listeners. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createChannel, type Channel } from '../../controller/dashboard/channels/channel.ts';

let computed: number;
let idle: number;
let value: number;
let channel: Channel;

beforeEach(() => {
  vi.useFakeTimers();
  computed = idle = value = 0;
  let told = 0;
  channel = createChannel({
    everyMs: 1_000,
    now: () => Date.now(),
    begin: () => Promise.resolve(void (told = value)),
    change: () => {
      computed++;
      if (value === told) return Promise.resolve(undefined);
      told = value;
      return Promise.resolve({ value });
    },
    onIdle: () => void idle++,
  });
});
afterEach(() => {
  channel.stop();
  vi.useRealTimers();
});

const tick = (ms = 1_000): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const ids = (events: readonly string[]): string[] =>
  events.map((event) => /^id: \w+-(\d+)\nevent: change\ndata: /.exec(event)?.[1] ?? event);

test('all listeners get the same text of one computation, with changes only', async () => {
  const seq = await channel.fresh();
  const heard: string[][] = [[], [], []];
  for (const events of heard) await channel.listen(seq, (event) => events.push(event));
  value = 1;
  await tick();
  await tick();
  expect(computed).toBe(2);
  expect(heard[0]).toHaveLength(1);
  expect(new Set(heard.map(([event]) => event)).size).toBe(1);
});

test('a listener that returns continues where it was', async () => {
  const seq = await channel.fresh();
  const end = await channel.listen(seq, () => undefined);
  for (value = 1; value <= 3; value++) await tick();
  end();
  const heard: string[] = [];
  await channel.listen(seq.replace(/\d+$/, '1'), (event) => heard.push(event));
  expect(ids(heard)).toEqual(['2', '3']);
});

test.each(['nonsense', '', 'ffffffff-1'])('a listener of another channel (%j) starts over', async (since) => {
  const heard: string[] = [];
  await channel.listen(since, (event) => heard.push(event));
  expect(heard).toEqual([expect.stringMatching(/event: reset/)]);
});

test('a listener that was away for longer than changes are kept starts over', async () => {
  const seq = await channel.fresh();
  await channel.listen(seq, () => undefined);
  for (value = 1; value <= 70; value++) await tick();
  const heard: string[] = [];
  await channel.listen(seq, (event) => heard.push(event));
  expect(heard).toEqual([expect.stringMatching(/event: reset/)]);
});

test('after some time without listeners nothing is computed until the next one comes', async () => {
  const seq = await channel.fresh();
  const end = await channel.listen(seq, () => undefined);
  end();
  await tick(40_000);
  expect(idle).toBe(1);
  const before = computed;
  await tick(60_000);
  expect(computed).toBe(before);
  expect((await channel.fresh()).split('-')[0]).not.toBe(seq.split('-')[0]);
});
