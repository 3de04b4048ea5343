/** Scripts on connections of each kind. */
import { expect, test } from 'vitest';
import { listWorkers } from '../../queue/workers/list-workers.ts';
import { note } from '../../queue/workers/register.ts';
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
      note(redis, keys, 'nobody', 1, 'field', 'value'),
    ]);
    expect([value, workers]).toEqual([null, []]);
  },
);
