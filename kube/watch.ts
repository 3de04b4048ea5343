/**
 * `reflect` keeps a local copy of one resource's objects and reports every change by key: list once, then watch from that version
 * on. Level-based: a consumer receives the key and the current object; a change may be reported twice, but is never lost.
 *
 * How it handles the known failures of a watch:
 * - It ends, as the server makes every watch do: go on from the last version seen; bookmarks keep that fresh.
 * - It breaks, or the server answers with an error: the same, after a jittered backoff.
 * - The version is too old (410): list again. A fresh list also reveals deletions that were not announced.
 * - It goes silent while the connection looks alive. The server is asked to end each watch well within `silenceMs`, and sends a
 *   bookmark before it does, so a healthy watch is never silent for that long; one that is, is aborted, and the objects are listed.
 * - A change is missed for an unforeseen reason: every key is delivered again every `resyncMs`.
 */
import type { Clock } from '../runtime/clock.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Lister, Page } from './api.ts';
import { KubeError } from './errors.ts';
import type { ObjectRef, Resource } from './resources.ts';
import { Silent, watchSilence } from './silence.ts';
import type { KubeObject } from './wire.ts';

/** `T` is what the server sends, `K` what is kept of it. */
export interface ReflectOptions<T extends KubeObject, K extends KubeObject = T> {
  readonly api: Lister;
  readonly resource: Resource<T>;
  /** One watch each; `undefined` stands for all namespaces at once, and is the default. */
  readonly namespaces?: readonly (string | undefined)[];
  readonly labelSelector?: string;
  /**
   * What to keep of an object, to save memory; `undefined` for nothing, as if it did not exist. Afterwards `metadata.managedFields`
   * and kubectl's last applied configuration are removed. May modify its argument.
   */
  readonly transform?: (object: T) => K | undefined;
  /** `object` is undefined when it was deleted, `previous` when it is new; both are as kept in the store. */
  readonly onChange: (key: string, object: K | undefined, previous: K | undefined) => void;
  /** Called for every failure, all of which are handled. */
  readonly onError?: (error: unknown) => void;
  /** Stops everything. */
  readonly signal: AbortSignal;
  /** ms; after each, every key is delivered again. */
  readonly resyncMs?: number;
  /** ms without an event or a bookmark after which a watch is given up; up to a quarter more passes before it is. */
  readonly silenceMs?: number;
  readonly backoff?: { readonly initialMs: number; readonly maxMs: number };
  readonly pageSize?: number;
  readonly clock?: Clock;
  /** From 0 to 1, for jitter. */
  readonly random?: () => number;
}

export interface WatchStats {
  lastEvent: number | undefined;
  restarts: number;
}

/** `T` is what is kept of an object, `S` what the server sends. */
export interface Reflector<T, S = never> {
  /** By key, `namespace/name`. */
  readonly store: ReadonlyMap<string, T>;
  /** Resolves when all that existed at the start has been delivered; rejects when the signal aborts before. */
  readonly synced: Promise<void>;
  /** Resolves when the signal was aborted and nothing runs any more. */
  readonly stopped: Promise<void>;
  /** For metrics: when something last came from the server (ms since the epoch), and how often a watch had to be restarted. */
  stats(): WatchStats;
  /**
   * For an object that the transform did not keep when it was reported, and keeps from now on. To be called before the object is
   * read by other means; the result stores what was read, without reporting it, unless the watch or a list has done so since.
   */
  beginRead(key: string): (found: S | undefined) => void;
}

/** A copy of the whole object. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

// joined, as V8 keeps the parts of a concatenation, too
export const keyOf = ({ metadata: { namespace = '', name } }: KubeObject): string =>
  [namespace, name].join('/');

export function refOf(key: string): ObjectRef {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}

export function reflect<T extends KubeObject, K extends KubeObject = T>(
  options: ReflectOptions<T, K>,
): Reflector<K, T> {
  const { signal } = options;
  const { clock = systemClock, resyncMs = 10 * 60_000 } = options;
  const store = createObjectStore(options);
  const stats: WatchStats = { lastEvent: undefined, restarts: 0 };

  async function redeliver(): Promise<void> {
    for (;;) {
      await clock.sleep(resyncMs, signal);
      if (signal.aborted) return;
      store.redeliver();
    }
  }

  const namespaces = options.namespaces ?? [undefined];
  const lists = namespaces.map(() => Promise.withResolvers<void>());
  const loops = namespaces.map((namespace, i) =>
    follow({ ...options, namespace, clock, store, stats, onSynced: () => lists[i]?.resolve() }),
  );
  const finish = async (): Promise<void> => {
    await Promise.all([...loops, redeliver()]);
    for (const { reject } of lists) reject(signal.reason);
  };
  const sync = async (): Promise<void> => void (await Promise.all(lists.map(({ promise }) => promise)));
  const stopped = finish();
  const synced = sync();
  // Nobody has to wait for it.
  synced.catch(() => {});
  return {
    store: store.objects,
    synced,
    stopped,
    stats: () => ({ ...stats }),
    beginRead: store.beginRead,
  };
}

/** Of several as of one; `undefined` for none. */
export function joinStats(reflectors: readonly Pick<Reflector<unknown>, 'stats'>[]): WatchStats | undefined {
  if (reflectors.length === 0) return undefined;
  const all = reflectors.map((reflector) => reflector.stats());
  const events = all.flatMap(({ lastEvent }) => lastEvent ?? []);
  return {
    restarts: all.reduce((sum, { restarts }) => sum + restarts, 0),
    lastEvent: events.length > 0 ? Math.max(...events) : undefined,
  };
}

/** The objects as they were last delivered. */
interface ObjectStore<T extends KubeObject, K extends KubeObject> {
  readonly objects: ReadonlyMap<string, K>;
  /** What is kept of an object, if anything. */
  keep(object: T): K | undefined;
  /** Stores an object, or removes it with `undefined`, and passes that on. */
  deliver(key: string, object: K | undefined): void;
  /** A list is complete: it has reported these objects, present or not. */
  listed(isOf: (key: string) => boolean): void;
  redeliver(): void;
  beginRead: Reflector<K, T>['beginRead'];
}

function createObjectStore<T extends KubeObject, K extends KubeObject>({
  transform,
  onChange,
  onError,
}: ReflectOptions<T, K>): ObjectStore<T, K> {
  const objects = new Map<string, K>();
  /** Of objects that are being read by other means, the latest read of each. */
  const reads = new Map<string, object>();

  function notify(key: string, object: K | undefined, previous: K | undefined): void {
    try {
      onChange(key, object, previous);
    } catch (error) {
      // A consumer's mistake with one key must not cost it all others.
      onError?.(error);
    }
  }

  function keep(object: T): K | undefined {
    // without a transform, the two types are one
    const kept = transform ? transform(object) : (object as unknown as K);
    return kept && withoutRecords(kept);
  }

  function store(key: string, object: K | undefined): void {
    reads.delete(key);
    if (object === undefined) objects.delete(key);
    else objects.set(key, object);
  }

  return {
    objects,
    keep,
    deliver: (key, object) => {
      const previous = objects.get(key);
      store(key, object);
      notify(key, object, previous);
    },
    listed: (isOf) => {
      for (const key of reads.keys()) if (isOf(key)) reads.delete(key);
    },
    redeliver: () => {
      for (const [key, object] of objects) notify(key, object, object);
    },
    beginRead: (key) => {
      const read = {};
      reads.set(key, read);
      return (found) => {
        if (reads.get(key) === read) store(key, found && keep(found));
      };
    },
  };
}

/**
 * Without what is for people and the API server alone. A copy: V8 stores an object from which a property was deleted as a table,
 * several times as large.
 */
export function withoutRecords<K extends KubeObject>(object: K): K {
  const { managedFields, annotations, ...rest } = object.metadata;
  const hasLastApplied = annotations?.[LAST_APPLIED] !== undefined;
  if (!managedFields && !hasLastApplied) return object;
  const others = Object.entries(annotations ?? {}).filter(([name]) => name !== LAST_APPLIED);
  const metadata = { ...rest, ...(others.length > 0 && { annotations: Object.fromEntries(others) }) };
  return { ...object, metadata };
}

interface FollowOptions<T extends KubeObject, K extends KubeObject> extends Omit<
  ReflectOptions<T, K>,
  'namespaces' | 'clock'
> {
  readonly namespace: string | undefined;
  readonly store: ObjectStore<T, K>;
  readonly stats: WatchStats;
  readonly clock: Clock;
  readonly onSynced: () => void;
}

/** Lists and watches one namespace until the signal aborts. */
async function follow<T extends KubeObject, K extends KubeObject>(
  options: FollowOptions<T, K>,
): Promise<void> {
  const { api, resource, namespace, labelSelector, store, stats, clock, signal } = options;
  const { silenceMs = 60_000, random = Math.random } = options;
  let version: string | undefined;
  let failures = 0;
  const pause = (askedMs = 0): Promise<void> =>
    clock.sleep(Math.max(askedMs, delayAfter(failures++, options)), signal);
  while (!signal.aborted) {
    try {
      if (version === undefined) {
        version = await list(options);
        options.onSynced();
      }
      using watchdog = watchSilence(clock, silenceMs, signal);
      const start = { resourceVersion: version, seconds: watchFor(silenceMs, random) };
      const events = api.watch(resource, { namespace, labelSelector }, start, { signal: watchdog.signal });
      let quick = true;
      for await (const { type, object } of events) {
        watchdog.heard();
        stats.lastEvent = clock.now();
        failures = 0;
        quick = false;
        version = object.metadata.resourceVersion ?? version;
        if (type !== 'BOOKMARK')
          store.deliver(keyOf(object), type === 'DELETED' ? undefined : store.keep(object));
      }
      // Back off from a server that ends watches as soon as they begin.
      if (quick) await pause();
    } catch (error) {
      if (signal.aborted) return;
      options.onError?.(error);
      stats.restarts++;
      // An unbroken history is safe to go on from; after anything that leaves a doubt, list.
      if (error instanceof Silent || (error instanceof KubeError && error.expired)) version = undefined;
      await pause(error instanceof KubeError ? error.retryAfterMs : 0);
    }
  }
}

/** Resolves to the version of the list, after everything that is there or no longer there has been delivered. */
async function list<T extends KubeObject, K extends KubeObject>(
  options: FollowOptions<T, K>,
): Promise<string> {
  const { api, resource, namespace, labelSelector, store, stats, clock, signal, pageSize = 200 } = options;
  const found = new Map<string, K>();
  let page: Page<T> | undefined;
  do {
    const request = { limit: pageSize, continue: page?.continue };
    page = await api.list(resource, { namespace, labelSelector }, request, { signal });
    for (const object of page.items) {
      const kept = store.keep(object);
      if (kept) found.set(keyOf(object), kept);
    }
  } while (page.continue !== undefined);
  stats.lastEvent = clock.now();
  for (const [key, object] of found) store.deliver(key, object);
  const ours = (key: string): boolean => namespace === undefined || refOf(key).namespace === namespace;
  for (const key of store.objects.keys()) if (ours(key) && !found.has(key)) store.deliver(key, undefined);
  store.listed(ours);
  return page.resourceVersion;
}

/** Seconds after which the server shall end a watch: healthy ones are made again well before they count as silent. */
function watchFor(silenceMs: number, random: () => number): number {
  return Math.max(1, Math.floor((silenceMs * (0.65 + 0.1 * random())) / 1000));
}

/** Exponential, with jitter over its upper half, so that replicas and resources do not come back in step. */
function delayAfter(
  failures: number,
  {
    backoff = { initialMs: 500, maxMs: 30_000 },
    random = Math.random,
  }: Pick<ReflectOptions<never>, 'backoff' | 'random'>,
): number {
  return Math.min(backoff.maxMs, backoff.initialMs * 2 ** failures) * (0.5 + random() / 2);
}
