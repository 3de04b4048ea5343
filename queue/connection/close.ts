/** Closing connections, with what ioredis leaves open. */
import type { Redis } from 'ioredis';
import { SlotClient } from './cluster/slot-client.ts';
import { insideOf, type SentCommand } from './ioredis-internals.ts';
import { within } from './within.ts';

/** Closes a client for good: sends QUIT if the server is reachable, and never waits for one that is not. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await within(500, redis.quit(), 'QUIT').catch(() => undefined);
  dropRedis(redis);
}

/** Closes a client immediately, without QUIT: pending commands are rejected. */
export function dropRedis(redis: Redis): void {
  if (redis instanceof SlotClient) return redis.disconnect();
  // an aborted TLS handshake may fail twice; ioredis listens once, and the second error would end the process
  (redis as { stream?: Redis['stream'] }).stream?.on('error', () => undefined);
  const between = redis.status === 'reconnecting';
  redis.disconnect();
  if (!between) return;
  // between two attempts there is no connection whose end would end the client and reject pending commands
  insideOf(redis).setStatus('end');
  insideOf(redis).flushQueue(new Error('Connection is closed.'));
}

/** Drops a connection before it is ready, and retries later: commands that wait for it are rejected. */
export function refuseConnection(redis: Redis, error: Error): void {
  const inside = insideOf(redis);
  inside.flushQueue(error);
  // or ioredis would continue with this one until its stream has closed
  inside.connectionEpoch += 1;
  redis.disconnect(true);
}

/** Replaces a connection. While another one is being opened it does nothing: ioredis would end the client for good. */
export function renewConnection(redis: Redis): void {
  if (redis.status === 'ready' || redis.status === 'connect') redis.disconnect(true);
}

/**
 * Until a connection is ready, ioredis sends CLIENT and INFO ahead of everything else, and forgets them when the connection ends
 * before that: callers would wait forever. Resends them, like all other unanswered commands; those of the handshake are rejected.
 */
export function resendLost(redis: Redis): void {
  const inside = insideOf(redis);
  redis.on('close', () => {
    // of a connection that was ready: ioredis resends them itself
    if (inside.commandQueue === inside.prevCommandQueue) return;
    for (let lost = inside.commandQueue.shift(); lost; lost = inside.commandQueue.shift()) {
      const { command } = lost;
      if (redis.options.autoResendUnfulfilledCommands && isAsked(command)) inside.sendCommand(command);
      // a failed SELECT would be reported as the server's refusal
      else if (command.name !== 'select') command.reject(new Error('Connection is closed.'));
    }
  });
}

/** Not part of a handshake, which consists of HELLO, AUTH, SELECT, CLIENT SETNAME, and INFO without a section. */
function isAsked({ name, args: [first] }: SentCommand): boolean {
  return name === 'client'
    ? String(first).toLowerCase() !== 'setname'
    : name === 'info' && first !== undefined;
}
