/**
 * The commands by which a queue library puts a task into a queue, as its own client sends them: recorded once by MONITOR on a server
 * of its own, and sent again as often as wanted, with another queue and task. So a push takes no time of a client's start.
 */
import { randomBytes } from 'node:crypto';
import type { ChainableCommander, Redis } from 'ioredis';
import type { SourceSettings } from '../../queue/sources/sources.ts';
import type { LibraryCase } from '../../test/sources/library.ts';
import { monitor, type MonitoredCommand } from '../../test/support/monitor.ts';
import { startRedis } from '../../test/support/redis.ts';

export interface RecordedLibrary {
  readonly name: string;
  /** What a pool with a queue of this name, which has four letters, has as its source. */
  readonly settings: (queue: string) => SourceSettings;
  /** As a client that has opened the queue for the first time. */
  readonly pushFirst: (redis: Redis, queue: string) => Promise<void>;
  readonly push: (redis: Redis, queue: string) => Promise<void>;
}

/** Commands of a connection's start, and those that would need a connection of their own. */
const LEFT_OUT = new Set(
  [
    'AUTH',
    'CLIENT',
    'COMMAND',
    'CONFIG',
    'DISCARD',
    'EXEC',
    'HELLO',
    'INFO',
    'MULTI',
    'PING',
    'QUIT',
    'SELECT',
  ].concat('UNWATCH', 'WATCH'),
);
/** Names of tasks: UUIDs, with and without dashes, and 24 hexadecimal digits. */
const TASK = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(?:[0-9a-f]{32}|[0-9a-f]{24})\b/g;

/** The queue in the names of a case's keys. */
const queueOf = ({ settings }: LibraryCase): string =>
  settings.arq ? 'arq:queue' : (settings.list ?? settings.custom ?? settings.stream) ? 'jobs' : 'mail';

export async function recordLibrary(one: LibraryCase): Promise<RecordedLibrary> {
  await using server = await startRedis();
  const redis = server.client();
  await using library = await one.open(server);
  const record = async (): Promise<readonly MonitoredCommand[]> => {
    using seen = await monitor(server);
    await library.push(1);
    const commands = await seen.commands(redis);
    return commands.filter(({ from, db, name }) => from !== 'lua' && db === 0 && !LEFT_OUT.has(name));
  };
  const [first, next] = [await record(), await record()];
  const place = queueOf(one);
  const named = (queue: string): string => (place === 'arq:queue' ? `arq:${queue}` : queue);
  const send = async (target: Redis, commands: readonly MonitoredCommand[], queue: string): Promise<void> => {
    const pipeline = target.pipeline();
    const change = renaming(place, named(queue));
    for (const command of commands) add(pipeline, command, change);
    await pipeline.exec();
  };
  return {
    name: one.name,
    settings: (queue) =>
      JSON.parse(JSON.stringify(one.settings).replaceAll(place, named(queue))) as SourceSettings,
    pushFirst: (target, queue) => send(target, first, queue),
    push: (target, queue) => send(target, next, queue),
  };
}

/** Another queue, and a new name for each task. */
function renaming(place: string, queue: string): (argument: Buffer) => Buffer {
  const tasks = new Map<string, string>();
  const another = (name: string): string => {
    const hex = randomBytes(16).toString('hex');
    let digit = 0;
    const made = tasks.get(name) ?? name.replaceAll(/[0-9a-f]/g, () => hex[digit++] ?? '0');
    tasks.set(name, made);
    return made;
  };
  return (argument) =>
    Buffer.from(argument.toString('latin1').replaceAll(place, queue).replaceAll(TASK, another), 'latin1');
}

function add(
  pipeline: ChainableCommander,
  { name, args }: MonitoredCommand,
  change: (argument: Buffer) => Buffer,
): void {
  const isScript = name === 'EVALSHA' || name === 'EVAL' || name === 'SCRIPT';
  const [own, others] = isScript ? [args.slice(0, 1), args.slice(1)] : [[], args];
  // SCRIPT LOAD has nothing to rename
  pipeline.call(name, ...own, ...(name === 'SCRIPT' ? others : others.map(change)));
}
