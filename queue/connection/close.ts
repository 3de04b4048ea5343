/** Ending connections. ioredis leaves some ends loose, and they are tied up here. */
import type { Redis } from 'ioredis';
import { insideOf, type SentCommand } from './ioredis-internals.ts';
import { within } from './within.ts';

/** Closes a client for good: says goodbye where the server still listens, and never waits for one that does not. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await within(500, redis.quit(), 'QUIT').catch(() => undefined);
  dropRedis(redis);
}

/** Closes a client at once, without a goodbye: what it had asked for is rejected. */
export function dropRedis(redis: Redis): void {
  // a TLS handshake that is broken off may fail twice; ioredis listens once, and Node ends the process for the second
  (redis as { stream?: Redis['stream'] }).stream?.on('error', () => undefined);
  const between = redis.status === 'reconnecting';
  redis.disconnect();
  if (!between) return;
  // between two attempts there is no connection whose end would end the client and reject what waits
  insideOf(redis).setStatus('end');
  insideOf(redis).flushQueue(new Error('Connection is closed.'));
}

/** Gives up a connection before it is ready, and tries again later: what waits for it is rejected. */
export function refuseConnection(redis: Redis, error: Error): void {
  const inside = insideOf(redis);
  inside.flushQueue(error);
  // or ioredis would go on with this one until its stream has closed
  inside.connectionEpoch += 1;
  redis.disconnect(true);
}

/** Ends a connection so that another one is made. Where one is being made already, ioredis would end the client for good. */
export function renewConnection(redis: Redis): void {
  if (redis.status === 'ready' || redis.status === 'connect') redis.disconnect(true);
}

/**
 * Until a connection is ready, ioredis sends CLIENT and INFO ahead of everything else, and forgets them when it ends before that:
 * they would be waited for for ever. Sends them again, as all else that had no answer; those of the handshake itself are rejected.
 */
export function resendLost(redis: Redis): void {
  const inside = insideOf(redis);
  redis.on('close', () => {
    // of a connection that was ready: ioredis sees to it
    if (inside.commandQueue === inside.prevCommandQueue) return;
    for (let lost = inside.commandQueue.shift(); lost; lost = inside.commandQueue.shift()) {
      const { command } = lost;
      if (redis.options.autoResendUnfulfilledCommands && isAsked(command)) inside.sendCommand(command);
      // a SELECT that fails would be told as the server's refusal
      else if (command.name !== 'select') command.reject(new Error('Connection is closed.'));
    }
  });
}

/** Not of a handshake, in which there are HELLO, AUTH, SELECT, CLIENT SETNAME, and INFO without a section. */
function isAsked({ name, args: [first] }: SentCommand): boolean {
  return name === 'client'
    ? String(first).toLowerCase() !== 'setname'
    : name === 'info' && first !== undefined;
}
