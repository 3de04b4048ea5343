/** Other libraries' workers, as they are seen after the clock of Redis was set. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { createAsk } from '../../queue/sources/ask.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';

interface Inquiry {
  readonly method: string;
  readonly ticket: string;
  readonly reply_to: { readonly routing_key: string };
}

/** A worker that answers by Celery's remote control; it runs one task or none. */
async function celeryWorker(
  redis: Redis,
  queue: string,
): Promise<{ busy: boolean; late: () => Promise<void> }> {
  const worker = { busy: false, late: async () => {} };
  const answering = redis.duplicate();
  redis.once('end', () => answering.disconnect());
  redis.on('message', (_, message: string) => {
    const { body } = JSON.parse(message) as { body: string };
    const { method, ticket, reply_to: to } = JSON.parse(body) as Inquiry;
    const running = { id: 't', acknowledged: true, delivery_info: { exchange: '', routing_key: queue } };
    const items = method === 'active' ? (worker.busy ? [running] : []) : [{ name: queue }];
    const answer = Buffer.from(JSON.stringify({ 'celery@pod-1': items })).toString('base64');
    const reply = JSON.stringify({ body: answer, headers: { ticket }, properties: {} });
    worker.late = async () => void (await answering.lpush(to.routing_key, reply));
    void worker.late();
  });
  await redis.subscribe('/0.celery.pidbox');
  return worker;
}

test('Celery: a worker that has become busy is seen to be, though the clock was set back an hour', async () => {
  await using server = await startRedis({ ownClock: true });
  const redis = server.client();
  const worker = await celeryWorker(server.client(), 'mail');
  const source = sourceOf({ celery: { queues: ['mail'], prioritySteps: [0] } });
  const look = async (): Promise<{ inHand: number; workers: string[] }> => {
    const [counts] = await source.read(createAsk(redis), 0, redis, () => undefined);
    if (source.holding.by !== 'worker') throw new Error('its workers are not known');
    const { workers } = await source.holding.readWorkers(createAsk(redis), redis);
    return { inHand: counts?.inHand ?? 0, workers: workers.map(({ id, tasks }) => `${id} ${tasks}`) };
  };
  await eventually(async () => expect(await look()).toEqual({ inHand: 0, workers: ['celery@pod-1 0'] }));
  const { late } = worker;
  await server.setClock(-3_600_000);
  worker.busy = true;
  await eventually(async () => expect(await look()).toEqual({ inHand: 1, workers: ['celery@pod-1 1'] }));
  // to a question of the hour that is yet to come
  await late();
  await eventually(async () => expect(await look()).toEqual({ inHand: 1, workers: ['celery@pod-1 1'] }));
  expect(await look()).toEqual({ inHand: 1, workers: ['celery@pod-1 1'] });
});
