/**
 * From a Redis as a pool names it to an address that is reachable from this machine. A Redis behind a Service of the cluster is
 * reached through a port-forward; any other is connected to directly. With TLS the certificate is still checked against
 * the name that the pool has.
 *
 * The nodes of a Redis Cluster announce addresses of their own, and any of them may have a key: each has a port-forward of its own.
 *
 * Sentinels return addresses that are valid only inside the cluster. So one of them is queried once for the primary, which is then
 * used to the end: after a failover the command fails, and can be repeated.
 */
import { isIP } from 'node:net';
import { findBackend } from '../../kube/backend.ts';
import { forwardPort, type Forward, type PodPort } from '../../kube/port-forward.ts';
import {
  endpointName,
  sentinelEndpoints,
  type Endpoint,
  type HostRoute,
} from '../../queue/connection/address.ts';
import { NodeUnreachable } from '../../queue/connection/redis-errors.ts';
import { redisOptions, type RedisAddress } from '../../queue/connection/connection.ts';
import { primaryBySentinel } from '../../queue/connection/sentinel.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { viewsBySentinel, type SentinelView } from './sentinel-views.ts';

export interface Reached {
  readonly address: RedisAddress;
  readonly forwards: readonly Forward[];
  /** What each sentinel reports, if there are any. */
  readonly sentinels?: () => Promise<readonly SentinelView[]>;
}

/** Where a host of the cluster is reached. */
export interface Way {
  readonly host: string;
  readonly port: number;
  readonly forward: Forward | undefined;
  /** Of the pod that answers there. */
  readonly namespace?: string;
}

/** Addresses of pods are looked up in the pool's namespace, and in `namespaces`. */
export type FindWay = (host: string, port: number, namespaces?: Iterable<string>) => Promise<Way>;

/** `stack` closes every forward that is opened. Throws `Error` in one line. */
export async function reachFromHere(
  cluster: Cluster,
  namespace: string,
  address: RedisAddress,
  stack: AsyncDisposableStack,
): Promise<Reached> {
  const way: FindWay = async (host, port, namespaces = []) => {
    let backend: Awaited<ReturnType<typeof findBackend>>;
    for (const searched of new Set([namespace, ...namespaces]))
      backend ??= await findBackend(cluster.transport, host, port, searched);
    if (backend === undefined) return { host, port, forward: undefined };
    if ('host' in backend) return { host: backend.host, port, forward: undefined };
    let known: PodPort | undefined = backend;
    const { namespace: found } = backend;
    const forward = await forwardPort(cluster.config, async () => {
      const target =
        known ?? (await findBackend(cluster.transport, host, port, isIP(host) ? found : namespace));
      known = undefined; // the next connection may need another pod
      if (target && 'pod' in target) return target;
      throw new Error(`${host} is no longer in the cluster`);
    });
    stack.use(forward);
    return { host: '127.0.0.1', port: forward.port, forward, namespace: found };
  };
  return await reachBy(way, address);
}

/** The same by any way. */
export async function reachBy(way: FindWay, address: RedisAddress): Promise<Reached> {
  if (address.cluster) return throughNodes(address, way);
  if (address.sentinel)
    return { ...(await primaryOf(address, way)), sentinels: () => viewsBySentinel(address, way) };
  const { host = '', port = 6379 } = redisOptions(address);
  const found = await way(host, port);
  return found.host === host
    ? { address, forwards: [] }
    : { address: moved(address, host, found), forwards: list(found) };
}

/**
 * A cluster whose nodes are pods: each of them is reached by a way of its own, which is found when the node is first connected to.
 * Outside of Kubernetes they are connected to directly.
 */
function throughNodes(address: RedisAddress, way: FindWay): Reached {
  const forwards: Forward[] = [];
  const namespaces = new Set<string>();
  const ways = new Map<string, Promise<Way>>();

  async function find({ host, port }: Endpoint): Promise<Way> {
    const found = await way(host, port, namespaces);
    if (found.namespace !== undefined) namespaces.add(found.namespace);
    if (found.forward) forwards.push(found.forward);
    if (found.namespace !== undefined || namespaces.size === 0) return found;
    throw new NodeUnreachable(
      `${endpointName({ host, port })}, which the cluster announces, is no pod or Service that can be found from here: let its nodes ` +
        'announce those of their pods (cluster-announce-ip, cluster-announce-hostname), or run the command in the cluster',
    );
  }

  const route: HostRoute = async (node) => {
    const name = endpointName(node);
    const finding = ways.get(name) ?? find(node);
    ways.set(name, finding);
    // a pod may not be ready yet
    finding.catch(() => ways.delete(name));
    const { host, port } = await finding;
    return { host, port };
  };
  return { address: { ...address, route }, forwards };
}

function list({ forward }: Way): Forward[] {
  return forward ? [forward] : [];
}

/** The same server at another address: user, password, database and the name in its certificate stay. */
function moved(address: RedisAddress, host: string, { host: to, port }: Way): RedisAddress {
  const url = new URL(address.url ?? '');
  url.hostname = to;
  url.port = String(port);
  const secure = address.tls !== undefined || url.protocol === 'rediss:';
  return {
    ...address,
    url: url.href,
    ...(secure ? { tls: { ...address.tls, serverName: address.tls?.serverName ?? host } } : {}),
  };
}

async function primaryOf(address: RedisAddress, way: FindWay): Promise<Reached> {
  const { sentinel, ...rest } = address;
  const endpoints = sentinel ? sentinelEndpoints(sentinel) : [];
  const scheme = address.tls ? 'rediss' : 'redis';
  let last: unknown;
  for (const { host, port } of endpoints) {
    const there = await way(host, port);
    // outside of the cluster: the client queries them itself
    if (there.host === host) return { address, forwards: [] };
    const tls = address.tls && { ...address.tls, serverName: address.tls.serverName ?? host };
    try {
      const primary = await primaryBySentinel({ ...address, tls }, { host: there.host, port: there.port });
      const found = await way(primary.host, primary.port);
      const url = `${scheme}://${endpointName(primary)}`;
      return { address: moved({ ...rest, url }, primary.host, found), forwards: list(found) };
    } catch (error) {
      last = there.forward?.trouble() ?? error;
    }
  }
  const why = last instanceof Error ? last.message : String(last);
  const nodes = endpoints.map(endpointName).join(', ');
  throw new Error(`no sentinel of ${nodes} has the address of "${sentinel?.name}": ${why}`);
}
