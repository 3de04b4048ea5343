/**
 * The pages of docs/migrate, step by step on a real API server, with real workers of each library: the manifests and the commands are
 * those of the pages. A pool watches beside an autoscaler, takes over, keeps the busy pod, goes to zero and back up, and leaves the
 * replicas as they are when it goes itself. Of a cluster, ReplicaSets and KEDA are played.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { AUTOSCALERS, DEPLOYMENTS, POOLS, type ObjectRef, type Resource } from '../../kube/resources.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { sourceOf, type SourceSettings } from '../../queue/sources/sources.ts';
import type { KubeObject } from '../../kube/wire.ts';
import { arqCase } from '../sources/arq.ts';
import { asynqCase } from '../sources/asynq.ts';
import { bullMqCases } from '../sources/bullmq.ts';
import { celeryCases } from '../sources/celery.ts';
import { dramatiqCase } from '../sources/dramatiq.ts';
import type { LibraryCase, LibraryWorker } from '../sources/library.ts';
import { listCase, customCase } from '../sources/plain.ts';
import { rqCase } from '../sources/rq.ts';
import { saqCase } from '../sources/saq.ts';
import { sidekiqCase } from '../sources/sidekiq.ts';
import { streamCase } from '../sources/stream.ts';
import { taskiqStreamCase } from '../sources/taskiq.ts';
import { eventually } from '../support/eventually.ts';
import { MILLRACE } from '../support/millrace.ts';
import { playReplicaSet, type ReplicaSetPlay } from '../support/replicaset.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, type Json } from '../support/world.ts';

const run = promisify(execFile);
const docs = join(import.meta.dirname, '../../docs');
const bounded = { withinMs: 60_000, everyMs: 50 };
const stage = useStage();

const DEFINITIONS: Resource<KubeObject> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
};
const SCALED_OBJECTS: Resource<KubeObject> = {
  group: 'keda.sh',
  version: 'v1alpha1',
  plural: 'scaledobjects',
};

/** KEDA's, as far as kubectl must know it. */
beforeAll(async () => {
  const { group, version, plural } = SCALED_OBJECTS;
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  await stage.world.objects.create(DEFINITIONS, undefined, {
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: 'scaledobject', kind: 'ScaledObject' },
      versions: [{ name: version, served: true, storage: true, schema }],
    },
  });
});

let opened = new AsyncDisposableStack();
afterEach(async () => {
  await opened.disposeAsync();
  opened = new AsyncDisposableStack();
});

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: Json;
}

interface Page {
  readonly text: string;
  readonly pool: Manifest;
  readonly scaledObject: Manifest;
}

/** Texts between fences of this language, without their indentation. */
function blocks(text: string, language: string): string[] {
  const fenced = text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n(.*?)^ *\`\`\`$`, 'gms'));
  return Array.from(fenced, ([, indent = '', body = '']) =>
    body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
}

function readPage(file: string): Page {
  const text = readFileSync(join(docs, 'migrate', file), 'utf8');
  const manifests = blocks(text, 'yaml').map((block) => parse(block) as Manifest);
  const find = (kind: string): Manifest => {
    const found = manifests.filter((one) => one.kind === kind);
    if (!found[0] || found.length > 1) throw new Error(`${file} has ${found.length} of ${kind}`);
    return found[0];
  };
  return { text, pool: find('WorkerPool'), scaledObject: find('ScaledObject') };
}

/** The commands of a step of docs/migrate.md, each with its comment. */
function stepOf(title: string): string[] {
  const text = readFileSync(join(docs, 'migrate.md'), 'utf8');
  const [, rest = ''] = text.split(`\n### ${title}\n`);
  const [block = ''] = blocks(rest.split(/\n##/)[0] ?? '', 'sh');
  const commands = block.split('\n').filter((line) => /^\w/.test(line));
  if (commands.length === 0) throw new Error(`docs/migrate.md has no commands under "${title}"`);
  return commands;
}

interface Row {
  readonly name: string;
  readonly page: string;
  readonly one: LibraryCase;
  /** The row of the page's table of sources, where its manifest is that of another library. */
  readonly row?: string;
}

const of = (page: string, one: LibraryCase | undefined, row?: string): Row[] =>
  one ? [{ name: `${page}: ${one.name}`, page, one, ...(row !== undefined && { row }) }] : [];

const rows: readonly Row[] = [
  ...of('celery.md', celeryCases[0]),
  ...of('sidekiq.md', sidekiqCase),
  ...of('bullmq.md', bullMqCases[0]),
  ...of('rq.md', rqCase),
  ...of('asynq.md', asynqCase),
  ...of('streams.md', streamCase),
  ...of('taskiq.md', taskiqStreamCase),
  ...of('others.md', saqCase),
  ...of('others.md', arqCase, 'arq'),
  ...of('others.md', dramatiqCase, 'Dramatiq'),
  ...of('others.md', customCase, 'your own'),
  ...of('others.md', listCase, 'a plain list'),
];

/** The source that a page names for a library. */
function sourceIn({ text, pool }: Page, row: string | undefined): SourceSettings {
  if (row === undefined) return pool.spec['source'] as SourceSettings;
  const [, cell] = new RegExp(`^ *\\| ${row} \\| \`(\\{.*?\\})\``, 'm').exec(text) ?? [];
  if (cell === undefined) throw new Error(`no source of ${row}`);
  return parse(cell) as SourceSettings;
}

function queueIn(settings: SourceSettings): string | undefined {
  const [own] = Object.values(settings) as { queues?: string[]; keys?: string[] }[];
  return own?.queues?.[0] ?? own?.keys?.[0];
}

test.for(rows)('$name', async ({ page: file, one, row }) => {
  const { world } = stage;
  const { objects, redis: server } = world;
  const redis = server.client();
  await redis.flushall();
  const namespace = await world.namespace();
  const page = readPage(file);
  const { name } = page.pool.metadata;
  const { name: target } = page.pool.spec['scaleTargetRef'] as { name: string };
  const [pool, deployment] = [
    { namespace, name },
    { namespace, name: target },
  ];
  const hpa: ObjectRef = { namespace, name: `keda-hpa-${page.scaledObject.metadata.name}` };
  // the pages are about one Deployment, in one namespace
  expect(page.scaledObject).toMatchObject({
    metadata: { name, namespace: 'shop' },
    spec: { scaleTargetRef: { name: target }, maxReplicaCount: page.pool.spec['maxReplicas'] },
  });
  expect(page.text).toContain(`millrace doctor --namespace shop ${name}`);

  const shell = async (line: string): Promise<string> => {
    // `mail` is the pool there
    const command = line.replaceAll(/\bshop\b/g, namespace).replaceAll(/\bmail\b(?!-)/g, name);
    const { kubeconfig, kubectlPath } = world.server;
    const script = `millrace() { "${process.execPath}" "${MILLRACE}" "$@"; }; ${command}`;
    const env = {
      KUBECONFIG: kubeconfig,
      PATH: `${dirname(kubectlPath)}:${process.env['PATH']}`,
      HOME: server.dir,
    };
    return run('bash', ['-c', script], { env }).then(
      ({ stdout }) => stdout,
      // doctor finds no controller in this cluster, which runs beside it
      ({ stdout, stderr }: { stdout: string; stderr: string }) => {
        if (!command.startsWith('millrace doctor')) throw new Error(`${command}: ${stderr}`);
        return stdout;
      },
    );
  };
  const apply = (object: object, ...more: string[]): Promise<string> =>
    world.server.kubectl(['-n', namespace, 'apply', '-f', '-', ...more], { input: JSON.stringify(object) });
  const replicas = async (): Promise<number | undefined> =>
    (await objects.get(DEPLOYMENTS, deployment)).spec?.replicas;
  const replicasAre = (number: number): Promise<void> =>
    eventually(async () => expect(await replicas()).toBe(number), bounded);
  const says = (ready: RegExp, status: object = {}): Promise<void> =>
    eventually(async () => {
      const found = await objects.get(POOLS, pool);
      expect(found.status).toMatchObject(status);
      expect(conditionText(found, 'Ready')).toMatch(ready);
    }, bounded);

  const manifest = {
    ...page.pool,
    metadata: { name },
    spec: { ...page.pool.spec, source: sourceIn(page, row), redis: { url: `${server.url}/0` } },
  };
  const stored = await apply(manifest, '--dry-run=server', '-o', 'json');
  const source = (JSON.parse(stored) as { spec: { source: SourceSettings } }).spec.source;

  // what is there: two pods with a worker each, of which one is busy, and KEDA
  const library = opened.use(await one.open(server, queueIn(source)));
  const labels = { app: target };
  const containers = [{ name: 'worker', image: 'theirs:1' }];
  await apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: target },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    },
  });
  const workers = new Map<string, LibraryWorker>();
  const quieted: string[] = [];
  const stops: Promise<void>[] = [];
  const { holding } = sourceOf(source);
  const play: ReplicaSetPlay = await playReplicaSet({
    transport: world.transport,
    deployment,
    onStop: async (pod) => {
      if (holding.by === 'worker' && holding.orders) {
        const { readWorkers } = holding;
        // one that is asked does not always answer in time
        const states = await eventually(async () => {
          const { workers: there } = await readWorkers(createAsk(redis), redis);
          const own = there.filter(({ hosts }) => hosts.includes(pod));
          expect(own).not.toEqual([]);
          return own;
        }, bounded);
        if (states.some(({ quiet }) => quiet)) quieted.push(pod);
      }
      const stopped = workers.get(pod)?.stop() ?? Promise.resolve();
      stops.push(stopped);
      await stopped;
    },
  });
  opened.use(play);
  await eventually(() => expect(play.pods).toHaveLength(2), bounded);
  for (const pod of play.pods) workers.set(pod, await library.work(pod));
  const hpaOf = async (): Promise<unknown> =>
    objects.create(AUTOSCALERS, namespace, {
      metadata: { name: hpa.name, labels: { 'scaledobject.keda.sh/name': name } },
      spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: target }, maxReplicas: 20 },
    });
  await apply({ ...page.scaledObject, metadata: { name } });
  await hpaOf();
  await library.push(1);

  // beside the autoscaler
  await apply(manifest);
  const isCounted = !one.hidesRunning;
  await says(/^True DryRun Nothing is scaled: mode is DryRun/, { waiting: 0, inFlight: isCounted ? 1 : 0 });
  const compared: string[] = [];
  for (const command of stepOf('3. Compare')) compared.push(await shell(command));
  const [listed, doctor, explained] = compared;
  expect(listed).toMatch(
    new RegExp(`workerpool\\S*/${name} [^]*scaledobject\\S*/${name} [^]*deployment\\S*/${target} `),
  );
  // an empty list may as well be one of another name
  if (isCounted) expect(doctor).toMatch(/^ok +source .*: 0 waiting, 1 in hand, /m);
  else expect(doctor).toMatch(/^warn +source .*: there is nothing of /m);
  // some libraries say later who is busy; up to Redis 7.0, a consumer that was never given anything is on no record
  if (holding.by === 'worker')
    await eventually(
      async () =>
        expect(await shell(`millrace doctor --namespace shop mail`)).toMatch(
          /^ok +busy workers: (?:1 worker|2 workers), 1 of them busy$/m,
        ),
      bounded,
    );
  expect(explained).toMatch(new RegExp(`^${namespace}/${name}: `));

  // in its place
  const [activate = '', message = '', pause = ''] = stepOf('4. Hand over');
  await shell(activate);
  await eventually(
    async () =>
      expect(await shell(message)).toMatch(
        new RegExp(`is scaled by HorizontalPodAutoscaler "${hpa.name}" of ScaledObject "${name}"`),
      ),
    bounded,
  );
  expect(await replicas()).toBe(2);
  await shell(pause);
  const { metadata } = await objects.get(SCALED_OBJECTS, pool);
  expect(metadata.annotations).toMatchObject({ 'autoscaling.keda.sh/paused': 'true' });
  await objects.remove(AUTOSCALERS, hpa);
  await says(/^True/);

  // the pod that is busy stays, and the other goes; without waiting for the window
  await objects.patch(POOLS, pool, { spec: { scaling: { scaleDown: { window: '0s' } } } });
  if (holding.by === 'worker') {
    const found = JSON.parse(await shell(`millrace workers --namespace shop mail -o json`)) as {
      id: string;
      host: string;
      tasks: number;
    }[];
    const busy = found.find(({ tasks }) => tasks > 0);
    await replicasAre(1);
    await eventually(() => expect(play.pods).toHaveLength(1), bounded);
    expect(`${busy?.id} ${busy?.host}`).toContain(play.pods[0]);
    // its worker is asked once it is told to stop
    if (holding.orders) await eventually(() => expect(quieted).toHaveLength(1), bounded);
  }
  await library.release(1);
  if (holding.by === 'nobody') return; // until longestTask is over
  await replicasAre(0);
  await eventually(() => expect(play.pods).toEqual([]), bounded);
  // one that still ends could take the next task with it
  await Promise.all(stops);
  await library.push(1);
  await replicasAre(1);

  // and back
  for (const command of stepOf('Back')) await shell(command);
  expect((await objects.get(SCALED_OBJECTS, pool)).metadata.annotations ?? {}).not.toHaveProperty([
    'autoscaling.keda.sh/paused',
  ]);
  await hpaOf();
  await says(/^True DryRun/);
  await objects.remove(POOLS, pool);
  await eventually(async () => expect(await objects.list(POOLS, namespace)).toEqual([]), bounded);
  expect(await replicas()).toBe(1);
});
