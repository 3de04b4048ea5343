/** `millrace move` as a person uses it: its bar, Ctrl-C, and the command that continues. */
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { eventually } from '../support/eventually.ts';
import { millrace, MILLRACE } from '../support/millrace.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { openTerminal } from '../support/terminal.ts';

const keys = queueKeys('tiles', 'result');

test('a bar shows the rate; after Ctrl-C, the same command continues', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  await using proxy = await startTcpProxy(to.port);
  const [old, now] = [from.client(), to.client()];
  const fill = "for i = 1, tonumber(ARGV[1]) do redis.call('LPUSH', KEYS[1], 'task' .. i) end";
  await old.eval(fill, 1, keys.queue, 100_000);
  const args = ['move', '--queue', 'tiles', '--redis', from.url, '--to', `redis://127.0.0.1:${proxy.port}`];
  {
    const command = `'${process.execPath}' '${MILLRACE}' ${args.join(' ')}; echo "ended $?"`;
    await using terminal = await openTerminal({ columns: 120, lines: 24 }, command, {});
    await eventually(async () => expect(await now.exists(keys.queue)).toBe(1), { everyMs: 0 });
    proxy.stall();
    await terminal.shows(/moved .* \d+ %, .* left, \d+\/s/);
    await terminal.press('C-c');
    proxy.resume();
    await terminal.shows(/interrupted: nothing is lost; run the same command again to continue\s+ended 1/);
  }
  const again = await millrace(args);
  expect(again).toMatchObject({ code: 0, stderr: '' });
  expect(again.stdout).toMatch(/^moved \d+ tasks in \d+\.\ds, continuing an earlier move\n$/);
  expect(await now.llen(keys.queue)).toBe(100_000);
  expect(await now.lindex(keys.queue, 0)).toBe('task100000');
  expect(await now.lindex(keys.queue, -1)).toBe('task1');
  expect(await old.keys('*')).toEqual([]);
});

test('a move whose destination is gone is abandoned, with a warning', async () => {
  await using from = await startRedis();
  const to = await startRedis();
  const old = from.client();
  await old.lpush('tiles', 'one', 'two');
  // of another type
  await to.client().set('tiles', 'text');
  const move = ['move', '--redis', from.url, '--queue', 'tiles', '--to', to.url];
  expect((await millrace([...move, '--merge'])).stderr).toContain('run the same command again to continue');
  await to[Symbol.asyncDispose]();
  const refused = await millrace([...move, '--abandon']);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(
    /2 tasks of "tiles" are between the two places, and nobody can tell whether they have arrived \(.*refuses connections.*add --destination-gone/,
  );
  const ended = await millrace([...move, '--abandon', '--destination-gone']);
  expect(ended).toMatchObject({ code: 0, stderr: expect.stringContaining('run twice') as string });
  expect(ended.stdout).toContain('the move of "tiles" is abandoned: 2 tasks went back into it');
  expect(await old.lrange('tiles', 0, -1)).toEqual(['two', 'one']);
  expect(await old.keys('*')).toEqual(['tiles']);
  const again = await millrace(['move', '--redis', from.url, '--queue', 'tiles', '--abandon']);
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('nothing to abandon') as string });
});

test('what the command line cannot mean, and a destination that is in use', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.lpush('tiles', 'task');
  await redis.hset('of maps', 'id', 'value');
  const move = ['move', '--redis', server.url, '--queue', 'tiles'];
  const cases: [string[], number, string][] = [
    [[], 2, 'no destination is given: name a Redis with --to'],
    [['--to-queue', 'maps', '--quiet', '1s'], 2, '--quiet is for --follow'],
    [['--abandon', '--merge'], 2, '--abandon ends a move: omit --merge'],
    [['--to-queue', 'maps', '--destination-gone'], 2, '--destination-gone is for --abandon'],
    [['--to', server.url, '--to-pool', 'maps'], 2, 'both --to-pool and the address of a Redis are given'],
    [['--to-queue', 'a{b}', '--to-partitions', '2'], 2, 'it cannot have partitions'],
    [['--to', server.url], 1, 'there is nothing to move'],
  ];
  for (const [args, code, words] of cases) {
    const ended = await millrace([...move, ...args]);
    expect(ended.stderr).toContain(words);
    expect(ended.code).toBe(code);
  }
  await using to = await startRedis();
  await to.client().lpush('tiles', 'other');
  const refused = await millrace([...move, '--to', to.url]);
  expect(refused.stderr).toContain('has a queue "tiles" already: 1 waiting: add --merge to move into it');
  const merged = await millrace([...move, '--merge'], { env: { MILLRACE_TO_URL: to.url } });
  expect(merged).toMatchObject({ code: 0, stdout: expect.stringMatching(/^moved 1 task in /) as string });
  expect(await to.client().lrange('tiles', 0, -1)).toEqual(['other', 'task']);
});
