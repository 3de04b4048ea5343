/** What `millrace doctor` says of one thing that it looked at. */
import type { AccessFlags } from '../access/access-flags.ts';
import type { Output } from '../terminal/output.ts';

export interface Finding {
  /** `fail`: it does not work like this, or loses tasks. `warn`: it works, and could be better. */
  readonly level: 'ok' | 'warn' | 'fail';
  /** What was looked at, in a word or two. */
  readonly about: string;
  /** How it is. */
  readonly note: string;
  /** What to do, where something is to be done. */
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
