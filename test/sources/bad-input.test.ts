/**
 * What else than a library's own data may be in the keys that its source reads: keys of other types, very long values, bytes that are
 * no text, and times by clocks that are wrong. The keys themselves are what each library has left.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { checkSource } from '../../cli/doctor/source.ts';
import { occupancyOf } from '../../controller/act/source-occupancy.ts';
import type { Member } from '../../controller/act/target.ts';
import type { SourceSpec } from '../../kube/source-spec.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { WrongKeyType } from '../../queue/pool/sample.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { UnexpectedReply } from '../../queue/scripts/decode-reply.ts';
import { SourceTrouble } from '../../queue/sources/source.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { monitor, type MonitoredCommand } from '../support/monitor.ts';
import { startRedis } from '../support/redis.ts';
import { cases, openScene, type Scene } from './cases.ts';
import type { LibraryCase } from './library.ts';

type Read = Pick<Scene, 'redis' | 'source'>;

/** Reads what is counted, and who holds it. Resolves to the errors. */
async function errorsOf({ redis, source }: Read): Promise<unknown[]> {
  const { holding } = source;
  const done = await Promise.allSettled([
    readSource(redis, source, 60_000),
    ...(holding.by === 'worker' ? [holding.readWorkers(createAsk(redis), redis)] : []),
  ]);
  return done.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
}

/** Commands of scripts that have no key, and those that take a key of any type. */
const NO_KEY = new Set(['TIME', 'PUBLISH']);
const ANY_TYPE = new Set(['EXISTS', 'PTTL', 'DEL', 'EXPIRE']);

/** The keys that both read, in latin1, and by which commands. */
async function keysRead(scene: Scene): Promise<ReadonlyMap<string, readonly MonitoredCommand[]>> {
  using seen = await monitor(scene.server);
  expect(await errorsOf(scene)).toEqual([]);
  const commands = await seen.commands(scene.redis);
  return Map.groupBy(
    commands.filter(({ from, name, db }) => from === 'lua' && db === 0 && !NO_KEY.has(name)),
    ({ name, args }) => args[name === 'XINFO' ? 1 : 0]?.toString('latin1') ?? '',
  );
}

/** Makes a key of another type of it. Resolves to what makes it as it was. */
async function replace(
  redis: Redis,
  key: Buffer,
  commands: readonly MonitoredCommand[],
): Promise<() => Promise<void>> {
  const undo = await remember(redis, key);
  await redis.del(key);
  const isText = commands.some(({ name }) => name.startsWith('GET'));
  await (isText ? redis.rpush(key, 'something else') : redis.set(key, 'something else'));
  return async () => {
    expect(await (isText ? redis.lindex(key, 0) : redis.get(key))).toBe('something else');
    await undo();
  };
}

async function remember(redis: Redis, key: Buffer): Promise<() => Promise<void>> {
  const [dump, ttl] = [await redis.dumpBuffer(key), await redis.pttl(key)];
  return async () => {
    await redis.del(key);
    if (dump) await redis.restore(key, Math.max(0, ttl), dump);
  };
}

/** Tasks wait, run and are delayed, and no worker is left that could change that. */
async function openLeft(one: LibraryCase): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const scene = stack.use(await openScene(one));
  const { library } = scene;
  const worker = await library.work('pod-1');
  await library.push(3);
  if (!one.noDelays) await library.push(1, 3_600_000);
  const held = 1 + (one.prefetched ?? 0);
  await scene.sees(one.hidesRunning ? { waiting: 3 - held } : { waiting: 3 - held, inFlight: held });
  await worker.kill();
  stack.move();
  return scene;
}

/** What doctor fails with. */
async function failuresOf({
  redis,
  settings,
}: {
  readonly redis: Redis;
  readonly settings: object;
}): Promise<string[]> {
  const findings = await checkSource(redis, settings, ['mail']);
  return findings.flatMap(({ level, note }) => (level === 'fail' ? [note] : []));
}

/** What doctor says of clocks. */
async function clocksIn(redis: Redis, { settings }: LibraryCase): Promise<string[]> {
  const findings = await checkSource(redis, settings as SourceSpec, ['mail']);
  return findings.flatMap(({ note }) => (/clock/.test(note) ? [note] : []));
}

/** More of what is in the key, which this is. Resolves to whether there was anything. */
async function add(redis: Redis, key: Buffer, odd: Buffer): Promise<boolean> {
  const type = await redis.type(key);
  if (type === 'list') await redis.lpush(key, odd).then(() => redis.rpush(key, odd));
  if (type === 'set') await redis.sadd(key, odd);
  if (type === 'hash') await redis.hset(key, odd.subarray(0, 64), odd);
  if (type === 'zset') {
    const [, lowest = '0'] = await redis.zrange(key, '0', '0', 'WITHSCORES');
    await redis.zadd(key, lowest, odd);
  }
  if (type === 'stream') await redis.xadd(key, '*', 'task', odd);
  if (type === 'string') await redis.set(key, odd);
  return type !== 'none';
}

const HUGE = 64 * 1_024 * 1_024;
const odd: readonly [string, () => Buffer][] = [
  // quotes, where what is searched for begins
  ['a value of 64 MB', () => Buffer.alloc(HUGE, '"')],
  ['bytes that are no text', () => Buffer.concat([Buffer.from([0xff, 0, 10, 0xc3, 0x28]), randomBytes(40)])],
];

/** What a pool reports, and is read again a second later. */
function isInWords(error: unknown): boolean {
  return error instanceof SourceTrouble || error instanceof UnexpectedReply;
}

/** By that server, since it began. */
async function sentBytes(redis: Redis): Promise<number> {
  return Number(/^total_net_output_bytes:(\d+)/m.exec(await redis.info('stats'))?.[1]);
}

const MOST_BYTES = 262_144;
const member = (id: string): Member => ({ id, ready: true, created: 0, going: false });

describe.concurrent.each(cases)('$name', (one) => {
  test('a key of another type, whichever it is, is named', async () => {
    await using scene = await openLeft(one);
    const { redis } = scene;
    const read = await keysRead(scene);
    expect(read.size).toBeGreaterThan(0);
    for (const [key, commands] of read) {
      const restore = await replace(redis, Buffer.from(key, 'latin1'), commands);
      const errors = await errorsOf(scene);
      const failures = await failuresOf({ redis, settings: one.settings });
      await restore();
      if (commands.every(({ name }) => ANY_TYPE.has(name))) {
        // whose presence alone says something
        for (const error of errors) expect(error).toBeInstanceOf(SourceTrouble);
        continue;
      }
      const named = expect.stringContaining(`the key ${JSON.stringify(key)} is not a`) as string;
      expect(errors.length, key).toBeGreaterThan(0);
      for (const error of errors) {
        expect(error).toBeInstanceOf(WrongKeyType);
        expect((error as WrongKeyType).note).toEqual(named);
      }
      expect(failures).toEqual([named]);
    }
    expect(await errorsOf(scene)).toEqual([]);
  });

  test.for(odd)('%s beside the others is not read whole, and hides nothing', async ([, make]) => {
    await using scene = await openLeft(one);
    const { redis, source } = scene;
    const value = make();
    for (const key of (await keysRead(scene)).keys()) {
      const name = Buffer.from(key, 'latin1');
      const undo = await remember(redis, name);
      if (!(await add(redis, name, value))) continue;
      const sent = await sentBytes(redis);
      const errors = await errorsOf(scene);
      expect((await sentBytes(redis)) - sent, key).toBeLessThan(MOST_BYTES);
      for (const error of errors) expect(isInWords(error), `${key}: ${String(error)}`).toBe(true);
      const { sample } = errors.length === 0 ? await readSource(redis, source, 0) : { sample: undefined };
      await undo();
      // later, as what a killed worker said is forgotten
      const { sample: without } = await readSource(redis, source, 0);
      if (sample) expect(total(sample), key).toBeGreaterThanOrEqual(total(without));
    }
  });
});

function total({ waiting, inFlight, delayed }: PoolSample): number {
  return waiting + inFlight + delayed;
}

/** In ms, by which the clock of Redis is not that of the workers. */
const CLOCKS: readonly [string, number, RegExp][] = [
  [
    'an hour behind',
    3_600_000,
    /^the clock of pod-[12]:\S+ is (59m5\d(\.\d+)?s|1h\S*) behind that of Redis$/,
  ],
  [
    'an hour ahead',
    -3_600_000,
    /^the clock of pod-[12]:\S+ is (59m5\d(\.\d+)?s|1h\S*) ahead of that of Redis$/,
  ],
];
const knowWorkers = cases.filter(({ settings }) => sourceOf(settings).holding.by === 'worker');

test.concurrent.for(
  knowWorkers.flatMap((one) =>
    CLOCKS.map(([clock, offsetMs, warning]) => ({ name: one.name, clock, offsetMs, warning, one })),
  ),
)(
  '$name: by the clocks of workers that are $clock, the busy pod is known, and so is the idle one',
  async ({ one, offsetMs, warning }) => {
    const { settings } = one;
    await using server = await startRedis({ ownClock: true });
    await server.setClock(offsetMs);
    await using library = await one.open(server);
    const redis = server.client();
    const source = sourceOf(settings);
    const { holding } = source;
    if (holding.by !== 'worker') throw new Error('its workers are known');
    await library.work('pod-1');
    await library.push(1);
    await eventually(async () =>
      expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 0, inFlight: 1 }),
    );
    await library.work('pod-2');
    const pods = async (): Promise<unknown[]> => {
      const members = ['pod-1', 'pod-2'].map(member);
      const found = occupancyOf(members, await holding.readWorkers(createAsk(redis), redis));
      return members.map(({ id }) => [found.get(id)?.tasks, found.get(id)?.idle]);
    };
    await eventually(async () =>
      expect(await pods()).toEqual([
        [1, false],
        [0, true],
      ]),
    );
    // only these two write times of their own into what is read
    const shown = (settings.asynq ?? settings.sidekiq) ? [expect.stringMatching(warning)] : [];
    await eventually(async () => expect(await clocksIn(redis, one)).toEqual(shown));
    await library.release(1);
    await eventually(async () =>
      expect(await pods()).toEqual([
        [0, true],
        [0, true],
      ]),
    );
  },
);
