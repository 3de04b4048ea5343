#!/usr/bin/env bash
# A JSON Patch that tests a value with an & in it is refused by the API server, although the value is the same
#
# Guess    `test` of a JSON Patch compares values (RFC 6902: strings character by character, numbers numerically). So a client that
#          reads an object and sends `test` with what it has read, as its own JSON encoder writes it, is told that nothing changed.
# Truth    The API server compares the bytes. It spells the object as Go's encoder does, with & < > as escapes and everything beyond
#          ASCII as it is: `test` with "a&b" as JSON.stringify writes it is 422, and 200 with "a\u0026b"; "é" as Python's json.dumps
#          writes it ("\u00e9") is 422; so is 2.0 for a 2. kubectl never shows it: it spells the patch anew, in Go.
#          A controller that reads again and retries, as after a conflict, retries for good.
# Versions Kubernetes 1.37.2
# Date     2026-11-29
# Source   observed; the server applies gopkg.in/evanphx/json-patch.v4, which compares what is neither object nor list as raw
#          bytes; reported as kubernetes/apiserver#100, and closed for its age
# Output   "plain" 200 / "a&b" 422 / "a\u0026b" 200 / "é" 200 / "\u00e9" 422 / 2 200 / 2.0 422 / kubectl, "a&b": patched (no change)
set -euo pipefail
cd "$(dirname "$0")/.."
see=$(mktemp --suffix .ts -p .)
trap 'rm -f "$see" "$see.seen"' EXIT
cat >"$see" <<'TS'
import { startApiServer } from './test/support/apiserver.ts';

await using server = await startApiServer();
const metadata = { name: 'a', namespace: 'default' };
const data = { plain: 'plain', query: 'a&b', accent: 'é' };
await server.kubectl(['create', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data }) });
const labels = { app: 'a' };
const template = { metadata: { labels }, spec: { containers: [{ name: 'a', image: 'a' }] } };
const spec = { replicas: 2, selector: { matchLabels: labels }, template };
const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
await server.kubectl(['create', '-f', '-'], { input: JSON.stringify(deployment) });

const patchOf = (pointer: string, value: string): string => `[{"op":"test","path":"${pointer}","value":${value}}]`;
const test = async (path: string, pointer: string, value: string): Promise<void> => {
  const answer = await fetch(`${server.server}${path}`, {
    method: 'PATCH',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json-patch+json' },
    body: patchOf(pointer, value),
  });
  console.log(`${value} ${answer.status}`);
};
const configMap = '/api/v1/namespaces/default/configmaps/a';
await test(configMap, '/data/plain', '"plain"');
await test(configMap, '/data/query', '"a&b"');
await test(configMap, '/data/query', '"a\\u0026b"');
await test(configMap, '/data/accent', '"é"');
await test(configMap, '/data/accent', '"\\u00e9"');
await test('/apis/apps/v1/namespaces/default/deployments/a', '/spec/replicas', '2');
await test('/apis/apps/v1/namespaces/default/deployments/a', '/spec/replicas', '2.0');
const args = ['patch', 'configmap', 'a', '--namespace', 'default', '--type', 'json', '--patch', patchOf('/data/query', '"a&b"')];
console.log(`kubectl, "a&b": ${(await server.kubectl(args)).trim().replace('configmap/a ', '')}`);
TS
NODE_TLS_REJECT_UNAUTHORIZED=0 NODE_NO_WARNINGS=1 node "$see" | tee "$see.seen"
diff - "$see.seen" <<'SEEN'
"plain" 200
"a&b" 422
"a\u0026b" 200
"é" 200
"\u00e9" 422
2 200
2.0 422
kubectl, "a&b": patched (no change)
SEEN
