/**
 * Pausing a pool by annotation, as users of KEDA know it: `millrace.dev/paused: "true"` leaves the replicas as they are,
 * `millrace.dev/paused-replicas: "3"` sets the pool to exactly that number. Pure.
 */
import { PAUSED, PAUSED_REPLICAS, type WorkerPool } from '../../kube/workerpool.ts';

export interface Pause {
  /** `undefined`: the current number. */
  readonly replicas: number | undefined;
  /** The source of the pause, human-readable. */
  readonly by: string;
}

/** An annotation's value is invalid: what it was meant to prevent must not happen. */
export class InvalidAnnotation extends Error {
  override name = 'InvalidAnnotation';
}

/** The pause that the annotations request; with both, the number of replicas counts. Throws `InvalidAnnotation`. */
export function annotatedPauseOf({ metadata: { annotations = {} } }: WorkerPool): Pause | undefined {
  const { [PAUSED]: paused, [PAUSED_REPLICAS]: replicas } = annotations;
  if (replicas !== undefined) {
    if (!/^\d{1,5}$/.test(replicas))
      throw new InvalidAnnotation(
        `${describeInvalid(PAUSED_REPLICAS, replicas)}: write a number of replicas such as "3"`,
      );
    return { replicas: Number(replicas), by: `the annotation ${PAUSED_REPLICAS}` };
  }
  if (paused === undefined || paused === 'false') return undefined;
  if (paused !== 'true')
    throw new InvalidAnnotation(`${describeInvalid(PAUSED, paused)}: write "true" or "false"`);
  return { replicas: undefined, by: `the annotation ${PAUSED}` };
}

function describeInvalid(name: string, value: string): string {
  return `the annotation ${name} is ${JSON.stringify(value.slice(0, 100))}, and the pool is held until it is corrected`;
}
