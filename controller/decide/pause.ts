/**
 * Pausing a pool by annotation, as users of KEDA know it: `millrace.dev/paused: "true"` leaves the replicas as they are,
 * `millrace.dev/paused-replicas: "3"` takes the pool to exactly so many. Pure.
 */
import { PAUSED, PAUSED_REPLICAS, type WorkerPool } from '../../kube/workerpool.ts';

export interface Pause {
  /** `undefined`: as many as there are. */
  readonly replicas: number | undefined;
  /** What asks for it, in words. */
  readonly by: string;
}

/** An annotation says something that is not understood: what it was meant to prevent must not happen. */
export class InvalidAnnotation extends Error {
  override name = 'InvalidAnnotation';
}

/** What the annotations ask for; with both, the number of replicas counts. Throws `InvalidAnnotation`. */
export function annotatedPauseOf({ metadata: { annotations = {} } }: WorkerPool): Pause | undefined {
  const { [PAUSED]: paused, [PAUSED_REPLICAS]: replicas } = annotations;
  if (replicas !== undefined) {
    if (!/^\d{1,5}$/.test(replicas))
      throw new InvalidAnnotation(
        `${said(PAUSED_REPLICAS, replicas)}: write a number of replicas such as "3"`,
      );
    return { replicas: Number(replicas), by: `the annotation ${PAUSED_REPLICAS}` };
  }
  if (paused === undefined || paused === 'false') return undefined;
  if (paused !== 'true') throw new InvalidAnnotation(`${said(PAUSED, paused)}: write "true" or "false"`);
  return { replicas: undefined, by: `the annotation ${PAUSED}` };
}

function said(name: string, value: string): string {
  return `the annotation ${name} is ${JSON.stringify(value.slice(0, 100))}, and the pool is held until it is mended`;
}
