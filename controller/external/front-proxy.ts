/**
 * Who sends a request that comes through the API server. It authenticates its user, connects with a client certificate of its
 * own (the front proxy's) and names the user in headers. The authority of that certificate and the names of the headers are in a
 * ConfigMap that every API server with an aggregation layer writes.
 *
 * https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { CallOptions, Transport } from '../../kube/transport.ts';
import type { User } from '../../kube/rights.ts';

export interface FrontProxy {
  /** PEM. */
  readonly ca: string;
  /** Common names that its certificate may have; empty for any. */
  readonly allowedNames: readonly string[];
  readonly userHeaders: readonly string[];
  readonly groupHeaders: readonly string[];
  readonly uidHeaders: readonly string[];
  readonly extraPrefixes: readonly string[];
}

const CONFIG_MAP = 'kube-system/extension-apiserver-authentication';

/** Rejects with `KubeError`, or with `Error` where the API server has no aggregation layer. */
export async function readFrontProxy(transport: Transport, options?: CallOptions): Promise<FrontProxy> {
  const [namespace, name] = CONFIG_MAP.split('/');
  const { data = {} } = await transport.call<{ data?: Record<string, string> }>(
    {
      method: 'GET',
      path: `/api/v1/namespaces/${namespace}/configmaps/${name}`,
      what: `get configmap ${CONFIG_MAP}`,
    },
    options,
  );
  const ca = data['requestheader-client-ca-file'];
  if (ca === undefined)
    throw new Error(
      `configmap ${CONFIG_MAP} has no requestheader-client-ca-file: the API server runs without an aggregation layer`,
    );
  const names = (key: string): string[] => {
    const found: unknown = JSON.parse(data[`requestheader-${key}`] ?? '[]');
    return Array.isArray(found) ? found.map(String) : [];
  };
  const headers = (key: string): string[] => names(key).map((header) => header.toLowerCase());
  return {
    ca,
    allowedNames: names('allowed-names'),
    userHeaders: headers('username-headers'),
    groupHeaders: headers('group-headers'),
    uidHeaders: headers('uid-headers'),
    extraPrefixes: headers('extra-headers-prefix'),
  };
}

/** The user whom the front proxy names; `undefined` if it names none. Only for requests that came with its certificate. */
export function userIn(
  headers: Readonly<Record<string, readonly string[] | undefined>>,
  proxy: FrontProxy,
): User | undefined {
  const valuesOf = (names: readonly string[]): readonly string[] =>
    names.map((name) => headers[name] ?? []).find((values) => values.length > 0) ?? [];
  const [name] = valuesOf(proxy.userHeaders);
  if (!name) return undefined;
  const extra: Record<string, string[]> = {};
  for (const [header, values = []] of Object.entries(headers)) {
    const prefix = proxy.extraPrefixes.find((one) => header.startsWith(one));
    if (prefix !== undefined) extra[unescaped(header.slice(prefix.length))] = [...values];
  }
  const [uid] = valuesOf(proxy.uidHeaders);
  return {
    name,
    groups: proxy.groupHeaders.flatMap((header) => headers[header] ?? []),
    extra,
    ...(uid !== undefined && { uid }),
  };
}

/** The token of a request that did not come through the API server. */
export function bearerIn({ authorization }: IncomingHttpHeaders): string | undefined {
  return /^Bearer (.+)$/i.exec(authorization ?? '')?.[1];
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
