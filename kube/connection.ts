/**
 * The address of the API server and our credentials for it. `inCluster` is for a pod: the mounted service account, whose token and
 * CA are read again every minute, the same period as client-go's, and immediately after a 401. For a developer's machine with a
 * kubeconfig, see kubeconfig.ts, which programs import only when they need it.
 */
import { readFile } from 'node:fs/promises';
import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';

/** What goes with a request: TLS material, headers, and an agent of its own where a proxy is between. */
export interface KubeCredentials extends Pick<
  RequestOptions,
  'ca' | 'cert' | 'key' | 'passphrase' | 'rejectUnauthorized' | 'servername'
> {
  readonly headers: Record<string, string>;
  readonly agent?: Agent;
}

export interface Connection {
  /** `https://host:port`, with a path prefix where the server has one. */
  readonly server: string;
  /** Namespace of the pod or of the kubeconfig's context. */
  readonly namespace: string | undefined;
  credentials(): Promise<KubeCredentials>;
  /** Called after a 401: the next `credentials()` reads them anew. */
  forget(): void;
}

const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';
const REREAD_AFTER_MS = 60_000;

export interface InClusterOptions {
  /** `KUBERNETES_SERVICE_HOST`. */
  readonly host: string;
  /** `KUBERNETES_SERVICE_PORT`. */
  readonly port: string;
  /** Where `token`, `ca.crt` and `namespace` are mounted. */
  readonly folder?: string;
  /** ms, monotonic. */
  readonly now?: () => number;
}

/**
 * The connection of a pod with a service account.
 * `credentials` rejects with an Error naming the file that cannot be read.
 */
export async function inCluster({
  host,
  port,
  folder = SERVICE_ACCOUNT_FOLDER,
  now = () => performance.now(),
}: InClusterOptions): Promise<Connection> {
  let read: { at: number; credentials: KubeCredentials } | undefined;
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    namespace: (await readFile(join(folder, 'namespace'), 'utf8').catch(() => '')).trim() || undefined,
    async credentials() {
      if (read === undefined || now() - read.at > REREAD_AFTER_MS) {
        const at = now();
        // one after the other: if neither is there, the token is named
        const token = await readMounted(folder, 'token');
        const ca = await readMounted(folder, 'ca.crt');
        read = { at, credentials: { ca, headers: { authorization: `Bearer ${token.trim()}` } } };
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
