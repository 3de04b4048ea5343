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
  let told = left.length === 0;

  /** What was left counts once, on top of what the lease says. */
  function take(found: Readonly<Record<string, string>>): void {
    marks = merged(marks, parseMarks(found[ANNOTATION]), now());
    if (told) return;
    told = true;
    marks = withEnd(marks, left, now());
    if (folder !== undefined) writeFileSync(join(folder, FILE), packMarks(marks));
  }

  if (left.length > 0)
    log.error(
      { pools: left },
      'the process before this one ended without a word while it was at these pools',
    );
  if (options.lease && left.length > 0) await publish(options, take, () => marks);
  else take({});

  return {
    leftOutFor: (pool) => leftOutFor(marks, pool, now()),
    annotations: (found) => {
      take(found);
      const text = packMarks(marks);
      return marks.size > 0 || found[ANNOTATION] !== undefined ? { [ANNOTATION]: text } : {};
    },
    heard: take,
  };
}

/** Tells whoever leads now, which may be a process on another machine that is about to look at the same pools. Never rejects. */
async function publish(
  { api, lease: ref, log }: QuarantineOptions,
  take: (found: Readonly<Record<string, string>>) => void,
  marks: () => Marks,
): Promise<void> {
  if (!ref) return;
  for (let tries = 1; tries <= TRIES; tries++) {
    try {
      const lease = await api.leases.get(ref);
      const { annotations = {} } = lease.metadata;
      take(annotations);
      const metadata = {
        ...lease.metadata,
        annotations: { ...annotations, [ANNOTATION]: packMarks(marks()) },
      };
      await api.leases.update({ ...lease, metadata });
      return;
    } catch (error) {
      log.debug({ err: error }, 'what the last process was at is not written yet');
    }
  }
}

function readMarks(folder: string): Marks {
  try {
    return parseMarks(readFileSync(join(folder, FILE), 'utf8'));
  } catch {
    return parseMarks(undefined);
  }
}
