/** The address of the leader's dashboard, as an annotation of the lease. Pure. */

const ANNOTATION = 'millrace.dev/dashboard';

/** What a leader writes beside its name. Nothing, where it does not know by which address others reach it. */
export function leaderNote(
  identity: string,
  address: string | undefined,
  port: number,
  scheme: 'http' | 'https' = 'http',
): Readonly<Record<string, string>> {
  if (address === undefined || address === '') return {};
  const host = address.includes(':') ? `[${address}]` : address;
  return { [ANNOTATION]: `${identity} ${scheme}://${host}:${port}` };
}

/**
 * `http://host:port` (or `https://`) of the leader; `undefined` when it has written nothing, as what is there may be of one
 * before it.
 */
export function leaderAddress(
  identity: string,
  annotations: Readonly<Record<string, string>>,
): string | undefined {
  const [of, address] = (annotations[ANNOTATION] ?? '').split(' ');
  return identity !== '' && of === identity ? address : undefined;
}
