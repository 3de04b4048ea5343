/** The stepped clock of tests is what Redis and its scripts take for the time of day. */
import { expect, test } from 'vitest';
import { startRedis } from '../support/redis.ts';

test('a server with a clock of its own can be set an hour back, or two ahead', async () => {
  await using server = await startRedis({ ownClock: true });
  const redis = server.client();
  const hours = async (): Promise<number> => {
    const [seconds] = (await redis.eval("return redis.call('TIME')", 0)) as [string];
    return Math.round((Number(seconds) - Date.now() / 1_000) / 3_600) + 0; // no -0
  };
  expect(await hours()).toBe(0);
  await server.setClock(-3_600_000);
  expect(await hours()).toBe(-1);
  await server.setClock(7_200_500);
  expect(await hours()).toBe(2);
});
