/** `millrace limits` in a shell. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { ownerOf, setLimits } from '../../queue/limits/limits.ts';
import { millrace } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

let server: RedisServer;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  server = await startRedis();
  env = { MILLRACE_REDIS_URL: server.url };
});
afterAll(() => server[Symbol.asyncDispose]());

test('sets, shows and removes them', async () => {
  const run = (...flags: string[]) => millrace(['limits', '--queue', 'mail', ...flags], { env });
  expect((await run()).stdout).toBe('mail has no limits\n');
  const set = await run('--rate', '100/s', '--max-running', '20');
  expect([set.stderr, set.stdout.split('\n')[0]]).toEqual(['', 'mail: 100/s, 20 at once']);
  const more = await run('--key-field', 'customer', '--key-max-running', '1', '--rate', 'none', '-o', 'json');
  expect(JSON.parse(more.stdout)).toMatchObject([
    {
      queue: 'mail',
      by: 'millrace limits',
      limits: { concurrency: 20, perKey: { field: 'customer', concurrency: 1 } },
    },
  ]);
  expect((await run('--remove')).stdout).toBe('mail has no limits any more\n');
  expect((await run('--remove')).stdout).toBe('mail had no limits\n');
});

test.each([
  [['--rate', '0/s'], /limits\.rate is "0\/s": write a whole number of tasks/],
  [['--max-running', '0'], /It must be a whole number from 1/],
  [['--key-rate', '5/s'], /limits\.perKey\.field is missing/],
  [['--key-field', 'customer'], /limits\.perKey limits nothing/],
  [['--remove', '--rate', '5/s'], /--remove removes all limits/],
  [['--rate', '5/s', '--partitions', '4'], /a queue in partitions has no limits/],
])('%s is refused', async (flags, words) => {
  const { code, stderr } = await millrace(['limits', '--queue', 'refused', ...flags], { env });
  expect([code, stderr]).toEqual([2, expect.stringMatching(words)]);
});

test('those of a pool are changed in its spec, or by force', async () => {
  const keys = queueKeys('pooled', 'result');
  await setLimits(server.client(), keys, { rate: '5/s' }, ownerOf('shop/mail'));
  const run = (...flags: string[]) => millrace(['limits', '--queue', 'pooled', ...flags], { env });
  const refused = await run('--max-running', '3');
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining('are set by pool shop/mail: change spec.limits'),
  ]);
  expect((await run('--max-running', '3', '--force')).stdout).toMatch(/^pooled: 5\/s, 3 at once\n/);
});
