/**
 * What ioredis keeps to itself and this library cannot do without, each named once; test/unit/ioredis.test.ts fails when another
 * version has it no more. As in ioredis 6.0.
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
  /** Counts connections: what belongs to an earlier one is ignored. */
  connectionEpoch: number;
  setStatus(status: 'end'): void;
  /** Sent over the connection that there is, and not answered. */
  readonly commandQueue: CommandQueue;
  /** The same of the last connection that was ready: sent again over the next one that is. */
  readonly prevCommandQueue?: CommandQueue;
  /** Sends now, or when there is a connection. */
  sendCommand(command: SentCommand): unknown;
  /** Rejects everything that was sent or waits to be sent. */
  flushQueue(error: Error): void;
}

export function insideOf(redis: Redis): RedisInside {
  return redis as unknown as RedisInside;
}

/** What `defineCommand` has made of `name`, in the form that leaves bytes as they are: a method of which the types know nothing. */
export function definedCommand(redis: Redis, name: string): ((...args: never[]) => unknown) | undefined {
  return (redis as unknown as Record<string, ((...args: never[]) => unknown) | undefined>)[`${name}Buffer`];
}
