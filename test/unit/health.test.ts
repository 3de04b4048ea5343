import { ReplyError } from 'ioredis';
import { expect, test } from 'vitest';
import { createWorkerHealth, type WorkerHealth } from '../../worker/epoch/health.ts';

const reply = (message: string): Error => new (ReplyError as new (message: string) => Error)(message);
const away = (): Promise<never> => Promise.reject(new Error('PING got no answer within 2000 ms'));
const there = (): Promise<string> => Promise.resolve('PONG');

/** A worker with a lease of 15 s that registered at 0 and holds so many tasks; `pass` lets time go by, tick by tick. */
function start(holds: number, ping: () => Promise<unknown>) {
  let now = 0;
  let tick = (): void => undefined;
  const health = createWorkerHealth(
    15_000,
    () => now,
    (_ms, callback) => {
      tick = callback;
      return { [Symbol.dispose]: () => undefined };
    },
  );
  health.reach(ping);
  health.turned('q', holds);
  const pass = async (ms: number, stepMs = 500): Promise<void> => {
    for (const end = now + ms; now < end;) {
      now = Math.min(end, now + stepMs);
      tick();
      await new Promise(setImmediate);
    }
  };
  return { health, pass };
}

const probes = (health: WorkerHealth): { alive: boolean; ready: boolean } => ({
  alive: health.unhealthy() === undefined,
  ready: health.unready() === undefined,
});

test.each<[string, number, () => Promise<unknown>, Error | undefined, boolean]>([
  ['Redis is away, and nothing would be lost', 0, away, undefined, false],
  ['Redis is away while tasks are held', 3, away, undefined, true],
  ['Redis has no memory for anybody', 3, there, reply('OOM command not allowed'), true],
  ['Redis says that it loads', 3, () => Promise.reject(reply('LOADING Redis is loading')), undefined, true],
  ['Redis answers, and makes no turns for this worker', 3, there, reply('ERR user_script:1: no'), false],
  ['Redis answers, and its turn does not come back', 3, there, undefined, false],
])('%s', async (_what, holds, ping, error, alive) => {
  const { health, pass } = start(holds, ping);
  await pass(15_000);
  expect(probes(health)).toEqual({ alive: true, ready: true });
  if (error) health.failed('q', error);
  await pass(1_500);
  expect(probes(health)).toEqual({ alive, ready: false });
  expect(health.unready()).toMatch(/^no turn in queue "q" for 1[67]s: /);
  health.turned('q', holds);
  expect(probes(health)).toEqual({ alive: true, ready: true });
});

test('one that rests is ready for as long as it may be silent, and no longer', async () => {
  const { health, pass } = start(0, away);
  health.turned('q', 0, 30_000);
  await pass(30_000);
  expect(probes(health)).toEqual({ alive: true, ready: true });
  await pass(1_500);
  expect(probes(health)).toEqual({ alive: false, ready: false });
  health.turned('q', 0);
  await pass(16_500);
  expect(probes(health)).toEqual({ alive: false, ready: false });
});

test('a handler that computes without a pause for minutes misses no turn', async () => {
  const { health, pass } = start(1, there);
  await pass(300_000, 100_000);
  expect(probes(health)).toEqual({ alive: true, ready: true });
});

test('one queue of several is enough, until the worker has left it', async () => {
  const { health, pass } = start(0, there);
  health.turned('other', 0);
  for (let n = 0; n < 40; n++) {
    await pass(500);
    health.turned('other', 0);
  }
  expect(probes(health)).toEqual({ alive: false, ready: false });
  health.left('q');
  expect(probes(health)).toEqual({ alive: true, ready: true });
});
