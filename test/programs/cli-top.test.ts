/** `millrace top` in a real terminal, at 80 and at 120 columns: its screens, its keys, and the terminal afterwards. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { queueKeys } from '../../queue/keys.ts';
import { openQueue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { millrace, MILLRACE } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { openTerminal, type Terminal } from '../support/terminal.ts';
import { startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
const keys = queueKeys('tiles', 'result');
beforeAll(async () => {
  server = await startRedis();
  const redis = server.client();
  await redis.hset(keys.stats, 'completed', 10, 'serviceUs', 20_000_000);
  await redis.hset(queueKeys('mail', 'result').stats, 'completed', 1);
  await redis.lpush('mail', 'a', 'b');
});
afterAll(() => server[Symbol.asyncDispose]());

async function bury(...ids: string[]): Promise<void> {
  const letter = (id: string): string =>
    `${Date.now()} ${JSON.stringify({ id, attempts: 5, worker: 'w-1', error: `timeout of ${id}` })}\n{"id":"${id}"}`;
  await server.client().lpush(keys.dead, ...ids.map(letter));
}

function open(columns: number, lines: number, env: NodeJS.ProcessEnv = {}, before = ''): Promise<Terminal> {
  const command = `${before}'${process.execPath}' '${MILLRACE}' top; echo "ended $?"`;
  return openTerminal({ columns, lines }, command, { ...env, MILLRACE_REDIS_URL: server.url });
}

test('the queues of a Redis, sorted and filtered; a queue opens to its workers and its dead letters', async () => {
  const finish = Promise.withResolvers<void>();
  await using worker = startWorker(server, keys, { id: 'w-1', handler: () => finish.promise });
  // a failed test must not wait for the worker's grace period
  using _finished = { [Symbol.dispose]: () => finish.resolve() };
  await worker.ready();
  const redis = server.client();
  await redis.lpush(keys.queue, 'running');
  await eventually(async () => expect(await redis.hget(keys.load, 'w-1')).toBe('1'));
  await bury('job-1', 'job-2', 'job-3');
  await using terminal = await open(80, 24);
  const list = await terminal.shows(
    /\nNAME\* +WAITING +FLIGHT +REPL +RATE +WAIT +DEAD +STATE\nmail +2 +0 +0 .*NoWorkers.*\ntiles +0 +1 +1 .* 3 +Busy\n/,
  );
  expect(list).toMatch(/^millrace top {2}Redis at 127\.0\.0\.1:\d+ +\d\d:\d\d:\d\d\n/);
  expect(list).toMatch(
    /\nmail: 0 of 0 workers busy.*\n↑↓ choose {2}Enter open {2}s sort \(name\) {2}\/ filter {2}q quit\n$/,
  );
  expect(Math.max(...list.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);

  await terminal.press('s', 's');
  await terminal.shows(/FLIGHT\*.*\ntiles .*\nmail /);
  await terminal.press('/', 'mai');
  await terminal.shows(/filter: mai/);
  expect(await terminal.screen()).not.toMatch(/\ntiles /);
  await terminal.press('Escape');
  await terminal.shows(/\ntiles /);
  await terminal.press('Home', 'Enter');
  await terminal.shows(/tiles {2}\(tiles\) *\n workers 1 {3}dead letters 3 *\nWORKER .*\nw-1 +busy +1\/1 /);

  await terminal.press('Tab', 'Down');
  await terminal.shows(/AGO +TRY +TASK +ERROR\n.*job-3 .*\n.*job-2 +timeout of job-2/);
  await terminal.press('r');
  await terminal.shows(/Requeue task job-2\? y: yes, any other key: no/);
  await terminal.press('n');
  await terminal.shows(/Tab workers {2}r requeue {2}d drop/);
  expect(await redis.llen(keys.dead)).toBe(3);
  await terminal.press('r', 'y');
  await terminal.shows(/\n1 requeued *\n/);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['{"id":"job-2"}']);
  await terminal.press('D', 'y');
  await terminal.shows(/\n2 dropped *\n/);
  await terminal.shows(/No dead letters\./);

  await terminal.press('Escape');
  await terminal.resize(120, 16);
  await terminal.shows(/DEAD +STATE +LAST DECISION\ntiles .*1 of 1 workers busy/);
  await terminal.press('q');
  await terminal.shows(/\nended 0\n/);
});

test('a signal ends it and gives the terminal back; NO_COLOR is honoured', async () => {
  await using plain = await open(80, 12, { NO_COLOR: '1' });
  await plain.shows(/\nmail /);
  const escape = '\u001B[';
  expect(await plain.painted()).not.toContain(escape);
  await plain.press('C-c');
  await plain.shows(/ended 0/);
  await using painted = await open(80, 12, {}, 'echo before; ');
  await painted.shows(/\nmail /);
  expect(await painted.painted()).toMatch(/7m\S*mail /);
  const { stdout } = await promisify(execFile)('pgrep', ['-f', `${MILLRACE} top`, '--newest']);
  process.kill(Number(stdout), 'SIGTERM');
  const after = await painted.shows(/ended 0/);
  expect(after).toMatch(/\nbefore\nended 0\n/);
});

test('without a terminal it reports that; --once prints what it would show', async () => {
  const env = { MILLRACE_REDIS_URL: server.url };
  const none = await millrace(['top'], { env });
  expect(none).toMatchObject({ code: 2, stdout: '' });
  expect(none.stderr).toMatch(
    /^millrace: top needs a terminal to draw on, and this is none: add --once [^\n]+\n$/,
  );
  const once = await millrace(['top', '--once', '--queue', 'mail'], { env });
  expect(once.stdout).toMatch(/^millrace top .*\nNAME\* .*\nmail +2 +0 +0 .*\n$/);
});

test('a terminal that shows only plain text gets no escape sequences', async () => {
  await using dumb = await open(200, 12, {}, 'TERM=dumb ');
  const screen = await dumb.shows(/ended 2/);
  expect(screen).toMatch(
    /\nmillrace: top needs a terminal to draw on, and TERM is "dumb", [^\n]+: add --once /,
  );
});

test('a queue whose keys hold something else hides no others', async () => {
  await using other = await startRedis();
  const redis = other.client();
  await redis.hset(queueKeys('mail', 'result').stats, 'completed', 1);
  await redis.lpush('mail', 'a', 'b');
  await redis.set(queueKeys('odd', 'result').stats, 'x');
  const top = (...more: string[]) => millrace(['top', '--once', '--redis', other.url, ...more]);
  const { code, stdout } = await top();
  expect(code).toBe(0);
  expect(stdout).toMatch(/^mail +2 .*NoWorkers/m);
  expect(stdout).toMatch(/^odd +- .*Unreadable +the key "millrace:\{odd\}:stats" /m);
  const alone = await top('--queue', 'odd');
  expect(alone.stderr).toMatch(/^millrace: the key "millrace:\{odd\}:stats" is not of the type/);
  expect(alone.code).toBe(1);
});

test('the batches and cron tasks of a queue, wide and narrow; a batch is cancelled after a question', async () => {
  const own = queueKeys('renders', 'result');
  await using queue = openQueue({ redis: server.url, queue: 'renders' });
  const redis = server.client();
  await queue.batch([{ n: 0 }, { n: 1 }, { n: 2 }], { id: 'mosaic', onFailure: 'wait' });
  await queue.batch([{ n: 0 }, { n: 1 }], { id: 'endless' });
  await redis.hset(own.batch('mosaic'), 'done', 2, 'created', Date.now() - 60_000);
  await redis.sadd(own.batchFailed('mosaic'), 'mosaic:2');
  await redis.hset(own.stats, 'completed', 2);
  const last = { at: Date.parse('2026-01-02T03:00:00Z'), id: 'nightly:2026-01-02T03:00:00Z' };
  const state = { of: 'Europe/Berlin 0 3 * * *', until: last.at, last, missed: 4, skipped: 1 };
  await redis.hset(own.crons, 'nightly', JSON.stringify(state), 'foreign', 'x');
  await redis.hset(own.errors, last.id, '{"attempts":1,"error":"no"}');

  await using terminal = await open(80, 20, { NO_COLOR: '1' });
  await terminal.shows(/\nrenders /);
  await terminal.press('/', 'renders', 'Enter', 'Enter');
  await terminal.shows(/ workers 0 {3}dead letters 0 {3}batches 2 {3}crons 1\s/);
  await terminal.press('Tab', 'Tab');
  const batches = await terminal.shows(
    /\nBATCH +STATE +DONE +FAILED +LEFT +RATE +ETA\nmosaic +waits +2\/3 +0 +1 .* -\nendless +running +0\/2 +0 +2 +- +-\n/,
  );
  expect(batches).toMatch(
    /\nmosaic: 1 dead letter is to be requeued or dropped\n↑↓ choose {2}Tab crons {2}c cancel {2}Esc back/,
  );
  expect(await terminal.painted()).not.toContain('\u001B[');
  await terminal.press('Down', 'c');
  await terminal.shows(/\nCancel batch endless, 2 parts left\? y: yes, any other key: no\n/);
  await terminal.press('n');
  await terminal.shows(/Tab crons {2}c cancel/);
  expect(await queue.batch.show('endless')).toMatchObject({ state: 'running' });
  await terminal.press('c', 'y');
  await terminal.shows(/\nbatch endless is being cancelled\n/);
  await terminal.shows(/\nendless +cancelling +0\/2 /);

  await terminal.press('Tab');
  await terminal.shows(
    /\nCRON +SCHEDULE +NEXT +LAST +OUTCOME +MISSED +SKIPPED\nnightly +0 3 \* \* \* +in \d\S+ +\d+d\S* +failed +4 +1\n/,
  );
  await terminal.shows(/\nnightly: 0 3 \* \* \* in Europe\/Berlin, last task nightly:2026-01-02T03:00:00Z\n/);
  await terminal.resize(48, 20);
  const narrow = await terminal.shows(/\nCRON +NEXT +LAST +OUTCOME\nnightly +in /);
  expect(Math.max(...narrow.split('\n').map((line) => line.length))).toBeLessThanOrEqual(48);
  await terminal.press('Tab');
  await terminal.shows(/Tab dead letters/);
  await terminal.press('Tab', 'Tab');
  await terminal.shows(/ workers 0 {3}dead 0 {3}batches 2 {3}crons 1\s/);
  const small = await terminal.shows(/\nBATCH +STATE +DONE +ETA\n/);
  expect(Math.max(...small.split('\n').map((line) => line.length))).toBeLessThanOrEqual(48);
  await terminal.press('q');
  await terminal.shows(/ended 0/);
});

test('the limits of a queue, how full they are and the keys that wait, wide and narrow', async () => {
  await using queue = openQueue({ redis: server.url, queue: 'letters' });
  const perKey = { field: 'customer', concurrency: 1 };
  await queue.limits.set({ rate: '2/d', burst: 4, concurrency: 20, perKey }, { by: 'pool shop/letters' });
  const tasks = ['acme', 'acme', 'acme', 'globex', 'initech', 'umbrella', 'hooli'];
  const redis = defineScripts(openRedis(server.address));
  await redis.lpush('letters', ...tasks.map((customer, n) => JSON.stringify({ customer, n })));
  const worker = await startHandWorker(redis, queueKeys('letters', 'result'));
  expect((await worker.turn({ want: 9 })).tasks).toHaveLength(4);
  await closeRedis(redis);

  await using terminal = await open(80, 20, { NO_COLOR: '1' });
  await terminal.shows(/\nletters /);
  await terminal.press('/', 'letters', 'Enter', 'Enter');
  await terminal.shows(/ workers 1 {3}dead letters 0 {3}limits 3\s/);
  await terminal.press('Tab', 'Tab');
  const wide = await terminal.shows(
    /\nLIMIT +FULL +HELD +NEXT\n2\/d \(burst 4\) +4\/4 +1\n20 at once +4\/20 +0\nfor each customer 1 at once +1 key +2\n {2}acme +1\/1 +2 +when one ends\n/,
  );
  expect(wide).toMatch(
    /\nletters: 2\/d \(burst 4\), set by pool shop\/letters \d+s ago\n.* Tab workers {2}Esc/,
  );
  await terminal.press('End');
  await terminal.shows(/\nacme: 2 held in letters, the next when one ends\n/);
  expect(await terminal.painted()).not.toContain('\u001B[');
  await terminal.resize(37, 20);
  await terminal.shows(/ workers 1 {3}dead 0 {3}limits 3\s/);
  const small = await terminal.shows(/\nLIMIT +FULL +HELD\n2\/d/);
  expect(Math.max(...small.split('\n').map((line) => line.length))).toBeLessThanOrEqual(37);
  await queue.limits.remove({ force: true });
  await terminal.shows(/No limits\./);
  await terminal.press('q');
  await terminal.shows(/ended 0/);
});
