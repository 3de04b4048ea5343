/** Scripts on connections of each kind. */
import { expect, test } from 'vitest';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import { note } from '../../queue/workers/register.ts';
import { sources } from '../../queue/scripts/lua.ts';
import { compactLua } from '../../scripts/bundle-lua.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';

test.each([true, false])(
  'several for the first time in one tick, sent together: %s',
  async (enableAutoPipelining) => {
    await using server = await startRedis();
    const redis = server.client({ enableAutoPipelining });
    const keys = freshKeys();
    await redis.ping();
    const [value, workers] = await Promise.all([
      redis.get('nothing'),
      listWorkers(redis, keys),
      note(redis, keys, 'nobody', 1, { field: 'value' }),
    ]);
    expect([value, workers]).toEqual([null, []]);
  },
);

test('a script in a bundle is the same to Redis, to its lines', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const same =
    'return string.dump(loadstring(ARGV[1], "=x")) == string.dump(loadstring(ARGV[2], "=x")) and 1 or 0';
  const names = Object.keys(sources);
  const equal = await Promise.all(
    Object.values(sources).map((lua) => redis.eval(same, 0, lua, compactLua(lua))),
  );
  expect(names.filter((_, i) => equal[i] !== 1)).toEqual([]);
  expect(await redis.eval(same, 0, 'return 1', '\nreturn 1')).toBe(0);
});
