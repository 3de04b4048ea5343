/**
 * A new validation rule and pools that were stored before it. None of them may freeze: each can still be scaled, labelled,
 * paused and reported on until its owner fixes it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { collectionPath, POOLS, type Subresource } from '../../kube/resources.ts';
import type { Transport } from '../../kube/transport.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { startApiServer, type ApiServer } from '../support/apiserver.ts';
import { eventually } from '../support/eventually.ts';
import { adminTransport, connectObjects, type Json, type Objects } from '../support/world.ts';
import { bad, base } from './pools.ts';

interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly optionalOldSelf?: boolean;
}

const VALIDATIONS = 'x-kubernetes-validations';
const text = readFileSync(join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml'), 'utf8');
const rules = rulesIn(parse(text)).filter(
  // what only compares a pool with what it was before no stored one breaks
  ({ rule, optionalOldSelf }) => optionalOldSelf === true || !rule.includes('oldSelf'),
);
/** One pool for each way to break a rule that the tests of refusals know. */
const old: readonly { readonly name: string; readonly what: string; readonly spec: Json }[] = [
  ...bad
    .filter(([, , fragment]) => rules.some(({ message }) => message.includes(fragment)))
    .map(([what, change], i) => ({ name: `old-${i}`, what, spec: { ...base, ...change } })),
  { name: 'a'.repeat(64), what: 'a name that does not fit into a label', spec: base },
];

let server: ApiServer;
let transport: Transport;
let objects: Objects;
let namespace: string;

beforeAll(async () => {
  server = await startApiServer();
  transport = adminTransport(server);
  objects = connectObjects(transport);
  namespace = await server.namespace('old');
  await define(JSON.stringify(withoutRules(parse(text))));
  for (const { name, spec } of old) await objects.create(POOLS, namespace, poolOf(name, spec));
  await define(text);
  // a definition is in force some time after it is stored
  const both = { ...base, scaleTargetRef: { name: 'x' } };
  await eventually(async () => expect(await create('both', both)).toMatch(/exactly one/));
});
afterAll(async () => {
  transport?.[Symbol.dispose]();
  await server?.[Symbol.asyncDispose]();
});

test('none of the pools could be created again, and together they break every rule', async () => {
  const refusals = await Promise.all(old.map(({ name, spec }) => create(name, spec)));
  for (const [i, { what }] of old.entries()) expect(refusals[i], what).not.toBe('accepted');
  expect(rules.length).toBeGreaterThan(25);
  const said = refusals.join('\n');
  expect(rules.filter(({ message }) => !said.includes(message))).toEqual([]);
});

describe('an old pool that breaks a rule', () => {
  test('is scaled by kubectl, even where its floor stays wrong', async () => {
    const scale = (replicas: number, ...which: string[]): Promise<string> =>
      server.kubectl(['-n', namespace, 'scale', 'wp', `--replicas=${replicas}`, ...which]);
    for (const what of ['min above max', 'a fallback below min', 'a fallback above max'])
      await scale(4, nameOf(what));
    // kubectl makes a few requests a second and no more: so one for each few pools
    const all = old.filter(({ spec }) => spec['runAs'] !== 'Job').map(({ name }) => name);
    const few = all.flatMap((_, i) => (i % 6 === 0 ? [all.slice(i, i + 6)] : []));
    for (const replicas of [1, 0]) {
      await Promise.all(few.map((names) => scale(replicas, ...names)));
      for (const { metadata, spec } of await pools())
        if (all.includes(metadata.name)) expect(spec).toMatchObject({ minReplicas: replicas });
    }
    // there is nothing to scale: no Job waits for work
    await expect(scale(1, nameOf('durable Jobs'))).rejects.toThrow(
      'a Job is created for a task and runs one',
    );
  });

  test('takes a label', async () => {
    await server.kubectl(['-n', namespace, 'label', 'wp', '--all', 'team=maps']);
    for (const { metadata } of await pools()) expect(metadata).toMatchObject({ labels: { team: 'maps' } });
  });

  test.each(old)(
    '$what: takes a status, a pause, another number of slots, and a finalizer',
    async ({ name, spec: stored }) => {
      const frozen = await freezesStatus(name, stored);
      const status = patch(name, { status: { replicas: 3 } }, 'status');
      if (frozen) await expect(status).rejects.toThrow('422 Invalid');
      else expect(await status).toMatchObject({ status: { replicas: 3 } });
      // a Job runs one task
      const slots = stored['runAs'] === 'Job' ? { maxReplicas: 11 } : { concurrency: 7 };
      const spec = await patch(name, { spec: { mode: 'Paused', ...slots } });
      expect(spec).toMatchObject({ spec: { mode: 'Paused', ...slots } });
      await patch(name, { metadata: { finalizers: ['example.com/hold'] } });
      expect(await patch(name, { metadata: { finalizers: [] } })).not.toHaveProperty('metadata.finalizers');
    },
  );

  test('gets a new image where it is not the template that breaks the rule', async () => {
    const template = { spec: { containers: [{ name: 'worker', image: 'worker:2' }] } };
    expect(await patch(nameOf('pods that run once'), { spec: { template } })).toMatchObject({
      spec: { template },
    });
  });
});

test('what was right cannot be made wrong', async () => {
  await objects.create(POOLS, namespace, poolOf('right', { ...base, fallback: { replicas: 2 } }));
  const change = (spec: Json): Promise<string> =>
    patch('right', { spec }).then(
      () => 'accepted',
      (error: Error) => error.message,
    );
  expect(await change({ minReplicas: 11 })).toContain('raise maxReplicas');
  expect(await change({ minReplicas: 3 })).toContain('fallback.replicas lies outside');
  expect(await change({ workerContainer: 'other' })).toContain("none of the template's containers");
  expect(await change({ result: 'task_queue' })).toContain('queue and result must differ');
  expect(await change({ template: null })).toContain('set exactly one of template');
  expect(await change({ retry: { backoff: { initial: '10m' } } })).toContain('raise max');
  expect(await change({ limits: { concurrency: 1 } })).toBe('accepted');
  expect(await change({ partitions: 2 })).toContain('remove limits, or source and partitions');
});

/**
 * Before 1.33, the API server holds the whole object against the definition when a status is written, and lets pass only rules that
 * say themselves that they do not mean what was stored before them.
 */
async function freezesStatus(name: string, spec: Json): Promise<boolean> {
  const { minor } = await transport.call<{ minor: string }>({
    method: 'GET',
    path: '/version',
    what: 'get the version',
  });
  if (Number(minor) >= 33) return false;
  const refusal = await create(name, spec);
  return rules.some(({ message, optionalOldSelf }) => refusal.includes(message) && optionalOldSelf !== true);
}

function nameOf(pool: string): string {
  const found = old.find(({ what }) => what === pool);
  if (!found) throw new Error(`no pool is "${pool}"`);
  return found.name;
}

const pools = (): Promise<WorkerPool[]> => objects.list(POOLS, namespace);

const patch = (name: string, change: Json, subresource?: Subresource): Promise<WorkerPool> =>
  objects.patch(POOLS, { namespace, name }, change, subresource);

/** What the API server says to a new pool, which it does not store. */
function create(name: string, spec: Json): Promise<string> {
  const call = {
    method: 'POST',
    path: collectionPath(POOLS, namespace),
    query: { dryRun: 'All' },
    body: poolOf(`new-${name}`, spec),
    what: `create ${name}`,
  } as const;
  return transport.call(call).then(
    () => 'accepted',
    (error: Error) => error.message,
  );
}

function poolOf(name: string, spec: Json): Json {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name },
    spec,
  };
}

async function define(definition: string): Promise<void> {
  await server.kubectl(['apply', '--server-side', '-f', '-'], { input: definition });
  await server.kubectl([
    'wait',
    '--for=condition=Established',
    'crd/workerpools.millrace.dev',
    '--timeout=120s',
  ]);
}

/** Those of a schema, at every depth. */
function rulesIn(node: unknown): Rule[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, child]) =>
    key === VALIDATIONS ? (child as Rule[]) : rulesIn(child),
  );
}

/** A definition before it had any rule. */
function withoutRules(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutRules);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(
    Object.entries(node).flatMap(([key, child]) => (key === VALIDATIONS ? [] : [[key, withoutRules(child)]])),
  );
}
