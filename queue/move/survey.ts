/** What a queue has, before, while and after it is moved. */
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';
import type { Side } from './side.ts';

export interface Holdings {
  /** Tasks that wait, suspects included. */
  readonly waiting: number;
  readonly delayed: number;
  readonly dead: number;
  /** Between two places. */
  readonly inHand: number;
  /** Tasks that workers hold, or have just been given. */
  readonly inFlight: number;
  readonly results: number;
  readonly errors: number;
}

/** Reads what a queue has. Rejects with `MoveRefused`. */
export async function survey(side: Side, keys: QueueKeys): Promise<Holdings> {
  const { queue, suspects, delayed, dead, moving, workers, result, errors } = keys;
  const redis = side.at(queue);
  const call = script(redis, 'move-rest');
  const rest = call(queue, suspects, delayed, dead, moving, workers, keys.inflight(''), keys.wake(''));
  const [counts, results, failed] = await side.ask(
    Promise.all([rest, side.at(result).hlen(result), redis.hlen(errors)]),
  );
  const [waiting = 0, late = 0, letters = 0, inHand = 0, inFlight = 0] = counts as number[];
  return { waiting, delayed: late, dead: letters, inHand, inFlight, results, errors: failed };
}

/** What there is, in words; `undefined` if there is nothing. */
export function describeHoldings(all: readonly Holdings[]): string | undefined {
  const names = [
    ['waiting', 'waiting'],
    ['inFlight', 'in flight'],
    ['delayed', 'delayed'],
    ['dead', 'dead'],
    ['results', 'results'],
    ['errors', 'errors'],
  ] as const;
  const parts = names.flatMap(([name, words]) => {
    const sum = all.reduce((total, holdings) => total + holdings[name], 0);
    return sum > 0 ? [`${sum} ${words}`] : [];
  });
  return parts.length > 0 ? parts.join(', ') : undefined;
}
