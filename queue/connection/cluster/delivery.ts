/** Commands on their way to the primary that has their slot: each is sent until it is answered or given up. */
import type { Redis } from 'ioredis';
import { timeout, type Timer } from '../../../runtime/timers.ts';
import type { Endpoint } from '../address.ts';
import { insideOf, type SentCommand } from '../ioredis-internals.ts';
import { ClusterRefused } from '../redis-errors.ts';
import { isReply, replyCode } from '../reply-code.ts';
import type { CommandDelivery, SlotClient } from './slot-client.ts';
import { redirection } from './slots.ts';
import type { Topology } from './topology.ts';

/** The connection to a primary. */
export interface Link {
  readonly node: Endpoint;
  readonly redis: Redis;
  /** Of slots that the primary has. */
  readonly clients: Set<SlotClient>;
  /** Why it is not connected. */
  failure: ClusterRefused | undefined;
  /** It is being closed: what it has not answered goes elsewhere. */
  retired: boolean;
  corked: boolean;
}

export interface DeliveryOptions {
  readonly topology: Pick<Topology, 'ownerOf' | 'whyUnknown' | 'moved' | 'readSoon'>;
  readonly linkTo: (node: Endpoint) => Link;
  /** See `ClusterLinkOptions`. */
  readonly waits: boolean;
  readonly passingMs: number;
}

export interface Deliveries extends Disposable {
  readonly begin: (
    client: SlotClient,
    command: SentCommand,
    reject: (error: Error) => void,
  ) => CommandDelivery;
  /** Whether commands wait for the owner of their slot to be known. */
  readonly homeless: boolean;
  retryHomeless(): void;
}

interface Trip {
  readonly client: SlotClient;
  readonly command: SentCommand;
  readonly reject: (error: Error) => void;
  readonly since: number;
  /** The last one that it was sent over. */
  link: Link | undefined;
  tries: number;
}

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 500;
/** Redirections are followed immediately this often: then nodes that disagree are left time to agree. */
const FOLLOWED = 3;
/** A command that may not wait is given up after as many. */
const MOST_TRIES = 10;

interface DeliveryState {
  readonly options: DeliveryOptions;
  /** Those that wait for the owner of their slot to be known. */
  readonly homeless: Set<Trip>;
  readonly pauses: Map<Trip, Timer>;
  /** The link over which each client's last reply came. */
  readonly lastOf: WeakMap<SlotClient, Link>;
  closed: boolean;
}

export function createDeliveries(options: DeliveryOptions): Deliveries {
  const state: DeliveryState = {
    options,
    homeless: new Set(),
    pauses: new Map(),
    lastOf: new WeakMap(),
    closed: false,
  };
  const { homeless, pauses } = state;
  return {
    begin: (client, command, reject) => {
      const trip: Trip = { client, command, reject, since: performance.now(), link: undefined, tries: 0 };
      return {
        send: () => deliver(state, trip),
        answered: () => void (trip.link && state.lastOf.set(client, trip.link)),
        failed: (error) => failed(state, trip, error),
      };
    },
    get homeless() {
      return homeless.size > 0;
    },
    retryHomeless: () => {
      // those that stay so are added again
      for (const trip of Array.from(homeless)) deliver(state, trip);
    },
    [Symbol.dispose]: () => {
      state.closed = true;
      for (const timer of pauses.values()) timer.clear();
      for (const trip of [...pauses.keys(), ...homeless]) rejectClosed(trip);
    },
  };
}

function deliver(state: DeliveryState, trip: Trip): void {
  const { homeless, pauses, lastOf } = state;
  const { topology, linkTo, waits } = state.options;
  const { client, command, reject } = trip;
  homeless.delete(trip);
  pauses.delete(trip);
  if (state.closed || client.closed) return rejectClosed(trip);
  // it is about what this client has written before: any other server would confirm it immediately
  const last = command.name === 'wait' ? lastOf.get(client) : undefined;
  if (last?.retired) return reject(new Error('the slot is on another server now'));
  if (last) return send(state, trip, last);
  const owner = topology.ownerOf(client.slot);
  if (owner) return send(state, trip, linkTo(owner));
  topology.readSoon();
  if (waits) homeless.add(trip);
  else reject(topology.whyUnknown(client.slot));
}

function send({ options: { waits } }: DeliveryState, trip: Trip, link: Link): void {
  const { client, command, reject } = trip;
  if (!waits && link.redis.status !== 'ready') return reject(link.failure ?? unconnected());
  trip.link = link;
  trip.tries++;
  client.use(link.redis);
  if (!waits) cork(link);
  insideOf(link.redis).sendCommand(command);
}

/** An attempt was rejected: it is repeated, here or elsewhere, or given up. */
function failed(state: DeliveryState, trip: Trip, error: Error): void {
  const { topology, passingMs } = state.options;
  const { client, reject, link } = trip;
  if (state.closed || client.closed) return reject(error);
  if (!isReply(error)) return link?.retired ? deliver(state, trip) : reject(error);
  const code = replyCode(error);
  const mayWait = performance.now() - trip.since < passingMs;
  const next = redirection(error, link?.node);
  if (next?.node && (mayWait || trip.tries < MOST_TRIES))
    return follow(state, trip, code === 'ASK', next.slot, next.node);
  if (!mayWait || (code !== 'TRYAGAIN' && code !== 'CLUSTERDOWN')) return reject(error);
  if (code === 'CLUSTERDOWN') topology.readSoon();
  deliverLater(state, trip, trip.tries);
}

/** Sends it to the node that a redirection names: `once`, or from now on. */
function follow(state: DeliveryState, trip: Trip, once: boolean, slot: number, node: Endpoint): void {
  const { topology, linkTo, waits } = state.options;
  if (once) {
    const link = linkTo(node);
    // it applies to the next command of that connection
    if (waits || link.redis.status === 'ready') link.redis.asking().catch(() => undefined);
    return send(state, trip, link);
  }
  topology.moved(slot, node);
  if (trip.tries <= FOLLOWED) deliver(state, trip);
  else deliverLater(state, trip, trip.tries - FOLLOWED);
}

function deliverLater(state: DeliveryState, trip: Trip, times: number): void {
  const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** times, LONGEST_PAUSE_MS);
  state.pauses.set(
    trip,
    timeout(pauseMs, () => deliver(state, trip)),
  );
}

function rejectClosed({ reject }: Trip): void {
  reject(new Error('Connection is closed.'));
}

function unconnected(): ClusterRefused {
  return new ClusterRefused('away', 'the connection to a cluster node is being opened');
}

/** What is sent in one tick is one write: for those who send many small commands at once, and do not wait for a connection. */
function cork(link: Link): void {
  const stream = link.redis.stream as Redis['stream'] | undefined;
  if (!stream || link.corked) return;
  link.corked = true;
  stream.cork();
  process.nextTick(() => {
    link.corked = false;
    stream.uncork();
  });
}
