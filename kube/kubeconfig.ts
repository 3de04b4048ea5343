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

/**
 * The connection of a kubeconfig's current context.
 * @param path of the file; without it `KUBECONFIG`, `~/.kube/config` and the other places where kubectl looks.
 * @throws Error when the file cannot be read or names no current cluster.
 */
export function fromKubeconfig(path?: string): Connection {
  const config = new KubeConfig();
  if (path === undefined) config.loadFromDefault();
  else config.loadFromFile(path);
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new Error(
      `${path ?? 'the kubeconfig'} has no current cluster: choose one with kubectl config use-context`,
    );
  }
  return {
    server: cluster.server.replace(/\/$/, ''),
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    async credentials() {
      const options: RequestOptions & { headers: Record<string, string> } = { headers: {} };
      await config.applyToHTTPSOptions(options);
      const { auth, agent, headers, ...tls } = options;
      if (auth) headers['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
      // It makes an agent always, but one that does not keep connections alive: of use only where there is a proxy.
      return { ...tls, headers, ...(cluster.proxyUrl && agent instanceof Agent && { agent }) };
    },
    // KubeConfig keeps what exec plugins and OIDC gave it until it expires by its own account.
    forget: () => {},
  };
}
