/**
 * Every manifest in examples/, docs/ and the README on a real API server, unchanged; and the example of an adopted Deployment
 * with a real controller.
 */
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { deploymentOf } from '../../controller/act/deployment.ts';
import type { PodTemplateSpec } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { splitWords } from '../../worker/handlers/words.ts';
import { startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { startWorld, type Json, type World } from '../support/world.ts';
import { base, container } from './pools.ts';

const root = resolve(import.meta.dirname, '../..');
const bounded = { everyMs: 50 };

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => await world?.[Symbol.asyncDispose]());

interface Found {
  readonly where: string;
  readonly documents: readonly Json[];
}

/** Keys of a WorkerPool's spec: a snippet that has nothing else is a part of one. */
const fields = new Set(
  Object.keys(
    parse(readFileSync(join(root, 'charts/millrace/files/workerpools.yaml'), 'utf8')).spec.versions[0].schema
      .openAPIV3Schema.properties.spec.properties as Json,
  ),
);

function documentsIn(yaml: string): Json[] {
  // 0555 is octal for kubectl
  return parseAllDocuments(yaml, { version: '1.1' }).flatMap((document) => {
    expect(document.errors).toEqual([]);
    const value = document.toJS() as Json | Json[] | string | null;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? [value] : [];
  });
}

/** Whole objects as they are; a part of a pool's spec in a pool that is right without it. */
function toApply(document: Json): Json | undefined {
  // KEDA's definitions are not installed here
  if (String(document['apiVersion']).startsWith('keda.sh/')) return undefined;
  if ('kind' in document) return document;
  const keys = Object.keys(document);
  if (keys.length === 0 || !keys.every((key) => fields.has(key))) return undefined;
  const whole = { ...base, ...document };
  const spec = 'scaleTargetRef' in document ? { ...whole, template: undefined } : whole;
  return { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', metadata: { name: 'part' }, spec };
}

const files: Found[] = globSync('examples/**/*.yaml', { cwd: root }).map((where) => ({
  where,
  documents: documentsIn(readFileSync(join(root, where), 'utf8')),
}));
const blocks: Found[] = ['README.md', ...globSync('{docs,examples}/**/*.md', { cwd: root })].flatMap(
  (where) =>
    [...readFileSync(join(root, where), 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(
      ([, yaml = ''], index) => ({ where: `${where}, block ${index + 1}`, documents: documentsIn(yaml) }),
    ),
);
const all = [...files, ...blocks].filter(({ documents }) => documents.some(toApply));

test('there is something to test', () => {
  expect(files.length).toBeGreaterThan(5);
  expect(all.length).toBeGreaterThan(files.length);
});

test.each(all)('the API server takes $where', async ({ documents }) => {
  const namespace = await world.server.namespace('example');
  for (const document of documents.map(toApply).filter((one) => one !== undefined)) {
    const { namespace: _elsewhere, ...metadata } = document['metadata'] as Json;
    const input = stringify({ ...document, metadata });
    const args = ['apply', '--server-side', '--dry-run=server', '--warnings-as-errors', '-n', namespace];
    expect(await world.server.kubectl([...args, '-f', '-'], { input })).toMatch(/serverside-applied/);
  }
});

/** The pods that an object brings: a pool's, as the controller makes them, or those of its own template. */
function podsOf(object: Json): PodTemplateSpec[] {
  const spec = object['spec'] as { template?: PodTemplateSpec } | undefined;
  if (!spec?.template) return [];
  if (object['kind'] !== 'WorkerPool') return [spec.template];
  return [deploymentOf(object as unknown as WorkerPool, 30).spec.template];
}

test('all their pods may run in a namespace that enforces the restricted level', async () => {
  const namespace = await world.server.namespace('restricted');
  const enforce = 'pod-security.kubernetes.io/enforce=restricted';
  await world.server.kubectl(['label', 'namespace', namespace, enforce]);
  const dryRun = (object: Json, ...more: string[]): Promise<string> => {
    const input = JSON.stringify(object);
    return world.server.kubectl(['create', '--dry-run=server', '-n', namespace, ...more, '-f', '-'], {
      input,
    });
  };
  const samples = globSync('manifests/samples/*.yaml', { cwd: root }).map((where) => ({
    where,
    documents: documentsIn(readFileSync(join(root, where), 'utf8')),
  }));
  let tried = 0;
  for (const { where, documents } of [...samples, ...all])
    for (const document of documents.map(toApply).filter((one) => one !== undefined)) {
      const { namespace: _elsewhere, ...metadata } = document['metadata'] as Json;
      // with the defaults that the API server fills in
      const whole: Json = JSON.parse(await dryRun({ ...document, metadata }, '-o', 'json'));
      for (const { spec } of podsOf(whole)) {
        const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'one' }, spec };
        const said = await dryRun(pod).catch((error: Error) => error.message);
        expect(said, where).toBe('pod/one created (server dry run)\n');
        tried++;
      }
    }
  expect(tried).toBeGreaterThan(10);
  const bare = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'bare' },
    spec: { containers: [container] },
  };
  await expect(dryRun(bare)).rejects.toThrow('violates PodSecurity "restricted');
});

test('commands are words, and need no shell but the one that they name', () => {
  const commands = files.flatMap(({ where }) =>
    [...readFileSync(join(root, where), 'utf8').matchAll(/args: (\[--command, .*\])$/gm)].map(
      ([, args = '']) => (parse(args) as string[])[1] ?? '',
    ),
  );
  expect(commands.length).toBeGreaterThan(3);
  expect(commands.flatMap(splitWords).filter((word) => /^([;&|]+|.*;)$/.test(word))).toEqual([]);
});

test('adopted: the Deployment is scaled from zero by its queue, and back, and nothing else of it changes', async () => {
  const namespace = await world.namespace();
  const ref = { namespace, name: 'checksums' };
  const yaml = readFileSync(join(root, 'examples/adopted/pool.yaml'), 'utf8')
    .replaceAll('redis://redis:6379', world.redis.url)
    .replace('window: 60s', 'window: 0s');
  await world.server.kubectl(['apply', '-n', namespace, '-f', '-'], { input: yaml });
  const before = await world.objects.get(DEPLOYMENTS, ref);
  await using controller = await startController({ kubeconfig: world.server.kubeconfig });
  await controller.leading();
  const replicasAre = (count: number): Promise<void> =>
    eventually(
      async () => expect((await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(count),
      bounded,
    );
  await replicasAre(0);
  const redis = world.redis.client();
  await redis.lpush('checksums', ...Array.from({ length: 12 }, (_, i) => `{"id":"${i}","text":"x"}`));
  await replicasAre(3);
  await eventually(
    async () =>
      expect((await world.objects.get(POOLS, ref)).status?.lastDecision).toMatch(/^[01]→3: 12 waiting/),
    bounded,
  );
  await redis.del('checksums');
  await replicasAre(0);
  const after = await world.objects.get(DEPLOYMENTS, ref);
  expect(after.spec?.template).toEqual(before.spec?.template);
});
