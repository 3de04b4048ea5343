/** What only taskiq does: delayed tasks are with its scheduler, which needs no worker. */
import { expect, test } from 'vitest';
import { readSource } from '../../queue/sources/read.ts';
import { eventually } from '../support/eventually.ts';
import { openScene } from './cases.ts';
import { taskiqListCase, taskiqStreamCase } from './taskiq.ts';

test.for([taskiqListCase, taskiqStreamCase])(
  '$name: a delayed task counts once the scheduler has sent it',
  async (one) => {
    await using scene = await openScene(one);
    const { redis, server, source, sees } = scene;
    await using library = await one.open(server);
    // opens its queue
    await library.push(0);
    await library.push(1, 10);
    expect(await redis.keys('schedule:time:*')).toHaveLength(1);
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 0, delayed: 0 });
    library.start('schedule');
    await sees({ waiting: 1 });
    // the scheduler forgets a task after it has sent it
    await eventually(async () => expect(await redis.keys('schedule:time:*')).toEqual([]));
  },
);

test('a queue of the other broker is named', async () => {
  await using scene = await openScene(taskiqStreamCase);
  const { library, redis } = scene;
  await library.push(1);
  await scene.sees({ waiting: 1 });
  await using other = await openScene(taskiqListCase);
  await expect(readSource(redis, other.source, 0)).rejects.toThrow(
    'the key "mail" is not a list (LLEN reads it)',
  );
});
