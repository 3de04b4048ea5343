/** Recovery of a dead worker whose replies are lost or late: it is reported once, with the tasks that went back. */
import { expect, test } from 'vitest';
import { createRecovery } from '../../controller/recover/recover.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createLog } from '../../runtime/log.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const LEFT_TO_LEASE = 'Redis did not report what a lost worker held';

test.each(['is lost with its connection', 'comes when nobody waits for it any more'])(
  'a reply that %s',
  async (how) => {
    await using server = await startRedis();
    const redis = server.client();
    await using proxy = await startTcpProxy(server.port);
    const client = defineScripts(openRedis({ url: `redis://127.0.0.1:${proxy.port}` }));
    const keys = freshKeys();
    await redis.lpush(keys.queue, 'a', 'b', 'c');
    const worker = await startHandWorker(redis, keys, { id: 'dead' });
    await worker.turn({ want: 2 });
    const stopping = new AbortController();
    const recovered: number[] = [];
    const log: string[] = [];
    const recovery = createRecovery({
      queuesOf: () => ({ redisOf: () => client, queues: [keys] }),
      onRecovered: (_pool, _death, tasks) => recovered.push(tasks),
      clock: systemClock,
      log: createLog('test', 'info', { write: (line) => void log.push(line) }),
      signal: stopping.signal,
    });
    try {
      await client.ping();
      proxy.stallAfter('OOM');
      recovery.died('shop/tiles', {
        worker: 'dead',
        why: 'lost',
        message: 'OOMKilled',
        endedAt: Date.now() + 60_000,
      } as Parameters<typeof recovery.died>[1]);
      await eventually(async () => expect(await redis.llen(keys.queue)).toBe(3));
      if (how.startsWith('is lost')) proxy.cut();
      else await eventually(() => expect(log.join('')).toContain(LEFT_TO_LEASE));
      proxy.resume();
      await eventually(() => expect(recovered).toEqual([2]));
      expect(await redis.keys(keys.answers('*'))).toEqual([]);
    } finally {
      stopping.abort();
      await closeRedis(client);
    }
  },
);

test('a worker whose replies are lost, each in turn, registers once and is never fenced', async () => {
  await using server = await startRedis();
  const redis = server.client();
  for (let isOver = false, lost = 1; !isOver && lost < 40; lost++) {
    const keys = freshKeys();
    await using proxy = await startTcpProxy(server.port);
    const address = { url: `redis://127.0.0.1:${proxy.port}` };
    await redis.lpush(keys.queue, 'a');
    const wasLost = proxy.cutAtReply(lost);
    const worker = startWorker({ address }, keys, { handler: async () => 'done' });
    await eventually(async () => expect(await redis.hget(keys.result, 'a')).toBe('done'));
    isOver = !wasLost();
    expect([lost, worker.epochs, await redis.hget(keys.stats, 'fenced')]).toEqual([lost, 1, null]);
    await worker.stop();
  }
});
