/** BullMQ's worker as its guide shows it, with the same handler as ours. The queue is paused and resumed by the benchmark. */
import { Worker } from 'bullmq';
import handle from './handler.ts';

const [url = '', queue = '', concurrency = '1'] = process.argv.slice(2);
// its guide demands this option, so that a worker waits while Redis is unreachable
const connection = { url, maxRetriesPerRequest: null };

const worker = new Worker(queue, (job) => Promise.resolve(handle(job.data as { n: number })), {
  connection,
  concurrency: Number(concurrency),
});
worker.on('error', (error) => process.stderr.write(`${error.message}\n`));
process.on('SIGTERM', () => void worker.close().then(() => process.exit()));
