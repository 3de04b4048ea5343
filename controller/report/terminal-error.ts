/** Errors that prevent a pool from being scaled until a person acts, as opposed to failures that are retried. Pure. */
import { KubeError } from '../../kube/errors.ts';
import { MissingSecret } from '../connect/address.ts';
import { TargetTaken } from '../act/other-writers.ts';
import { LimitsOfPool } from '../../queue/limits/limits.ts';
import { NoTarget } from '../act/target.ts';
import { InvalidAnnotation } from '../decide/pause.ts';
import type { Sampled } from '../sample/sampled.ts';

/** An error that prevented a decision. */
export interface Trouble {
  /** CamelCase: `SecretMissing`, `NoTarget`. */
  readonly reason: string;
  readonly message: string;
}

/** `undefined` for a failure that is retried; all others are reported in the status. */
export function troubleOf(error: unknown): Trouble | undefined {
  if (error instanceof MissingSecret) return { reason: 'SecretMissing', message: error.message };
  if (error instanceof NoTarget) return { reason: 'NoTarget', message: error.message };
  if (error instanceof TargetTaken) return { reason: 'TargetTaken', message: error.message };
  if (error instanceof InvalidAnnotation) return { reason: 'InvalidAnnotation', message: error.message };
  if (error instanceof LimitsOfPool) return { reason: 'LimitsTaken', message: error.message };
  if (error instanceof KubeError && error.refused) return { reason: 'Refused', message: error.message };
  if (error instanceof RangeError) return { reason: 'InvalidSpec', message: error.message };
  return undefined;
}

/** The sample of a pool whose Redis has no address. */
export function noAddress(trouble: Trouble | undefined): Sampled {
  return {
    kind: 'unknown',
    reason: 'NoAddress',
    why: trouble?.message ?? 'the address of Redis is not resolved yet',
  };
}
