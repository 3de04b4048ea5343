/**
 * From a Redis as a pool names it to an address that is reachable from this machine. A Redis behind a Service of the cluster is
 * reached through a port-forward; any other is connected to directly. With TLS the certificate is still checked against
 * the name that the pool has.
 *
 * Sentinels return addresses that are valid only inside the cluster. So one of them is queried once for the primary, which is then
 * used to the end: after a failover the command fails, and can be repeated.
 */
import { findBackend } from '../../kube/backend.ts';
import { forwardPort, type Forward, type PodPort } from '../../kube/port-forward.ts';
import { endpointName, sentinelEndpoints } from '../../queue/connection/address.ts';
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
}

export type FindWay = (host: string, port: number) => Promise<Way>;

/** `stack` closes every forward that is opened. Throws `Error` in one line. */
export async function reachFromHere(
  cluster: Cluster,
  namespace: string,
  address: RedisAddress,
  stack: AsyncDisposableStack,
): Promise<Reached> {
  const way: FindWay = async (host, port) => {
    const backend = await findBackend(cluster.transport, host, port, namespace);
    if (backend === undefined) return { host, port, forward: undefined };
    if ('host' in backend) return { host: backend.host, port, forward: undefined };
    let known: PodPort | undefined = backend;
    const forward = await forwardPort(cluster.config, async () => {
      const target = known ?? (await findBackend(cluster.transport, host, port, namespace));
      known = undefined; // the next connection may need another pod
      if (target && 'pod' in target) return target;
      throw new Error(`${host} is no longer in the cluster`);
    });
    stack.use(forward);
    return { host: '127.0.0.1', port: forward.port, forward };
  };
  return await reachBy(way, address);
}

/** The same by any way. */
export async function reachBy(way: FindWay, address: RedisAddress): Promise<Reached> {
  // a port-forward leads to one pod, and any node may have a key: where the nodes are reachable, they are connected to directly
  if (address.cluster) return { address, forwards: [] };
  if (address.sentinel)
    return { ...(await primaryOf(address, way)), sentinels: () => viewsBySentinel(address, way) };
  const { host = '', port = 6379 } = redisOptions(address);
  const found = await way(host, port);
  return found.host === host
    ? { address, forwards: [] }
    : { address: moved(address, host, found), forwards: list(found) };
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
