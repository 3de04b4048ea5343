/** The address of the leader's dashboard, and of its other servers, as annotations of the lease. Pure. */

const annotationOf = (service: string): string => `millrace.dev/${service}`;

/** What a leader writes beside its name. Nothing, where it does not know by which address others reach it. */
export function leaderNote(
  identity: string,
  address: string | undefined,
  port: number,
  scheme: 'http' | 'https' | 'tcp' = 'http',
  service = 'dashboard',
): Readonly<Record<string, string>> {
  if (address === undefined || address === '') return {};
  const host = address.includes(':') ? `[${address}]` : address;
  return { [annotationOf(service)]: `${identity} ${scheme}://${host}:${port}` };
}

/**
 * `http://host:port` (or another scheme) of the leader; `undefined` when it has written nothing, as what is there may be of one
 * before it.
 */
export function leaderAddress(
  identity: string,
  annotations: Readonly<Record<string, string>>,
  service = 'dashboard',
): string | undefined {
  const [of, address] = (annotations[annotationOf(service)] ?? '').split(' ');
  return identity !== '' && of === identity ? address : undefined;
}
