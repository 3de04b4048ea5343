/**
 * Which pools are left out, as the controller has ended at them twice (crash-backoff.ts). What the process before this one was at comes from
 * the journal; what others know, from an annotation of the lease, which is read before that is added, and with every renewal.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KubeApi } from '../../kube/api.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import type { Logger } from '../../runtime/log.ts';
import { leftOutFor, merged, packMarks, parseMarks, withEnd, type Marks } from './crash-backoff.ts';

export interface Quarantine {
  /** For how much longer a pool, `namespace/name`, is left out, ms; 0 when it is not. */
  leftOutFor(pool: string): number;
  /** What the lease is to say, given what it says. */
  annotations(found: Readonly<Record<string, string>>): Record<string, string>;
  /** The lease says this. */
  heard(found: Readonly<Record<string, string>>): void;
}

export interface QuarantineOptions {
  readonly api: Pick<KubeApi, 'leases'>;
  /** `undefined` for a controller that leads without asking anybody. */
  readonly lease: ObjectRef | undefined;
  /** Where this is kept beside the lease; `undefined` for nowhere. */
  readonly folder: string | undefined;
  /** What the process before this one was at when it ended without a word. */
  readonly left: readonly string[];
  /** Wall time, ms since the epoch: it is compared with that of other machines. */
  readonly now: () => number;
  readonly log: Logger;
}

const ANNOTATION = 'millrace.dev/ended-at';
const FILE = 'marks';
const TRIES = 3;

/** Resolves once what was left is written down, or could not be: then it goes with the lease when this process holds it. */
export async function openQuarantine(options: QuarantineOptions): Promise<Quarantine> {
  const { folder, left, now, log } = options;
  let marks = folder === undefined ? parseMarks(undefined) : readMarks(folder);
  let counted = left.length === 0;

  /** What this process knows, given what the lease says. What was left counts once, on top of that. */
  function known(found: Readonly<Record<string, string>>): Marks {
    const all = merged(marks, parseMarks(found[ANNOTATION]), now());
    return counted ? all : withEnd(all, left, now());
  }

  function save(all: Marks): void {
    if (folder !== undefined) writeFileSync(join(folder, FILE), packMarks(all));
  }

  function keep(all: Marks): void {
    marks = all;
    if (counted) return;
    counted = true;
    save(marks);
  }

  if (left.length > 0) {
    log.error(
      { pools: left },
      'the process before this one ended without a word while it was at these pools',
    );
    // the journal has begun anew: this process, too, may end before the lease knows
    save(known({}));
  }
  // unless the lease takes it, what was left is counted on top of what the lease says by then
  const written = options.lease && left.length > 0 ? await publish(options, known) : undefined;
  if (written) keep(written);
  else if (!options.lease) keep(known({}));

  return {
    leftOutFor: (pool) => leftOutFor(marks, pool, now()),
    annotations: (found) => {
      keep(known(found));
      const text = packMarks(marks);
      return marks.size > 0 || found[ANNOTATION] !== undefined ? { [ANNOTATION]: text } : {};
    },
    heard: (found) => keep(known(found)),
  };
}

/**
 * Tells whoever leads now, which may be a process on another machine that is about to look at the same pools. Resolves to what the lease
 * says now; to `undefined` if it could not be written. Never rejects.
 */
async function publish(
  { api, lease: ref, log }: QuarantineOptions,
  known: (found: Readonly<Record<string, string>>) => Marks,
): Promise<Marks | undefined> {
  if (!ref) return undefined;
  for (let tries = 1; tries <= TRIES; tries++) {
    try {
      const lease = await api.leases.get(ref);
      const { annotations = {} } = lease.metadata;
      // from what is there this time: another process may have counted its own end since the last try
      const marks = known(annotations);
      const metadata = { ...lease.metadata, annotations: { ...annotations, [ANNOTATION]: packMarks(marks) } };
      await api.leases.update({ ...lease, metadata });
      return marks;
    } catch (error) {
      log.debug({ err: error }, 'what the last process was at is not written yet');
    }
  }
  return undefined;
}

function readMarks(folder: string): Marks {
  try {
    return parseMarks(readFileSync(join(folder, FILE), 'utf8'));
  } catch {
    return parseMarks(undefined);
  }
}
