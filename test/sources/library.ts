/**
 * A queue library under test: its own package with real workers, behind the few things that the suite does with each. Tasks run
 * until they are released, so that a test knows what is where.
 */
import type { SourceSettings } from '../../queue/sources/sources.ts';
import type { RedisServer } from '../support/redis.ts';

export interface LibraryCase<L extends Library = Library> {
  /** With its version. */
  readonly name: string;
  readonly settings: SourceSettings;
  /** What its keys match. */
  readonly keys: string;
  /** The user for it in docs/sources.md, where that is one of its own. */
  readonly user?: string;
  /** Tasks that a worker takes beside the one that it runs; 0 if not set. */
  readonly prefetched?: number;
  /** What runs is in no key. */
  readonly hidesRunning?: boolean;
  /** It delays no tasks, or not in keys that count. */
  readonly noDelays?: boolean;
  /** What a killed worker ran is gone: the library has no trace of it. */
  readonly losesTasks?: boolean;
  /** Opens it on a server on which nothing of it is yet. `queue`: instead of the one in `settings`, where that can be another. */
  readonly open: (server: RedisServer, queue?: string) => Promise<L>;
}

export interface Library extends AsyncDisposable {
  /** Puts tasks into the queue, to be run as soon as possible or after a delay. Resolves when they are there. */
  readonly push: (tasks: number, delayMs?: number) => Promise<void>;
  /** Starts a worker that runs one task at a time, in a place of this name. Resolves when it takes tasks. */
  readonly work: (place: string) => Promise<LibraryWorker>;
  /** Lets so many running tasks end, in any order. */
  readonly release: (tasks: number) => Promise<void>;
  /** Where the library can: no worker takes anything until it is resumed. */
  readonly pause?: (on: boolean) => Promise<void>;
  /** Where the library can: no more than this many tasks run at a time. */
  readonly limit?: (running: number) => Promise<void>;
  /** Where the library can: puts one task of each of these priorities into the queue. */
  readonly pushPriorities?: (priorities: readonly number[]) => Promise<void>;
  /** Where the library can: puts tasks into a group, of which it makes one task. */
  readonly group?: (tasks: number) => Promise<void>;
}

export interface LibraryWorker {
  /** As SIGTERM does: it finishes what it runs. Resolves when it is gone. */
  readonly stop: () => Promise<void>;
  /** As SIGKILL does. */
  readonly kill: () => Promise<void>;
}
