/** Limits of a queue that several worker processes keep together, one of which is killed: the tasks themselves are the witnesses. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { QueueLimits } from '../../queue/limits/definition.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import type { LedgerTask } from '../fixtures/ledger-tasks.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, spawnProgram } from '../support/workers.ts';
import { LogEvent } from '../../runtime/log-event.ts';

const HANDLER = join(import.meta.dirname, '../fixtures/ledger-tasks.ts');
const TASKS = 24;

/** The most tasks that ran at once, in all and of one key, and the order in which those of each key first began. */
function readLedger(file: string): { most: number; mostOfKey: number; orders: Map<string, string[]> } {
  const running = new Map<string, { pid: string; key: string }>();
  const orders = new Map<string, string[]>();
  let [most, mostOfKey] = [0, 0];
  for (const line of readFileSync(file, 'utf8').trim().split('\n')) {
    const [what = '', pid = '', id = '', key = ''] = line.split(' ');
    if (what === '+') {
      running.set(id, { pid, key });
      const order = orders.get(key) ?? [];
      if (!order.includes(id)) orders.set(key, [...order, id]);
    } else if (what === '-') running.delete(id);
    // its tasks ended with it
    else for (const [other, run] of running) if (run.pid === pid) running.delete(other);
    most = Math.max(most, running.size);
    const ofKey = [...running.values()].filter((run) => run.key === key).length;
    mostOfKey = Math.max(mostOfKey, ofKey);
  }
  return { most, mostOfKey, orders };
}

test.concurrent.each<[string, QueueLimits, number, number]>([
  ['of the queue', { concurrency: 2 }, 2, 2],
  ['of keys', { perKey: { field: 'key', concurrency: 1 } }, 3, 1],
  ['of both', { concurrency: 2, perKey: { field: 'key', concurrency: 1 } }, 2, 1],
])(
  'a limit %s holds while a worker is killed, and its slot comes back',
  async (_, limits, most, mostOfKey) => {
    await using server = await startRedis();
    await using folder = await mkdtempDisposable(join(tmpdir(), 'millrace-limits-'));
    const ledger = join(folder.path, 'ledger');
    writeFileSync(ledger, '');
    const redis = server.client();
    const keys = freshKeys();
    await setLimits(redis, keys, limits, 'test');
    const where = ['--redis', server.url, '--queue', keys.queue, '--result', keys.result];
    const flags = [...where, '--module', HANDLER, '--concurrency', '4', '--lease', '2s'];
    await using one = spawnProgram([...flags, '--id', 'one']);
    await using two = spawnProgram([...flags, '--id', 'two']);
    await using three = spawnProgram([...flags, '--id', 'three']);
    await Promise.all([one, two, three].map(async (worker) => worker.reports(LogEvent.Registered)));
    const tasks = Array.from({ length: TASKS }, (_task, i): LedgerTask => ({
      id: `t${i}`,
      ledger,
      key: `k${i % 3}`,
      sleepMs: 100,
    }));
    await redis.lpush(keys.queue, ...tasks.map((task) => JSON.stringify(task)));
    const pids = { one: one.pid, two: two.pid, three: three.pid };
    // the first that is seen to hold something
    const doomed = await eventually(async () => {
      for (const [id, pid] of Object.entries(pids)) if ((await redis.hlen(keys.inflight(id))) > 0) return pid;
      throw new Error('no worker holds anything');
    });
    process.kill(doomed, 'SIGKILL');
    await [one, two, three].find(({ pid }) => pid === doomed)?.ended;
    appendFileSync(ledger, `x ${doomed}  \n`);
    const results = await resultsOf(redis, keys.result, TASKS);
    expect(Object.keys(results)).toHaveLength(TASKS);
    // none of the repeats counts as an attempt
    expect(new Set(Object.values(results))).toEqual(new Set(['1']));
    const found = readLedger(ledger);
    expect(found.most).toBe(most);
    expect(found.mostOfKey).toBeLessThanOrEqual(mostOfKey);
    // the first ones were moved to idle workers, one of which may have been killed with it
    const moved = new Set(['t0', 't1', 't2']);
    const inOrder = (all: readonly string[]): string[] => all.filter((id) => !moved.has(id));
    for (const [key, order] of found.orders)
      if (limits.perKey)
        expect(inOrder(order), key).toEqual(
          inOrder(tasks.filter((task) => task.key === key).map(({ id }) => id)),
        );
    await eventually(async () =>
      expect(await redis.exists(keys.limitSlots, keys.limitRunning, keys.held)).toBe(0),
    );
  },
);
