/**
 * The JSON schema for editors is current, accepts what the API server accepts, and refuses what it refuses, as far as JSON
 * schema can tell. `test/kube/crd.test.ts` holds the same pools against a real API server.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { renderSchema } from '../../scripts/manifests.ts';
import { good } from '../kube/good-pools.ts';
import { bad, base, type Json } from '../kube/pools.ts';
import { completeSpec } from '../support/complete-pool.ts';

const manifests = join(import.meta.dirname, '../../manifests');
const definition = readFileSync(join(manifests, '../charts/millrace/files/workerpools.yaml'), 'utf8');
const text = readFileSync(join(manifests, 'workerpool.schema.json'), 'utf8');

const ajv = new Ajv({
  allErrors: true,
  strict: true,
  allowUnionTypes: true,
  strictTypes: false,
  strictRequired: false,
});
// what editors show instead of their own words
ajv.addVocabulary(['errorMessage', 'patternErrorMessage']);
const validate: ValidateFunction = ajv.compile(JSON.parse(text) as Json);

/** What is wrong with an object, a line each; empty when nothing is. */
function complaints(object: unknown): string[] {
  // as it would arrive: what is undefined is not there
  if (validate(JSON.parse(JSON.stringify(object)))) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

const poolOf = (spec: Json): Json => ({
  apiVersion: 'millrace.dev/v1alpha1',
  kind: 'WorkerPool',
  metadata: { name: 'tiles' },
  spec,
});

/** The names of all fields, at every depth. */
function namesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(namesIn);
  return [...Object.keys(value), ...Object.values(value).flatMap(namesIn)];
}

test('is what the definition renders', () => {
  expect(text === renderSchema(definition), 'run npm run manifests').toBe(true);
});

describe('accepts', () => {
  test.each(good)('%s', (_what, spec) => expect(complaints(poolOf(spec))).toEqual([]));

  test.each(readdirSync(join(manifests, 'samples')))('the pools of the sample %s', (file) => {
    const source = readFileSync(join(manifests, 'samples', file), 'utf8');
    const objects = parseAllDocuments(source).map((document): Json => document.toJS());
    for (const object of objects.filter(({ kind }) => kind === 'WorkerPool'))
      expect(complaints(object)).toEqual([]);
  });

  test('the sample of everything names every field', () => {
    const sample = readFileSync(join(manifests, 'samples/everything.yaml'), 'utf8');
    const { source: _, template: __, ...own } = completeSpec;
    const missing = namesIn(own).filter((name) => !new RegExp(`\\b${name}:`).test(sample));
    expect(missing).toEqual([]);
  });

  test('a pool as the API server returns it', () => {
    const status = { waiting: 3, conditions: [] };
    const metadata = { name: 'tiles', namespace: 'maps', uid: 'x', generation: 2, managedFields: [] };
    expect(complaints({ ...poolOf(base), metadata, status })).toEqual([]);
  });
});

/** These need a look at two fields at a time, or at how long a duration is: the API server alone sees them. */
const beyond = new Set([
  'parked of an adopted Deployment',
  'parked of a source',
  'more parked than max',
  'parked at a CPU of 0',
  'parked at a CPU of 0m',
  'Jobs of an adopted Deployment',
  'Jobs of a source',
  'Jobs in partitions',
  'parked Jobs',
  'durable Jobs',
  'Jobs with a target',
  'Jobs with tasks per replica',
  'Jobs that wait',
  'Jobs with slots',
  'Jobs with a concurrency to be found',
  'a concurrency from 8 to 2',
  'a concurrency that another library would have to find',
  'Jobs for tasks that are not known',
  'settings of Jobs without Jobs',
  'pods of Jobs that are restarted',
  'pods of a Deployment that are not restarted',
  'pods that run once',
  'success as a failure',
  'two passwords',
  'two users',
  'TLS on a plain URL',
  "a name of the sentinels' user alone",
  'an authority for nothing',
  'one key for queue and result',
  'the default result as queue',
  'the result among the queues',
  'one priority twice',
  'priorities of several queues',
  'priorities in partitions',
  'priorities of Jobs',
  'priorities of a source',
  'priorities with limits',
  'priorities of a queue with braces',
  'several queues in partitions',
  'a source in partitions',
  'a queue with a hash tag in partitions',
  'results with a brace in partitions',
  'min above max',
  'min above the default of max',
  'a fallback above max',
  'a fallback below min',
  'a target wait of nothing',
  'a target wait of days',
  'a forecast without a target',
  'a source and a queue',
  'a source in a cluster',
  'a target wait without a count of what was finished',
  'a range without bounds',
  'a longest task beside a count of what runs',
  'a target wait of a list of taskiq',
  'a target wait of a stream whose running tasks are in no key',
  'a time in no unit',
  'a worker in no container',
  "a name of the sentinels' user alone",
  'a schedule without bounds',
  'a schedule without min under max',
  'a schedule without time',
  'two schedules of one name',
  'two cron tasks of one name',
  'crons of a source',
  'limits of nothing',
  'a burst of no rate',
  'a key without limits',
  'limits of a source',
  'limits of partitions',
  'initial above max',
  'initial above the default',
  'a durability that waits too long',
  'tasks of no size',
  'tasks larger than Redis holds',
  'results of no size',
  'results larger than Redis holds',
]);

describe('refuses', () => {
  const seen = bad.filter(([what]) => !beyond.has(what));
  test.each(seen)('%s', (_what, change) =>
    expect(complaints(poolOf({ ...base, ...change }))).not.toEqual([]),
  );

  test('all others not, and each of them is one that the API server refuses', () => {
    const unseen = bad.filter(([, change]) => complaints(poolOf({ ...base, ...change })).length === 0);
    expect(new Set(unseen.map(([what]) => what))).toEqual(beyond);
  });

  test('another kind, another version, no name', () => {
    const pool = poolOf(base);
    expect(complaints({ ...pool, kind: 'Deployment' })).toEqual(['/kind must be equal to constant']);
    expect(complaints({ ...pool, apiVersion: 'v1' })).toEqual(['/apiVersion must be equal to constant']);
    expect(complaints({ ...pool, metadata: {} })).toEqual([`/metadata must have required property 'name'`]);
  });

  test('with the words of the API server, where an editor shows them', () => {
    expect(JSON.stringify(JSON.parse(text))).toContain(
      '"patternErrorMessage":"write a duration with its unit, such as 500ms, 60s, 5m or 1h30m"',
    );
  });
});
