/**
 * How to reach the API server, and who we are there. `inCluster` is the way of a pod: by the mounted service account, whose token
 * and CA are read again every minute, the same period as client-go's, and at once after a 401. For the way of a developer's
 * machine, by a kubeconfig, see kubeconfig.ts, which programs import only when they need it.
 */
import { readFile } from 'node:fs/promises';
import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';

/** What goes with a request: TLS material, headers, and an agent of its own where a proxy is between. */
export interface Credentials extends Pick<
  RequestOptions,
  'ca' | 'cert' | 'key' | 'passphrase' | 'rejectUnauthorized' | 'servername'
> {
  headers: Record<string, string>;
  agent?: Agent;
}

export interface Connection {
  /** `https://host:port`, with a path prefix where the server has one. */
  server: string;
  /** Namespace of the pod or of the kubeconfig's context. */
  namespace: string | undefined;
  credentials(): Promise<Credentials>;
  /** Called after a 401: the next `credentials()` reads them anew. */
  forget(): void;
}

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
const rereadAfter = 60_000;

export interface InClusterOptions {
  /** `KUBERNETES_SERVICE_HOST`. */
  host: string;
  /** `KUBERNETES_SERVICE_PORT`. */
  port: string;
  /** Where `token`, `ca.crt` and `namespace` are mounted. */
  folder?: string;
  /** ms, monotonic. */
  now?: () => number;
}

/**
 * The connection of a pod with a service account.
 * @throws Error (from `credentials`) naming the file that cannot be read.
 */
export async function inCluster({
  host,
  port,
  folder = serviceAccountFolder,
  now = () => performance.now(),
}: InClusterOptions): Promise<Connection> {
  let read: { at: number; credentials: Credentials } | undefined;
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    namespace: (await readFile(join(folder, 'namespace'), 'utf8').catch(() => '')).trim() || undefined,
    async credentials() {
      if (read === undefined || now() - read.at > rereadAfter) {
        const at = now();
        const [token, ca] = await Promise.all(['token', 'ca.crt'].map((file) => readMounted(folder, file)));
        read = { at, credentials: { ca, headers: { authorization: `Bearer ${token?.trim()}` } } };
      }
      return read.credentials;
    },
    forget: () => (read = undefined),
  };
}

async function readMounted(folder: string, file: string): Promise<string> {
  try {
    return await readFile(join(folder, file), 'utf8');
  } catch (cause) {
    const path = join(folder, file);
    throw new Error(`cannot read ${path}: is the pod's service account token mounted?`, { cause });
  }
}
