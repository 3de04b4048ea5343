/** Scripts that a worker calls again and again, with keys that are always the same for it. */
import type { QueueKeys } from '../keys.ts';
import { scriptOfKeys, type ScriptOfKeys } from '../scripts/fixed-keys.ts';
import type { ScriptName } from '../scripts/scripts.ts';

/** Keeps the script of the last worker of each queue: a process is one worker. */
export function scriptOfWorker(
  name: ScriptName,
  keysOf: (keys: QueueKeys, worker: string) => readonly string[],
): (keys: QueueKeys, worker: string) => ScriptOfKeys {
  const last = new WeakMap<QueueKeys, { readonly worker: string; readonly run: ScriptOfKeys }>();
  return (keys, worker) => {
    const known = last.get(keys);
    if (known?.worker === worker) return known.run;
    const run = scriptOfKeys(name, keysOf(keys, worker));
    last.set(keys, { worker, run });
    return run;
  };
}
