#!/usr/bin/env bash
# @kubernetes/client-node asks a credential plugin once, and goes on with its token however often the API server refuses it
#
# Guess    A token of an exec plugin that names no expiry is used "until the server responds with a 401 HTTP status code", as
#          Kubernetes documents of plugins. So when the token was revoked, one request fails, or none, and the next one runs the
#          plugin again.
# Truth    client-node keeps the token for as long as the KubeConfig lives, 401 or not: the plugin, which would have the new token,
#          is never asked again, and no method makes it. The same with an expirationTimestamp, until that time. A program
#          that runs for days is locked out for good where kubectl, and a restart, work.
# Versions @kubernetes/client-node 2.0.1 with Node.js 24.21.0 (npm)
# Date     2026-11-29
# Source   observed; kubernetes.io, "client-go credential plugins"; a way to clear that cache was asked for in
#          kubernetes-client/javascript#886, in 2022
# Output   before it is revoked: token 1, 200 / afterwards: token 1, 401; token 1, 401; token 1, 401 / the plugin has run 1 time /
#          a new KubeConfig: token 2, 200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @kubernetes/client-node@2.0.1
cat >plugin <<'SH'
#!/bin/sh
echo >>runs
echo '{ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": "token '$(wc -l <runs)'" } }'
SH
chmod +x plugin
cat >see.mjs <<'JS'
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';

let valid = 'token 1';
let used;
const server = createServer((request, response) => {
  used = request.headers.authorization.replace('Bearer ', '');
  response.writeHead(used === valid ? 200 : 401, { 'content-type': 'application/json' });
  response.end('{ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [] }');
});
await once(server.listen(0, '127.0.0.1'), 'listening');

function client() {
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: 'a', server: `http://127.0.0.1:${server.address().port}`, skipTLSVerify: true }],
    users: [{ name: 'a', exec: { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin', interactiveMode: 'Never' } }],
    contexts: [{ name: 'a', cluster: 'a', user: 'a' }],
    currentContext: 'a',
  });
  return config.makeApiClient(CoreV1Api);
}
async function list(api) {
  const code = await api.listNamespacedPod({ namespace: 'default' }).then(() => 200, (error) => error.code);
  return `${used}, ${code}`;
}
const api = client();
console.log(`before it is revoked: ${await list(api)}`);
valid = 'token 2';
console.log(`afterwards: ${await list(api)}; ${await list(api)}; ${await list(api)}`);
console.log(`the plugin has run ${readFileSync('runs', 'utf8').length} time`);
console.log(`a new KubeConfig: ${await list(client())}`);
server.close();
server.closeAllConnections();
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
before it is revoked: token 1, 200
afterwards: token 1, 401; token 1, 401; token 1, 401
the plugin has run 1 time
a new KubeConfig: token 2, 200
SEEN
