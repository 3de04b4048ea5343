/**
 * What ioredis learns and keeps to itself before a connection is ready. It asks for INFO, and while the server loads its data, it asks again
 * and again: its commands wait, or fail as on a connection that is closed. And to a user who may not ask, it prints a page of advice on stderr.
 */
import { ReplyError, type Redis } from 'ioredis';
import { replyCode } from './reply-code.ts';

type Answer = (error: Error | null, text?: unknown) => void;
/** An untrusted server may reply anything. */
type Info = (answer?: Answer) => Promise<unknown>;

/** What the server itself replies to other commands then. */
const LOADING = 'LOADING Redis is loading the dataset in memory';

/** Calls `onLoading` once for each connection to a server that is still loading its data, with the error that it replies then. */
export function watchReadyCheck(redis: Redis, onLoading: (error: Error) => void): void {
  const info = redis.info.bind(redis) as Info;
  let told: unknown;
  const ownInfo = (answer: Answer): Promise<unknown> => {
    const asked = info().catch((error: unknown) => {
      if (replyCode(error) === 'NOPERM') return '';
      throw error;
    });
    const { stream } = redis as { readonly stream?: unknown };
    void asked.then(
      (text) => {
        if (typeof text === 'string' && /^loading:1\r?$/m.test(text) && told !== stream) {
          told = stream;
          onLoading(new (ReplyError as new (message: string) => Error)(LOADING));
        }
        answer(null, text);
      },
      (error: Error) => answer(error),
    );
    return asked;
  };
  Object.assign(redis, {
    // before it is ready, nobody else's commands are sent
    info: (...args: unknown[]) =>
      redis.status === 'connect' && typeof args[0] === 'function'
        ? ownInfo(args[0] as Answer)
        : (info as (...all: unknown[]) => Promise<unknown>)(...args),
  });
}
