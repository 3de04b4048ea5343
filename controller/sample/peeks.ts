/**
 * Blocking peeks: BLMOVE q q RIGHT RIGHT changes nothing by definition, and returns as soon as the queue has something. One
 * connection per queue, for servers without client tracking.
 */
import type { Redis } from 'ioredis';
import { closeRedis, dropRedis, within, type RedisAddress } from '../../queue/connection/connection.ts';
import { replyCode } from '../../queue/connection/reply-code.ts';
import { ReplyRefused } from '../../queue/connection/reply-scanner.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';

export interface Peeks extends Disposable {
  /** Peeks until the queue has something; the connection is closed again then. */
  open(queue: string): void;
  close(queue: string): void;
}

export interface PeeksOptions {
  readonly address: RedisAddress;
  readonly onFound: (queue: string) => void;
  /** The server does not allow the command. */
  readonly onRefused: (error: unknown) => void;
}

const PEEK_S = 20;

export function createPeeks({ address, onFound, onRefused }: PeeksOptions): Peeks {
  const peeks = new Map<string, Redis>();

  /** Never rejects. */
  async function peek(queue: string, redis: Redis): Promise<void> {
    try {
      while (peeks.get(queue) === redis) {
        const found = await within(
          (PEEK_S + 2) * 1_000,
          redis.blmove(queue, queue, 'RIGHT', 'RIGHT', PEEK_S),
          'BLMOVE',
        );
        if (found === null) continue;
        onFound(queue);
        break;
      }
    } catch (error) {
      // a task that is too long to be read is a task
      if (error instanceof ReplyRefused && error.kind === 'TooLarge') onFound(queue);
      // WRONGTYPE and the like concern a single queue, and the sampler reports them
      if (['NOPERM', 'ERR'].includes(replyCode(error) ?? '')) onRefused(error);
    } finally {
      if (peeks.get(queue) === redis) peeks.delete(queue);
      await closeRedis(redis);
    }
  }

  function close(queue: string): void {
    const redis = peeks.get(queue);
    peeks.delete(queue);
    if (redis) dropRedis(redis);
  }

  return {
    open: (queue) => {
      if (peeks.has(queue)) return;
      const redis = openBounded(address, {
        autoResendUnfulfilledCommands: false,
        maxRetriesPerRequest: 0,
        socketTimeout: (PEEK_S + 5) * 1_000,
      });
      peeks.set(queue, redis);
      void peek(queue, redis);
    },
    close,
    [Symbol.dispose]: () => {
      for (const queue of peeks.keys()) close(queue);
    },
  };
}
