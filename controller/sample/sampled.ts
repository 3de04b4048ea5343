/** The result of reading a pool's queues: a sample, or why there is none. Pure. */
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import type { RedisLatency } from '../decide/target-wait/advice.ts';

export type Sampled = (
  | {
      readonly kind: 'known';
      readonly sample: PoolSample;
      /** When it was read, by performance.now(): how much time has passed between two samples, whatever clocks were set. */
      readonly readAt?: number;
      /** When the wake reported that something came into queues that were all empty until then, ms of Redis time. */
      readonly quietUntil?: number;
      /** The same by performance.now(). */
      readonly wokenAt?: number;
      /** Of a source: since when no read and no wake has shown anything to do, by performance.now(). */
      readonly idleSince?: number;
    }
  | {
      readonly kind: 'unknown';
      readonly reason:
        | 'Unreachable'
        | 'WrongKeyType'
        | 'NoAddress'
        | 'NotSampledYet'
        | 'ReplyTooLarge'
        | 'Quarantined'
        | 'SourceNotFound'
        | 'SourceUnknownLayout'
        | 'UnexpectedReply';
      readonly why: string;
    }
) & {
  /** Missing while too few reads have been answered. */
  readonly redis?: RedisLatency;
};

export const notYet: Sampled = {
  kind: 'unknown',
  reason: 'NotSampledYet',
  why: 'the queue has not been read yet',
};

/** No task is in the queues, in whatever state; or nothing is known of them. */
export function hasNothing(sampled: Sampled): boolean {
  if (sampled.kind === 'unknown') return true;
  const { waiting, inFlight, delayed, dead } = sampled.sample;
  return waiting + inFlight + delayed + dead === 0;
}
