/** Which cluster a kubeconfig means, and whose credentials are sent to it: as kubectl takes them. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { connectionOf, loadKubeconfig } from '../../kube/kubeconfig.ts';
import { createTransport } from '../../kube/transport.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const server = (name: string, url: string) => ({ name, cluster: { server: url } });

/** Writes a file and resolves to its path. */
async function file(name: string, content: object): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, JSON.stringify(content));
  return path;
}

/** A file with a cluster, a context and a user of these names. */
function fileOf(name: string, names: { cluster: string; user: string }, current?: string): Promise<string> {
  return file(name, {
    ...(current && { 'current-context': current }),
    clusters: [server(names.cluster, `https://${name}.example`)],
    contexts: [{ name, context: { ...names, namespace: `of-${name}` } }],
    users: [{ name: names.user, user: { token: `of-${name}` } }],
  });
}

async function seen(files: readonly string[]): Promise<object> {
  const connection = connectionOf(loadKubeconfig({ files: files.join(delimiter) }));
  const { headers } = await connection.credentials();
  return {
    server: connection.server,
    namespace: connection.namespace,
    token: headers['authorization'] ?? headers['Authorization'],
  };
}

test('the first file of KUBECONFIG that names a current context, a cluster or a user decides it', async () => {
  const a = await fileOf('a', { cluster: 'a', user: 'a' }, 'a');
  const b = await fileOf('b', { cluster: 'b', user: 'b' }, 'b');
  const none = await fileOf('none', { cluster: 'none', user: 'none' });
  const same = await fileOf('same', { cluster: 'a', user: 'a' }, 'same');
  const ofA = { server: 'https://a.example', namespace: 'of-a', token: 'Bearer of-a' };
  const ofB = { server: 'https://b.example', namespace: 'of-b', token: 'Bearer of-b' };
  expect(await seen([a, b])).toEqual(ofA);
  expect(await seen([b, a])).toEqual(ofB);
  expect(await seen([none, b, a])).toEqual(ofB);
  // the context of the one file, with the cluster and the user of the other
  expect(await seen([none, a, same])).toEqual(ofA);
  expect(await seen([same, a])).toMatchObject({ server: 'https://same.example', token: 'Bearer of-same' });
  expect(await seen(['', join(folder, 'missing'), a])).toEqual(ofA);
});

test('a file of KUBECONFIG that cannot be read is named', async () => {
  const a = await fileOf('a', { cluster: 'a', user: 'a' }, 'a');
  const broken = join(folder, 'broken');
  await writeFile(broken, '{ "clusters": [');
  expect(() => loadKubeconfig({ files: [a, broken].join(delimiter) })).toThrow(`${broken} cannot be read: `);
  const missing = join(folder, 'missing');
  vi.stubEnv('KUBECONFIG', missing);
  expect(() => loadKubeconfig({ files: missing })).toThrow(
    /^the kubeconfig cannot be read: ENOENT.*: check KUBECONFIG, or give --kubeconfig$/,
  );
});

test('a token that the API server refuses is asked of the plugin anew', async () => {
  const plugin = join(folder, 'plugin');
  const credential =
    '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"';
  await writeFile(
    plugin,
    `#!/bin/sh\necho >>'${folder}/runs'\necho '${credential}'$(($(wc -l <'${folder}/runs')))'"}}'\n`,
  );
  await chmod(plugin, 0o755);
  let valid = 'Bearer 1';
  const used: (string | undefined)[] = [];
  const http = createServer((request, response) => {
    used.push(request.headers.authorization);
    response.writeHead(request.headers.authorization === valid ? 200 : 401).end('{}');
  });
  await once(http.listen(0, '127.0.0.1'), 'listening');
  try {
    const path = await file('exec', {
      'current-context': 'a',
      clusters: [
        {
          name: 'a',
          cluster: {
            server: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
            'insecure-skip-tls-verify': true,
          },
        },
      ],
      contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
      users: [
        {
          name: 'a',
          user: {
            exec: {
              apiVersion: 'client.authentication.k8s.io/v1',
              command: plugin,
              interactiveMode: 'Never',
            },
          },
        },
      ],
    });
    using transport = createTransport(connectionOf(loadKubeconfig({ path })));
    const ask = () => transport.call({ what: 'get pods', method: 'GET', path: '/api/v1/pods' });
    await ask();
    await ask();
    valid = 'Bearer 2';
    await ask();
    await ask();
    expect(used).toEqual(['Bearer 1', 'Bearer 1', 'Bearer 1', 'Bearer 2', 'Bearer 2']);
  } finally {
    http.close();
    http.closeAllConnections();
  }
});
