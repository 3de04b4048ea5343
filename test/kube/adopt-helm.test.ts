/** A Deployment that a release of Helm 4 applies, with the real Helm, while a pool scales it. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { findHelm } from '../support/helm.ts';
import { conditionText, poolManifest } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage();
const run = promisify(execFile);
const bounded = { everyMs: 20 };

const DEPLOYMENT = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, annotations: { revision: "{{ .Release.Revision }}" } }
spec:
  {{- with .Values.replicas }}
  replicas: {{ . }}
  {{- end }}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: main, image: "theirs:1" }] }
`;

test('a chart that sets replicas is refused and named; one that leaves them out changes nothing', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'millrace-adopt-'));
  const chart = join(folder.path, 'web');
  await mkdir(join(chart, 'templates'), { recursive: true });
  await writeFile(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: web\nversion: 1.0.0\n');
  await writeFile(join(chart, 'templates/deployment.yaml'), DEPLOYMENT);
  const { world, redis } = stage;
  const namespace = await world.namespace();
  const program = await findHelm();
  const env = { ...process.env, KUBECONFIG: world.server.kubeconfig, HELM_CACHE_HOME: folder.path };
  const helm = (...args: string[]): Promise<unknown> =>
    run(program, [...args, 'web', chart, '--namespace', namespace], { env });
  const theirs = { namespace, name: 'web' };
  const replicasAre = (count: number): Promise<void> =>
    eventually(
      async () => expect((await world.objects.get(DEPLOYMENTS, theirs)).spec?.replicas).toBe(count),
      bounded,
    );
  const named = async (): Promise<string | undefined> =>
    conditionText(await world.objects.get(POOLS, { namespace, name: 'p' }), 'ReplicasApplied');

  await helm('install', '--set', 'replicas=2');
  await redis.lpush(namespace, 'a', 'b', 'c');
  const adopting = { template: undefined, scaleTargetRef: { name: 'web' } };
  const scaling = { tasksPerReplica: 1 };
  const manifest = poolManifest('p', world.redis, { queue: namespace, scaling, ...adopting });
  await world.objects.create(POOLS, namespace, manifest);
  await replicasAre(3);
  await eventually(async () => expect(await named()).toMatch(/The manifest that "helm" applies/), bounded);

  await expect(helm('upgrade', '--set', 'replicas=2')).rejects.toThrow(
    /conflict with "millrace-scaler" with subresource "scale": \.spec\.replicas/,
  );
  await helm('upgrade', '--set', 'replicas=2', '--force-conflicts');
  await replicasAre(3);
  expect(await named()).toMatch(/The manifest that "helm" applies/);

  // the API server records the time of an apply in seconds: two within the same one cannot be distinguished
  const { metadata } = await world.objects.get(DEPLOYMENTS, theirs);
  const helms = metadata.managedFields?.find(({ manager }) => manager === 'helm');
  const nextSecond = Date.parse(helms?.time ?? '') + 1_000;
  await eventually(() => expect(Date.now()).toBeGreaterThanOrEqual(nextSecond), bounded);
  await helm('upgrade', '--set', 'replicas=null');
  await eventually(async () => expect(await named()).toBeUndefined(), bounded);
  await replicasAre(3);
});
