/**
 * Millrace in a cluster for the tests of one file (test/support/kind-install.ts). A test that fails shows what the cluster
 * looked like.
 */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { connectCluster, type ClusterPlace } from '../kind/cluster.ts';
import { install, SYSTEM, type Release, type ReleaseOptions } from './kind-install.ts';

export { SYSTEM, type Release } from './kind-install.ts';

/** Installs Millrace for the tests of the file that calls this; what it returns is available once the tests run. */
export function useRelease(place: ClusterPlace | undefined, options: ReleaseOptions): () => Release {
  let release: (Release & AsyncDisposable) | undefined;
  beforeAll(async () => {
    if (place) release = await install(connectCluster(place), options);
  });
  afterAll(async () => {
    await release?.[Symbol.asyncDispose]();
  });
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => {
      if (release) console.error(await whatThereIs(release));
    }, 30_000);
  });
  return () => {
    if (!release) throw new Error('the release is not installed yet');
    return release;
  };
}

async function whatThereIs({ cluster, namespace }: Release): Promise<string> {
  const looks: string[][] = [
    ['get', 'workerpools,deployments,pods', '--namespace', namespace, '--output', 'wide'],
    [
      'get',
      'workerpools',
      '--namespace',
      namespace,
      '--output',
      'jsonpath={range .items[*]}{.metadata.name}: {.status}{"\\n"}{end}',
    ],
    ['get', 'events', '--namespace', namespace, '--sort-by', '.metadata.creationTimestamp'],
    ['get', 'pods', '--namespace', SYSTEM, '--output', 'wide'],
    [
      'logs',
      '--namespace',
      SYSTEM,
      '--selector',
      'app.kubernetes.io/component=controller',
      '--prefix',
      '--tail',
      '60',
    ],
  ];
  const shown = looks.map(async (args) => {
    const text = await cluster.kubectl(args).catch((error: Error) => error.message);
    return `$ kubectl ${args.join(' ')}\n${text.split('\n').slice(-80).join('\n')}`;
  });
  return (await Promise.all(shown)).join('\n\n');
}
