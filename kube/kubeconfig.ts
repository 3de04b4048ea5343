/**
 * The API server of a kubeconfig, by the KubeConfig of @kubernetes/client-node: it knows exec plugins, OIDC, proxies and client
 * certificates.
 *
 * Import this file with `await import`, and not in a pod: KubeConfig brings undici and five ways to authenticate. Bundled into a file of
 * its own (esbuild's `--splitting`) it costs nothing until it is used, then about 20 MB and 100 ms; bundled into the program's own
 * file it costs 17 MB and 80 ms always; not bundled, 90 MB and 500 ms.
 */
import { existsSync } from 'node:fs';
import { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import { delimiter } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import type { Connection } from './connection.ts';

export interface KubeconfigChoice {
  /** Path of the file; by default those of `files`, merged, or `~/.kube/config`, as kubectl reads them. */
  readonly path?: string | undefined;
  /** What `KUBECONFIG` says: paths, separated as those of `PATH` are. */
  readonly files?: string | undefined;
  /** Instead of the file's current context. */
  readonly context?: string | undefined;
}

/** The library's fallback if it has found nothing at all; no API server is there. */
const NOWHERE = 'http://localhost:8080';

/** Throws Error in one line when the file cannot be read, there is none, or it has no such context or cluster. */
export function loadKubeconfig({ path, files = '', context }: KubeconfigChoice): KubeConfig {
  const file = path ?? 'the kubeconfig';
  const listed = path === undefined ? files.split(delimiter).filter((one) => one && existsSync(one)) : [];
  const config = listed.length > 0 ? merged(listed.map((one) => read(one, one))) : read(path, file);
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

function read(path: string | undefined, name: string): KubeConfig {
  const config = new KubeConfig();
  try {
    if (path === undefined) config.loadFromDefault();
    else config.loadFromFile(path);
  } catch (error) {
    const message = (error as Error).message.split('\n')[0];
    const todo = path === undefined ? ': check KUBECONFIG, or give --kubeconfig' : '';
    throw new Error(`${name} cannot be read: ${message}${todo}`, { cause: error });
  }
  return config;
}

/**
 * Several files as kubectl merges them: the first that says something wins. `loadFromDefault` takes the current context of the
 * last file, and refuses a name that is in two.
 */
function merged(files: readonly KubeConfig[]): KubeConfig {
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: firstOfEachName(files.flatMap((file) => file.getClusters())),
    users: firstOfEachName(files.flatMap((file) => file.getUsers())),
    contexts: firstOfEachName(files.flatMap((file) => file.getContexts())),
    currentContext: files.map((file) => file.getCurrentContext()).find((context) => context),
  });
  return config;
}

function firstOfEachName<T extends { readonly name: string }>(all: readonly T[]): T[] {
  return all.filter((one, i) => all.findIndex(({ name }) => name === one.name) === i);
}

/** The connection of a kubeconfig's current context; throws as `loadKubeconfig` does. */
export function fromKubeconfig(path?: string): Connection {
  return connectionOf(loadKubeconfig({ path }));
}

/** The connection of the current context of a kubeconfig that was loaded. */
export function connectionOf(config: KubeConfig): Connection {
  const cluster = config.getCurrentCluster();
  let current = config;
  return {
    server: cluster?.server.replace(/\/$/, '') ?? '',
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    async credentials() {
      const options: RequestOptions & { headers: Record<string, string> } = { headers: {} };
      await current.applyToHTTPSOptions(options);
      const { auth, agent, headers, ...tls } = options;
      if (auth) headers['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
      // It always creates an agent, but one without keep-alive: useful only with a proxy.
      return { ...tls, headers, ...(cluster?.proxyUrl && agent instanceof Agent && { agent }) };
    },
    // A KubeConfig keeps what an exec plugin gave it until that expires, also if the server refuses it: only a new one asks again.
    forget: () => (current = merged([config])),
  };
}
