/** Resolves a pool's `spec.redis` and the Secrets that it names to an address for a connection. */
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import type { RedisSpec, SecretSource } from '../../kube/workerpool.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';

/** A Secret that the pool names does not exist, lacks the key, or may not be read. The message says which, and what to do. */
export class MissingSecret extends Error {
  override name = 'MissingSecret';
}

/**
 * Reads the Secrets and assembles the address. Throws `MissingSecret`; rejects with `KubeError` if the API server does not
 * answer.
 */
export async function resolveAddress(
  spec: RedisSpec,
  namespace: string,
  secrets: KubeApi['secrets'],
  signal: AbortSignal,
): Promise<RedisAddress> {
  const read = async (source: SecretSource | undefined): Promise<string | undefined> => {
    if (!source) return undefined;
    const { name, key } = source.secretKeyRef;
    try {
      const { data = {} } = await secrets.get({ namespace, name }, { signal });
      // a key may have the name of an inherited property
      const value: unknown = Object.hasOwn(data, key) ? data[key] : undefined;
      if (typeof value === 'string') return Buffer.from(value, 'base64').toString().trim();
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.refused)
        throw new MissingSecret(
          `Secret "${name}" in namespace "${namespace}" cannot be read: ${error.message}`,
          {
            cause: error,
          },
        );
      if (!error.notFound) throw error;
      throw new MissingSecret(
        `Secret "${name}" does not exist in namespace "${namespace}": create it with a key "${key}"`,
      );
    }
    throw new MissingSecret(`Secret "${name}" in namespace "${namespace}" has no key "${key}": add it`);
  };
  const { tls, sentinel, cluster } = spec;
  const [url, password, sentinelPassword, ca, cert, key] = await Promise.all(
    [spec.urlFrom, spec.passwordFrom, sentinel?.passwordFrom, tls?.caFrom, tls?.certFrom, tls?.keyFrom].map(
      read,
    ),
  );
  return {
    url: url ?? spec.url,
    sentinel: sentinel && {
      name: sentinel.name,
      nodes: sentinel.nodes,
      username: sentinel.username,
      password: sentinelPassword,
    },
    ...(cluster && { cluster: { nodes: cluster.nodes } }),
    username: spec.username,
    password,
    tls: tls && { ca, cert, key, serverName: tls.serverName, insecureSkipVerify: tls.insecureSkipVerify },
  };
}
