/**
 * `queue/connection/cluster/` takes the address of a Redis Cluster and returns clients for slots, and where a slot is. It knows
 * nothing of queues, keys or scripts.
 *
 * One connection, a link, for each primary that is used, whatever the number of slots: `client` returns a client for the slot of
 * a key, which sends over the link to the primary that has the slot at that moment. MOVED and ASK are followed, command by
 * command; a primary that is gone is replaced as soon as another node reports its successor, and what was not answered is resent
 * there, as a connection to a single server resends after it was lost.
 *
 * For what hangs on one connection (a blocked command, client tracking) see locator.ts.
 */
import calculateSlot from 'cluster-key-slot';
import type { Redis, RedisOptions } from 'ioredis';
import { endpointName, isEncrypted, type Endpoint, type RedisAddress } from '../address.ts';
import { closeRedis, dropRedis } from '../close.ts';
import { openRedis } from '../connection.ts';
import { insideOf } from '../ioredis-internals.ts';
import { ClusterRefused, nodeRefused } from '../redis-errors.ts';
import { createDeliveries, type Deliveries, type Link } from './delivery.ts';
import { showLink, SlotClient } from './slot-client.ts';
import { createTopology, type Topology } from './topology.ts';

export interface ClusterLinkOptions {
  /** With `cluster`, whose `key` is not used. */
  readonly address: RedisAddress;
  /** Opens a link: `openRedis` by default, `openBounded` for untrusted servers. */
  readonly open?: (
    address: RedisAddress,
    options: RedisOptions & { onError: (error: Error) => void },
  ) => Redis;
  /** Of a new link, before it is connected. */
  readonly onLink?: (link: Redis) => void;
  /** Each failed attempt to connect, or to find out where the slots are. */
  readonly onError?: (error: Error) => void;
  /** These slots are on another primary now. */
  readonly onMoved?: (slots: ReadonlySet<number>) => void;
  /** Commands wait until there is a connection; otherwise they are rejected with the reason why there is none. */
  readonly waits: boolean;
  /** How long a command is retried that the cluster cannot execute at this moment (CLUSTERDOWN, TRYAGAIN), ms. */
  readonly passingMs: number;
}

export interface ClusterLinks extends AsyncDisposable {
  /** A client for the slot of the key; to be closed like a connection. */
  client(key: string): Redis;
  /** The primary that has the key's slot, as far as it is known. */
  ownerOf(key: string): Endpoint | undefined;
  /** A client for each primary that is known to have slots, of one of these; each to be closed like a connection. */
  primaries(): Redis[];
  /** Number of open links. */
  readonly size: number;
}

interface LinksState {
  readonly options: ClusterLinkOptions;
  readonly topology: Topology;
  readonly deliveries: Deliveries;
  readonly links: Map<string, Link>;
  readonly clients: Set<SlotClient>;
  readonly closing: Set<Promise<void>>;
  /** A link was established once. */
  proven: boolean;
}

/** Throws `RangeError` for addresses that cannot be read; connects in the background. */
export function openClusterLinks(options: ClusterLinkOptions): ClusterLinks {
  const { address, waits, passingMs } = options;
  const links = new Map<string, Link>();
  const topology = createTopology({
    address,
    isFailing: (node) => links.get(endpointName(node))?.failure !== undefined,
    isProven: () => state.proven,
    isAwaited: () => state.deliveries.homeless,
    onChange: (slots) => moved(state, slots),
    onRead: () => state.deliveries.retryHomeless(),
    onError: (error) => options.onError?.(error),
  });
  const deliveries = createDeliveries({ topology, linkTo: (node) => linkTo(state, node), waits, passingMs });
  const state: LinksState = {
    options,
    topology,
    deliveries,
    links,
    clients: new Set(),
    closing: new Set(),
    proven: false,
  };
  return {
    client: (key) => addClient(state, calculateSlot(key)),
    ownerOf: (key) => topology.ownerOf(calculateSlot(key)),
    primaries: () => topology.slotOfEach().map((slot) => addClient(state, slot)),
    get size() {
      return links.size;
    },
    [Symbol.asyncDispose]: () => close(state),
  };
}

function addClient(state: LinksState, slot: number): SlotClient {
  const client = new SlotClient({
    slot,
    deliver: state.deliveries.begin,
    onClose: (gone) => {
      state.clients.delete(gone);
      for (const link of state.links.values())
        if (link.clients.delete(gone) && link.clients.size === 0) retire(state, link);
    },
  });
  state.clients.add(client);
  attach(state, client);
  return client;
}

/** These slots are on another primary now. */
function moved(state: LinksState, slots: ReadonlySet<number>): void {
  for (const client of state.clients) if (slots.has(client.slot)) attach(state, client);
  for (const link of state.links.values()) if (link.clients.size === 0) retire(state, link);
  state.options.onMoved?.(slots);
}

/** Lets a client send over the link to the primary of its slot. */
function attach(state: LinksState, client: SlotClient): void {
  const owner = state.topology.ownerOf(client.slot);
  if (!owner) return state.topology.readSoon();
  const link = linkTo(state, owner);
  for (const other of state.links.values()) if (other !== link) other.clients.delete(client);
  link.clients.add(client);
  client.attach(link.redis);
}

function linkTo(state: LinksState, node: Endpoint): Link {
  const { links, options } = state;
  const name = endpointName(node);
  const known = links.get(name);
  if (known) return known;
  const { address, open = openRedis, waits, onLink } = options;
  const redis = open(
    { ...address, cluster: undefined, url: `redis://${name}` },
    { enableOfflineQueue: waits, onError: (error) => failed(state, link, error) },
  );
  const link: Link = {
    node,
    redis,
    clients: new Set(),
    failure: undefined,
    retired: false,
    corked: false,
  };
  links.set(name, link);
  redis.on('ready', () => {
    state.proven = true;
    link.failure = undefined;
  });
  redis.on('close', () => {
    link.failure ??= new ClusterRefused('closed', `cluster node ${name} has closed the connection`);
  });
  showLink(redis, link.clients);
  onLink?.(redis);
  return link;
}

function failed({ options, topology, proven }: LinksState, link: Link, error: Error): void {
  const encrypted = isEncrypted(options.address);
  link.failure = nodeRefused(error, endpointName(link.node), { encrypted, proven });
  options.onError?.(link.failure);
  topology.readSoon();
}

/** No client uses it any more; what it has not answered goes elsewhere. */
function retire({ links, closing }: LinksState, link: Link): void {
  links.delete(endpointName(link.node));
  link.retired = true;
  if (link.redis.status !== 'ready') return abandon(link.redis);
  const closed = closeRedis(link.redis).finally(() => closing.delete(closed));
  closing.add(closed);
}

async function close({ topology, deliveries, clients, links, closing }: LinksState): Promise<void> {
  const ended = topology[Symbol.asyncDispose]();
  deliveries[Symbol.dispose]();
  for (const client of clients) client.disconnect();
  await Promise.all(Array.from(links.values(), ({ redis }) => closeRedis(redis)));
  await Promise.all([...closing, ended]);
}

/** Drops a link that is not connected; what it has not sent, and what was not answered, is rejected. */
function abandon(redis: Redis): void {
  const { prevCommandQueue, commandQueue, offlineQueue } = insideOf(redis);
  const error = new Error('Connection is closed.');
  for (const queue of [prevCommandQueue, commandQueue, offlineQueue])
    for (let item = queue?.shift(); item; item = queue?.shift()) item.command.reject(error);
  dropRedis(redis);
}
