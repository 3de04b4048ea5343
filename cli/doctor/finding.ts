/** The result of one check of `millrace doctor`. */
import type { AccessFlags } from '../access/access-flags.ts';
import type { Output } from '../terminal/output.ts';

export interface Finding {
  /** `fail`: it does not work, or loses tasks. `warn`: it works, but could be better. */
  readonly level: 'ok' | 'warn' | 'fail';
  /** The subject of the check, in a word or two. */
  readonly about: string;
  /** The state found. */
  readonly note: string;
  /** The remedy, if one is needed. */
  readonly todo?: string;
}

export function ok(about: string, note: string): Finding {
  return { level: 'ok', about, note };
}

export function warn(about: string, note: string, todo: string): Finding {
  return { level: 'warn', about, note, todo };
}

export function fail(about: string, note: string, todo: string): Finding {
  return { level: 'fail', about, note, todo };
}

export interface DoctorFlags extends AccessFlags {
  readonly allNamespaces?: true;
  readonly output: Output;
}
