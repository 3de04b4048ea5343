/**
 * Which pools are left out because the controller has crashed at them twice (crash-backoff.ts). The pools that the previous
 * process worked on come from the journal; the crashes of other controllers from an annotation of the lease, which is read
 * before our own are added, and at each renewal.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KubeApi } from '../../kube/api.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { Logger } from '../../runtime/log.ts';
import { leftOutFor, merged, packMarks, parseMarks, withEnd, type Marks } from './crash-backoff.ts';

export interface Quarantine {
  /** For how much longer a pool, `namespace/name`, is left out, ms; 0 when it is not. */
  leftOutFor(pool: string): number;
  /** The annotation that the lease should have, given those that it has. */
  annotations(found: Readonly<Record<string, string>>): Record<string, string>;
  /** Merges what the lease has. */
  update(found: Readonly<Record<string, string>>): void;
}

export interface QuarantineOptions {
  readonly api: Pick<KubeApi, 'leases'>;
  /** `undefined` for a controller that leads without an election. */
  readonly lease: ObjectRef | undefined;
  /** Folder for a copy besides the lease; `undefined` for none. */
  readonly folder: string | undefined;
  /** Pools that the previous process worked on when it crashed. */
  readonly left: readonly string[];
  /** Wall time, ms since the epoch: it is compared with times of other machines. */
  readonly now: () => number;
  readonly log: Logger;
}

const ANNOTATION = 'millrace.dev/ended-at';
const FILE = 'marks';
const TRIES = 3;

/** Resolves once the crash is written to the lease, or could not be: then it is written when this process holds the lease. */
export async function openQuarantine(options: QuarantineOptions): Promise<Quarantine> {
  const { folder, left, now, log } = options;
  let marks = folder === undefined ? parseMarks(undefined) : readMarks(folder);
  let counted = left.length === 0;

  /** All crashes, given the annotations of the lease. The crash of the previous process is added to them once. */
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
      { event: LogEvent.Crashed, pools: left },
      'the previous process crashed while it worked on these pools',
    );
    // the journal has been reset: this process, too, may end before the lease is written
    save(known({}));
  }
  // if the lease could not be written, the crash is added to what the lease has by the time that it can
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
    update: (found) => keep(known(found)),
  };
}

/**
 * Informs the current leader, which may be a process on another machine that is about to work on the same pools. Resolves to
 * what the lease has now; to `undefined` if it could not be written. Never rejects.
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
      // from the current state: another process may have added its own crash since the last attempt
      const marks = known(annotations);
      const metadata = { ...lease.metadata, annotations: { ...annotations, [ANNOTATION]: packMarks(marks) } };
      await api.leases.update({ ...lease, metadata });
      return marks;
    } catch (error) {
      log.debug({ err: error }, 'failed to write the crash of the previous process to the lease');
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
