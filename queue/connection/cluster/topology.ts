/** What is known of a cluster: its nodes and which of them has which slot; read from any node that answers, again when in doubt. */
import { timeout } from '../../../runtime/timers.ts';
import { clusterEndpoints, endpointName, type Endpoint, type RedisAddress } from '../address.ts';
import { ClusterRefused } from '../redis-errors.ts';
import { knownNodes } from './locator.ts';
import { createSlotTable } from './slot-table.ts';
import { readSlots, worstOf } from './slots.ts';

export interface TopologyOptions {
  readonly address: RedisAddress;
  /** A primary that cannot be reached: what others report of its slots is believed. */
  readonly isFailing: (node: Endpoint) => boolean;
  /** See `nodeRefused`. */
  readonly isProven: () => boolean;
  /** Whether the owner of some slot is awaited: then the slots are read until it is known. */
  readonly isAwaited: () => boolean;
  /** These slots have another owner. */
  readonly onChange: (slots: ReadonlySet<number>) => void;
  /** The slots have been read. */
  readonly onRead: () => void;
  readonly onError: (error: ClusterRefused) => void;
}

export interface Topology extends AsyncDisposable {
  ownerOf(slot: number): Endpoint | undefined;
  /** A slot of each primary that is known to have any. */
  slotOfEach(): number[];
  /** Why the owner of a slot is not known. */
  whyUnknown(slot: number): ClusterRefused;
  /** Learnt from a reply of a node. */
  moved(slot: number, owner: Endpoint): void;
  /** Reads the slots in the background. */
  readSoon(): void;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** Throws `RangeError` for addresses that cannot be read. */
export function createTopology(options: TopologyOptions): Topology {
  const { address, isFailing, isProven, isAwaited, onChange, onRead, onError } = options;
  if (!address.cluster) throw new RangeError('no cluster nodes are given');
  const nodes = knownNodes(clusterEndpoints(address.cluster));
  const table = createSlotTable();
  let unread: ClusterRefused | undefined;
  let reading: Promise<void> | undefined;
  let again = false;
  let closed = false;
  let wake: (() => void) | undefined;

  /** Never rejects. */
  async function read(): Promise<void> {
    for (let attempt = 0; again && !closed; attempt++) {
      again = false;
      await readOnce();
      if (closed || !(table.empty || isAwaited())) continue;
      again = true;
      await pause(Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS));
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeout(ms, resolve);
      wake = () => {
        timer.clear();
        resolve();
      };
    });
  }

  async function readOnce(): Promise<void> {
    const failures: ClusterRefused[] = [];
    const order = nodes.all().toSorted((a, b) => Number(isFailing(a)) - Number(isFailing(b)));
    for (const node of order) {
      try {
        const ranges = await readSlots(address, node, isProven());
        if (closed) return;
        unread = undefined;
        nodes.add(ranges.map(({ primary }) => primary));
        nodes.first(node);
        const asked = endpointName(node);
        const changed = table.apply(ranges, (owner) => isFailing(owner) || endpointName(owner) === asked);
        if (changed.size > 0) onChange(changed);
        return onRead();
      } catch (error) {
        if (closed) return;
        failures.push(error instanceof ClusterRefused ? error : new ClusterRefused('other', String(error)));
      }
    }
    unread = worstOf(failures);
    onError(unread);
  }

  function readSoon(): void {
    again = true;
    if (!closed) reading ??= read().finally(() => (reading = undefined));
  }

  return {
    ownerOf: (slot) => table.ownerOf(slot),
    slotOfEach: () => table.slotOfEach(),
    whyUnknown: (slot) => {
      if (unread) return unread;
      const what = table.empty ? 'has not been read yet' : `has assigned slot ${slot} to no node`;
      return new ClusterRefused('away', `the cluster ${what}: see CLUSTER INFO at one of its nodes`);
    },
    moved: (slot, owner) => {
      nodes.add([owner]);
      if (table.set(slot, owner)) onChange(new Set([slot]));
    },
    readSoon,
    [Symbol.asyncDispose]: async () => {
      closed = true;
      wake?.();
      await reading;
    },
  };
}
