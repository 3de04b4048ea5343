#!/usr/bin/env bash
# A read and a replace by @kubernetes/client-node delete the fields that a newer API server has and the package does not know
#
# Guess    In JavaScript an object of the API is the JSON that came. A program that reads a Deployment, sets an annotation and replaces it
#          sends back everything else as it was, also fields that are newer than the package: the types lack them, the object
#          has them. A manifest that is handed to KubernetesObjectApi is sent as it is.
# Truth    Requests and answers are rebuilt field by field from the package's own lists: what is not in them is left out at every depth,
#          without a word. The replace deletes it in the cluster, with a resourceVersion that fits; a new field in a manifest never
#          reaches the server, whose field validation would have kept or named it. So the first use of a new field is undone by
#          a controller of last year that only wanted an annotation. Patches, and kinds that the package does not know, pass whole.
# Versions @kubernetes/client-node 2.0.1 with Node.js 24.21.0 (npm)
# Date     2026-11-29
# Source   observed; dist/gen/models/ObjectSerializer.js walks getAttributeTypeMap(); known of typed clients in Go, and noticed here of a
#          CRD's x-kubernetes-preserve-unknown-fields (kubernetes-client/javascript#2962)
# Output   restartPolicy, fieldOfNextYear: stored Always, true / read and replaced Always, undefined / a manifest by
#          KubernetesObjectApi Always, undefined / a patch: true
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @kubernetes/client-node@2.0.1
cat >see.mjs <<'JS'
import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { AppsV1Api, KubeConfig, KubernetesObjectApi } from '@kubernetes/client-node';

const ref = { name: 'a', namespace: 'default' };
const stored = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { ...ref, resourceVersion: '1' },
  spec: {
    selector: { matchLabels: { app: 'a' } },
    template: {
      metadata: { labels: { app: 'a' } },
      spec: { containers: [{ name: 'a', image: 'a' }], restartPolicy: 'Always', fieldOfNextYear: true },
    },
  },
};
const resources = [{ name: 'deployments', kind: 'Deployment', namespaced: true, verbs: [] }];
const discovery = { apiVersion: 'v1', kind: 'APIResourceList', groupVersion: 'apps/v1', resources };
let sent;
const server = createServer(async (request, response) => {
  if (request.method !== 'GET') sent = await json(request);
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(request.url.endsWith('/apis/apps/v1') ? discovery : stored));
});
await once(server.listen(0, '127.0.0.1'), 'listening');
const config = new KubeConfig();
config.loadFromClusterAndUser({ name: 'a', server: `http://127.0.0.1:${server.address().port}`, skipTLSVerify: true }, { name: 'a' });

function show(name, object) {
  const { restartPolicy, fieldOfNextYear } = object.spec.template.spec;
  console.log(`${name}: ${restartPolicy}, ${fieldOfNextYear}`);
}
show('stored', stored);
const api = config.makeApiClient(AppsV1Api);
const body = await api.readNamespacedDeployment(ref);
body.metadata.annotations = { seen: 'yes' };
await api.replaceNamespacedDeployment({ ...ref, body });
show('read and replaced', sent);
await KubernetesObjectApi.makeApiClient(config).create(structuredClone(stored));
show('a manifest by KubernetesObjectApi', sent);
const operation = { op: 'add', path: '/spec/template/spec/fieldOfNextYear', value: true };
await api.patchNamespacedDeployment({ ...ref, body: [operation] });
console.log(`a patch: ${sent[0].value}`);
server.close();
server.closeAllConnections();
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
stored: Always, true
read and replaced: Always, undefined
a manifest by KubernetesObjectApi: Always, undefined
a patch: true
SEEN
