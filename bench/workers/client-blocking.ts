/**
 * The least that can lie between a push and its result: one connection that is blocked in BRPOP, and a HSET when it returns.
 * Nothing is promised to anybody. Works until it is ended.
 */
import { openRedis } from '../../queue/connection/connection.ts';
import { work } from '../run/tasks.ts';

const [url = '', queue = '', result = ''] = process.argv.slice(2);
const redis = openRedis({ url });

async function serve(): Promise<void> {
  for (;;) {
    const popped = await redis.brpop(queue, 0);
    if (popped === null) continue;
    const { id, result: value } = work(popped[1]);
    await redis.hset(result, id, value);
  }
}

process.on('SIGTERM', () => process.exit());
await serve();
