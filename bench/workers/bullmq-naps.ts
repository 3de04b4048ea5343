/** BullMQ in the scale-in experiment (scale-in/workers.ts): what its workers run, and what adds jobs. */
import { hostname } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const { hostname: host, port, pathname } = new URL(process.env['REDIS_URL'] ?? '');
const connection = { host, port: Number(port), db: Number(pathname.slice(1)), maxRetriesPerRequest: null };

async function push(): Promise<void> {
  const queue = new Queue('mail', { connection });
  await queue.waitUntilReady();
  console.log('ready');
  for await (const line of createInterface(process.stdin)) {
    const [task, ms] = line.split(' ');
    await queue.add('nap', { task, ms: Number(ms) });
  }
  await queue.close();
}

function work(): void {
  const redis = new Redis(connection);
  const note = (task: string, what: string): Promise<number> =>
    redis.rpush(`run:${task}`, `${what} ${hostname()} ${Date.now()}`);
  const worker = new Worker<{ task: string; ms: number }>(
    'mail',
    async ({ data: { task, ms } }) => {
      await note(task, 'begin');
      await sleep(ms);
      await note(task, 'end');
    },
    // without a name it is not known which pod holds a job
    { connection, name: hostname() },
  );
  process.once('SIGTERM', () => void worker.close().then(() => process.exit(0)));
}

await (process.argv[2] === 'push' ? push() : work());
