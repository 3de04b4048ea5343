/**
 * `millrace record`: the arrivals of a pool, as a trace for `millrace simulate`. Live, from the length and the counters of its queues,
 * read many times a second; or, with `--since`, from the timeline that the controller keeps in Redis.
 */
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { Writable } from 'node:stream';
import { combineSamples, type PoolSample } from '../../queue/pool/pool-sample.ts';
import { within } from '../../queue/connection/connection.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { readTimeline } from '../../queue/pool/timeline.ts';
import { systemClock } from '../../runtime/clock.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import { shellWord } from '../../runtime/shell-word.ts';
import { createHistorian, type Historian, type HistoryTask } from '../../simulate/history.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { withRecords, type PoolRecords } from '../access/recorded-pool.ts';
import { spanBetween, spansOf, startsOf } from './spans.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { age } from '../terminal/table.ts';

export interface RecordFlags extends AccessFlags {
  /** ms. */
  readonly for?: number;
  readonly step: number;
  readonly since?: number;
  /** Output file; stdout by default. */
  readonly file?: string;
}

const SAMPLE_TIMEOUT_MS = 3_000;

export async function recordCommand(
  name: string | undefined,
  flags: RecordFlags,
  log: CommandLog,
): Promise<void> {
  await withRecords(name, flags, async (records) => {
    const out = flags.file === undefined ? process.stdout : createWriteStream(flags.file);
    const sheet = createSheet(out);
    const startMs =
      flags.since === undefined
        ? await recordLive(records, flags, sheet, log)
        : await recordPast(records, flags.since, sheet);
    if (out !== process.stdout) {
      out.end();
      await finished(out);
    }
    say(sheet.summary());
    const start = startMs === undefined ? '' : ` --start-time ${(startMs / 1_000).toFixed(1)}s`;
    if (flags.file !== undefined && sheet.tasks > 0)
      say(`next: millrace simulate --trace ${shellWord(flags.file)}${start} --target 10s`);
  });
}

/** Returns the start time of a replica, ms, if it is known. */
async function recordPast(
  { redis, keys, pool }: PoolRecords,
  sinceMs: number,
  sheet: Sheet,
): Promise<number | undefined> {
  const entries = await readTimeline(redis, keys, pool, { since: Date.now() - sinceMs });
  if (entries.length === 0)
    throw new Error(
      `there is no timeline of ${pool} in the last ${age(sinceMs)}: nothing happened in it, or no controller has recorded it`,
    );
  const history = createHistorian();
  for (const span of spansOf(entries)) await sheet.write(history.add(span));
  await sheet.write(history.end());
  return startsOf(entries);
}

async function recordLive(
  { redisOf, queues, pool }: PoolRecords,
  { for: forMs, step }: RecordFlags,
  sheet: Sheet,
  log: CommandLog,
): Promise<undefined> {
  using signals = onSignals();
  const began = performance.now();
  /** A wall clock that is set during the recording must not fold the trace. */
  const epoch = Date.now() - began;
  const until = forMs === undefined ? Infinity : began + forMs;
  say(`recording ${pool} every ${step} ms${forMs === undefined ? '' : ` for ${age(forMs)}`}; Ctrl-C ends it`);
  let last: PoolSample | undefined;
  let history: Historian | undefined;
  let debt = 0;
  let trouble: string | undefined;
  while (!signals.stopping.aborted && performance.now() < until) {
    const next = performance.now() + step;
    try {
      const samples = Promise.all(queues.map((each) => sampleQueue(redisOf(each), each)));
      const sample = combineSamples(await within(SAMPLE_TIMEOUT_MS, samples, 'the sample'));
      history ??= createHistorian({ running: sample.inFlight });
      const { span, owed } = spanBetween(last, sample, epoch + performance.now(), debt);
      debt = owed;
      await sheet.write(history.add(span));
      last = sample;
      trouble = undefined;
    } catch (error) {
      log.debug(error, 'the sample failed; retrying');
      if ((error as Error).message !== trouble) say(`${(error as Error).message}; retrying`);
      trouble = (error as Error).message;
    }
    await systemClock.sleep(Math.min(next, until) - performance.now(), signals.stopping);
  }
  await sheet.write(history?.end() ?? []);
  return undefined;
}

interface Sheet {
  readonly tasks: number;
  write(tasks: readonly HistoryTask[]): Promise<void>;
  summary(): string;
}

/** CSV: a header, then a line for each task, `2026-03-29T08:00:00.123Z,1.4`. */
function createSheet(out: Writable): Sheet {
  let count = 0;
  let work = 0;
  let first = Infinity;
  let last = -Infinity;
  out.write('arrival,service\n');
  return {
    get tasks() {
      return count;
    },
    write: async (tasks) => {
      let text = '';
      for (const [arrival, service] of tasks) {
        text += `${new Date(arrival).toISOString()},${Number((service / 1_000).toFixed(6))}\n`;
        work += service;
        first = Math.min(first, arrival);
        last = Math.max(last, arrival);
      }
      count += tasks.length;
      if (text !== '' && !out.write(text)) await new Promise((resolve) => void out.once('drain', resolve));
    },
    summary: () =>
      count === 0
        ? 'no tasks: nothing came, or none has finished yet'
        : `${count} tasks that came within ${age(last - first)}, ${(work / 1_000).toFixed(1)} s of work`,
  };
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
