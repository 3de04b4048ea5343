/**
 * `queue/scripts/`: Lua scripts, each one atomic step, how they are loaded and called, and how replies are checked. They take
 * keys and plain values and return values. They know nothing of who calls.
 *
 * Defines the Lua scripts on a connection and calls them by name: keys and arguments in the order of each script's head. EVALSHA
 * with a fallback to EVAL on NOSCRIPT is ioredis's own.
 */
import type { Redis } from 'ioredis';
import { definedCommand, definedHash } from '../connection/ioredis-internals.ts';
import { arity } from './arity.ts';
import { sources } from './lua.ts';

type Arg = string | number | Buffer;
type Script = (...args: Arg[]) => Promise<unknown>;

export type ScriptName = keyof typeof arity;

const marked = new WeakSet<Redis>();

/**
 * Lets a connection run the scripts. Each is defined with its first call, but where commands of a tick are sent together: such a pipeline
 * knows only the scripts that were defined when it began, and one that it lacks ends the process.
 */
export function defineScripts(redis: Redis): Redis {
  if (marked.has(redis)) return redis;
  marked.add(redis);
  if (redis.options.enableAutoPipelining)
    for (const name of Object.keys(arity) as ScriptName[]) define(redis, name);
  return redis;
}

/** The script as a function of its keys and arguments; bytes in its reply stay bytes. */
export function script(redis: Redis, name: ScriptName): Script {
  const call = definedCommand(redis, `millrace:${name}`) ?? define(redis, name);
  return (call as Script).bind(redis);
}

/** By which a server knows it. */
export function hashOf(redis: Redis, name: ScriptName): string {
  if (!definedCommand(redis, `millrace:${name}`)) define(redis, name);
  return definedHash(redis, `millrace:${name}`);
}

function define(redis: Redis, name: ScriptName): ReturnType<typeof definedCommand> {
  if (!marked.has(redis))
    throw new Error(`scripts were not defined on this connection: call defineScripts first`);
  const lua = sources[name];
  if (lua === undefined) throw new Error(`the script "${name}" is not part of this build: build it again`);
  const numberOfKeys = arity[name];
  redis.defineCommand(`millrace:${name}`, { ...(numberOfKeys && { numberOfKeys }), lua });
  return definedCommand(redis, `millrace:${name}`);
}
