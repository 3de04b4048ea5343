/** The simplest worker: RPOP, then HSET, one task after the other. Drains the list on request. */
import { openRedis } from '../../queue/connection/connection.ts';
import { work } from '../run/tasks.ts';

const [url = '', queue = '', result = ''] = process.argv.slice(2);
const redis = openRedis({ url });

async function drain(): Promise<void> {
  for (;;) {
    const task = await redis.rpop(queue);
    if (task === null) return;
    const { id, result: value } = work(task);
    await redis.hset(result, id, value);
  }
}

process.on('message', () => void drain());
process.on('SIGTERM', () => process.exit());
