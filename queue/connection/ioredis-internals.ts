/**
 * Private parts of ioredis that this library depends on, each named once; test/unit/ioredis.test.ts fails when a version lacks
 * one of them. As in ioredis 6.0.
 */
import type { Redis } from 'ioredis';

export interface SentCommand {
  readonly name: string;
  readonly args: readonly unknown[];
  reject(error: Error): void;
}

interface CommandQueue {
  shift(): { readonly command: SentCommand } | undefined;
}

export interface RedisInside {
  /** Counts connections: events of an earlier one are ignored. */
  connectionEpoch: number;
  setStatus(status: 'connecting' | 'connect' | 'ready' | 'close' | 'reconnecting' | 'end'): void;
  /** Sent over the current connection, and not answered. */
  readonly commandQueue: CommandQueue;
  /** The same of the last connection that was ready: resent over the next one. */
  readonly prevCommandQueue?: CommandQueue;
  /** Waits for a connection. */
  readonly offlineQueue: CommandQueue;
  /** Sends now, or when there is a connection. */
  sendCommand(command: SentCommand): unknown;
  /** Rejects all commands that were sent or wait to be sent. */
  flushQueue: (error: Error) => void;
}

export function insideOf(redis: Redis): RedisInside {
  return redis as unknown as RedisInside;
}

/** The method that `defineCommand` added for `name`, in its form that returns Buffers; the types do not include it. */
export function definedCommand(redis: Redis, name: string): ((...args: never[]) => unknown) | undefined {
  return (redis as unknown as Record<string, ((...args: never[]) => unknown) | undefined>)[`${name}Buffer`];
}

/** The hash of the script that `defineCommand` added as `name`. */
export function definedHash(redis: Redis, name: string): string {
  const { scriptsSet } = redis as unknown as {
    readonly scriptsSet: Readonly<Record<string, { sha: string }>>;
  };
  const script = scriptsSet[name];
  if (!script) throw new Error(`no command was defined as ${name}`);
  return script.sha;
}
