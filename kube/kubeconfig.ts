/**
 * The API server of a kubeconfig, by the KubeConfig of @kubernetes/client-node: it knows exec plugins, OIDC, proxies and client
 * certificates.
 *
 * Import this file with `await import`, and not in a pod: KubeConfig brings undici and five ways to authenticate. Bundled into a file of
 * its own (esbuild's `--splitting`) it costs nothing until it is used, then about 20 MB and 100 ms; bundled into the program's own
 * file it costs 17 MB and 80 ms always; not bundled, 90 MB and 500 ms.
 */
import { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import type { Connection } from './connection.ts';

export interface KubeconfigChoice {
  /** Path of the file; by default `KUBECONFIG`, `~/.kube/config` and the other places that kubectl reads. */
  readonly path?: string | undefined;
  /** Instead of the file's current context. */
  readonly context?: string | undefined;
}

/** The library's fallback if it has found nothing at all; no API server is there. */
const NOWHERE = 'http://localhost:8080';

/** Throws Error in one line when the file cannot be read, there is none, or it has no such context or cluster. */
export function loadKubeconfig({ path, context }: KubeconfigChoice): KubeConfig {
  const config = new KubeConfig();
  const file = path ?? 'the kubeconfig';
  try {
    if (path === undefined) config.loadFromDefault();
    else config.loadFromFile(path);
  } catch (error) {
    const message = (error as Error).message.split('\n')[0];
    throw new Error(`${file} cannot be read: ${message}`, { cause: error });
  }
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      const known = config.getContexts().map(({ name }) => name);
      throw new Error(
        `${file} has no context "${context}": it has ${known.length > 0 ? known.join(', ') : 'none'}`,
      );
    }
    config.setCurrentContext(context);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw new Error(`${file} has no current cluster: choose one with kubectl config use-context`);
  if (path === undefined && cluster.server === NOWHERE)
    throw new Error('there is no kubeconfig: set KUBECONFIG or give --kubeconfig');
  return config;
}

/** The connection of a kubeconfig's current context; throws as `loadKubeconfig` does. */
export function fromKubeconfig(path?: string): Connection {
  return connectionOf(loadKubeconfig({ path }));
}

/** The connection of the current context of a kubeconfig that was loaded. */
export function connectionOf(config: KubeConfig): Connection {
  const cluster = config.getCurrentCluster();
  return {
    server: cluster?.server.replace(/\/$/, '') ?? '',
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    async credentials() {
      const options: RequestOptions & { headers: Record<string, string> } = { headers: {} };
      await config.applyToHTTPSOptions(options);
      const { auth, agent, headers, ...tls } = options;
      if (auth) headers['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
      // It always creates an agent, but one without keep-alive: useful only with a proxy.
      return { ...tls, headers, ...(cluster?.proxyUrl && agent instanceof Agent && { agent }) };
    },
    // KubeConfig caches the credentials of exec plugins and OIDC until they expire.
    forget: () => {},
  };
}
