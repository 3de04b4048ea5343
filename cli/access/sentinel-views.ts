/** What each sentinel of an address reports, for diagnosis. */
import { endpointName, sentinelEndpoints, type RedisAddress } from '../../queue/connection/address.ts';
import { askSentinel, type SentinelReport } from '../../queue/connection/sentinel.ts';

/** One sentinel. */
export interface SentinelView {
  /** `host:port`, as it is written. */
  readonly node: string;
  /** Its report, or why there is none. */
  readonly report: SentinelReport | Error;
}

/** Asks them all. `way`: where each of them is reached from here; directly, by default. */
export async function viewsBySentinel(
  address: RedisAddress,
  way: (host: string, port: number) => Promise<{ readonly host: string; readonly port: number }> = (
    host,
    port,
  ) => Promise.resolve({ host, port }),
): Promise<SentinelView[]> {
  const endpoints = address.sentinel ? sentinelEndpoints(address.sentinel) : [];
  const asked = endpoints.map(async ({ host, port }): Promise<SentinelView> => {
    const node = endpointName({ host, port });
    try {
      const there = await way(host, port);
      const serverName = address.tls?.serverName ?? (there.host === host ? undefined : host);
      const tls = address.tls && { ...address.tls, serverName };
      return { node, report: await askSentinel({ ...address, tls }, there) };
    } catch (error) {
      return { node, report: error as Error };
    }
  });
  return await Promise.all(asked);
}
