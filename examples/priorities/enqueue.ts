/**
 * Puts tasks into three queues in one transaction, the least urgent first, and prints in which order they were run. Any
 * client would do: which queue a task goes to is all that says how urgent it is.
 */
import { Redis } from 'ioredis';

const redis = new Redis(process.env['MILLRACE_REDIS_URL'] ?? 'redis://localhost:6379');
const of = (queue: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${queue}-${i + 1}`);
const bulk = of('bulk', 20);
const normal = of('normal', 5);
const urgent = of('urgent', 3);
await redis
  .multi()
  .lpush('bulk', ...bulk)
  .lpush('normal', ...normal)
  .lpush('urgent', ...urgent)
  .exec();

const ids = [...bulk, ...normal, ...urgent];
let ends: (string | null)[];
do {
  await new Promise((resolve) => setTimeout(resolve, 50));
  ends = await redis.hmget('result', ...ids);
} while (ends.includes(null));
await redis.quit();
// the result of each task is when it ended
const order = ids.map((id, i) => ({ id, end: Number(ends[i]) })).toSorted((a, b) => a.end - b.end);
console.log(order.map(({ id }) => id).join(' '));
