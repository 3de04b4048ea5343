/** What is known of the queues of a pool: a sample, or why there is none. Pure. */
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import type { RedisLatency } from '../decide/target-wait/advice.ts';

export type Sampled = (
  | {
      readonly kind: 'known';
      readonly sample: PoolSample;
      /** When the wake reported that something came into queues that were all empty until then, ms of Redis time. */
      readonly quietUntil?: number;
      /** The same by performance.now(). */
      readonly wokenAt?: number;
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
        | 'UnexpectedReply';
      readonly why: string;
    }
) & {
  /** Absent while too few reads were answered. */
  readonly redis?: RedisLatency;
};

export const notYet: Sampled = {
  kind: 'unknown',
  reason: 'NotSampledYet',
  why: 'the queue was not read yet',
};
