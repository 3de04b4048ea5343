#!/usr/bin/env bash
# The first server-side apply of /scale makes two owners of replicas: the applier, and "before-first-apply"
#
# Guess    A Deployment that was made by a server-side apply without `replicas` has managed fields, and nobody owns that one. A
#          server-side apply of its /scale makes the applier the owner, alone. "before-first-apply" is for objects from before
#          server-side apply, which have no managed fields at all.
# Truth    It stands beside the applier, as an Update. /scale takes over of the managed fields only what speaks of replicas, so the
#          Scale seems to have none. The next apply with another number takes the field from it. Until then, whoever applies the
#          Deployment with a number conflicts with two, and who looks for the one owner of the field finds none.
# Versions Kubernetes 1.34.4 and 1.37.2
# Date     2026-11-28
# Source   observed
# Output   after the apply of the Deployment: nobody / after the first apply of /scale: before-first-apply Update, scaler Apply /
#          after another number: scaler Apply
set -euo pipefail
cd "$(dirname "$0")/.."
see=$(mktemp --suffix .ts -p .)
trap 'rm -f "$see" "$see.seen"' EXIT
cat >"$see" <<'TS'
import { startApiServer } from './test/support/apiserver.ts';

await using server = await startApiServer();
const labels = { app: 'a' };
const template = { metadata: { labels }, spec: { containers: [{ name: 'a', image: 'a' }] } };
const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a', namespace: 'default' } };
const path = '/apis/apps/v1/namespaces/default/deployments/a';
const owners = async (when: string): Promise<void> => {
  const { metadata } = JSON.parse(await server.kubectl(['get', '--raw', path]));
  const found = metadata.managedFields.filter((entry: object) => JSON.stringify(entry).includes('f:replicas'));
  const names = found.map(({ manager, operation }: Record<string, string>) => `${manager} ${operation}`).sort();
  console.log(`${when}: ${names.join(', ') || 'nobody'}`);
};
const apply = (manager: string, object: object): Promise<string> =>
  server.kubectl(['apply', '--server-side', '--field-manager', manager, '-f', '-'], { input: JSON.stringify(object) });
const scale = async (replicas: number): Promise<void> => {
  const body = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: 'a', namespace: 'default' }, spec: { replicas } };
  // kubectl cannot apply a subresource of another kind
  const answer = await fetch(`${server.server}${path}/scale?fieldManager=scaler&force=true`, {
    method: 'PATCH',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/apply-patch+yaml' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await answer.text());
};
await apply('gitops', { ...deployment, spec: { selector: { matchLabels: labels }, template } });
await owners('after the apply of the Deployment');
await scale(1);
await owners('after the first apply of /scale');
await scale(2);
await owners('after another number');
TS
NODE_TLS_REJECT_UNAUTHORIZED=0 NODE_NO_WARNINGS=1 node "$see" | tee "$see.seen"
diff - "$see.seen" <<'SEEN'
after the apply of the Deployment: nobody
after the first apply of /scale: before-first-apply Update, scaler Apply
after another number: scaler Apply
SEEN
