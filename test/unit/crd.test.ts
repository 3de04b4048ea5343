/**
 * Holds three descriptions of a WorkerPool together: the CRD's schema, the TypeScript types and `withDefaults`.
 * `Complete` makes the compiler ask for every field of the types, so a field that is missing from the schema fails
 * a test, and one that is missing from the types fails the compiler or the walk over the schema.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import { GROUP, KIND, Mode, PLURAL, VERSION } from '../../kube/workerpool.ts';
import { parseDuration } from '../../runtime/duration.ts';
import { version as release } from '../../runtime/version.ts';
import { completeSpec, completeStatus } from '../support/complete-pool.ts';

interface Schema {
  type: string;
  description?: string;
  default?: unknown;
  enum?: string[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
  items?: Schema;
  required?: string[];
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-validations'?: { rule: string; message?: string }[];
}

interface Definition {
  metadata: { name: string; annotations: Record<string, string> };
  spec: {
    group: string;
    names: { kind: string; plural: string };
    versions: { name: string; schema: { openAPIV3Schema: Schema } }[];
  };
}

const file = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');
const definition: Definition = parse(readFileSync(file, 'utf8'));
const root = definition.spec.versions[0]?.schema.openAPIV3Schema ?? fail('the CRD has no version');
const specSchema = root.properties?.['spec'] ?? fail('the CRD has no spec');
const statusSchema = root.properties?.['status'] ?? fail('the CRD has no status');

test('the definition has the version of Millrace, in the chart and in the manifests', () => {
  const rendered: Definition = parse(
    readFileSync(join(import.meta.dirname, '../../manifests/crd.yaml'), 'utf8'),
  );
  for (const { metadata } of [definition, rendered])
    expect(metadata.annotations['millrace.dev/version']).toBe(release);
  expect(rendered.spec).toEqual(definition.spec);
});

describe('the definition', () => {
  test('is the one that the types name', () => {
    expect(definition.metadata.name).toBe(`${PLURAL}.${GROUP}`);
    expect(definition.spec).toMatchObject({ group: GROUP, names: { kind: KIND, plural: PLURAL } });
    expect(definition.spec.versions.map((version) => version.name)).toEqual([VERSION]);
  });

  test('describes every field', () => {
    const bare = fields(root).filter(([path, schema]) => path !== 'metadata' && !schema.description?.trim());
    expect(bare.map(([path]) => path)).toEqual([]);
    expect(fields(root).length).toBeGreaterThan(80);
  });

  test('describes in whole sentences', () => {
    const curt = fields(root).filter(
      ([path, { description = '' }]) =>
        path !== 'metadata' && !/^[A-Z0-9].{10,}\.$/s.test(description.trim()),
    );
    expect(curt.map(([path]) => path)).toEqual([]);
  });

  test('shows how to write every text that a user may write and that is not one of a few words', () => {
    const vague = fields(specSchema, 'spec').filter(
      ([path, { type, enum: words, description = '' }]) =>
        type === 'string' &&
        !words &&
        !path.endsWith('{}') &&
        !/Example: |such as |Default: |Always, or not set/.test(description),
    );
    expect(vague.map(([path]) => path)).toEqual([]);
  });

  test('names the default in the description of every field that has one', () => {
    const silent = fields(root).filter(
      ([, schema]) =>
        schema.default !== undefined &&
        schema.type !== 'object' &&
        !schema.description?.includes(`Default: ${JSON.stringify(schema.default).replaceAll('"', '')}.`),
    );
    expect(silent.map(([path]) => path)).toEqual([]);
  });

  test('gives every rule a message', () => {
    const rules = [root, ...fields(root).map(([, schema]) => schema)].flatMap(
      (schema) => schema['x-kubernetes-validations'] ?? [],
    );
    expect(rules.length).toBeGreaterThan(15);
    expect(rules.filter((rule) => !rule.message)).toEqual([]);
  });
});

describe('types and schema have the same fields', () => {
  test('spec', () => expect(drift(completeSpec, specSchema, 'spec')).toEqual([]));
  test('status', () => expect(drift(completeStatus, statusSchema, 'status')).toEqual([]));

  test('a difference in either direction or in the type is found', () => {
    const { queue: _, ...fewer } = completeSpec;
    expect(drift(fewer, specSchema, 'spec')).toEqual(['spec.queue: only in the schema']);
    expect(drift({ ...completeSpec, more: 1 }, specSchema, 'spec')).toEqual(['spec.more: only in the types']);
    expect(drift({ ...completeSpec, queue: 1 }, specSchema, 'spec')).toEqual([
      'spec.queue: number in the types, string in the schema',
    ]);
  });

  test('every mode', () => expect(specSchema.properties?.['mode']?.enum).toEqual(Object.values(Mode)));
});

describe('withDefaults', () => {
  const inputs: Record<string, WorkerPoolSpecInput> = {
    'the least that can be written': { redis: { url: 'redis://redis' } },
    'a target': { redis: {}, scaleTargetRef: { name: 'tiles' } },
    'a source': {
      redis: {},
      source: {
        bullmq: { queues: ['mail'] },
        custom: { waiting: [{ command: 'LLEN', key: 'jobs' }], delayed: [{ key: 'later' }] },
      },
    },
    'a target wait': { redis: {}, scaling: { targetWait: '10s', scaleUp: { maxStep: '50%' } } },
    'half-filled objects': {
      redis: {},
      schedules: [{ start: '0 8 * * *', duration: '1h', minReplicas: 1 }],
      scaling: { scaleDown: {} },
      retry: { backoff: { initial: '2s' } },
      results: { ttl: '1h' },
      deadLetters: { max: 5 },
      fallback: { replicas: 2 },
    },
    'everything set': completeSpec,
  };
  for (const [name, input] of Object.entries(inputs)) {
    test(`fills in the schema's defaults: ${name}`, () => {
      const before = structuredClone(input);
      expect(withDefaults(input)).toEqual(filledIn(input, specSchema));
      expect(input).toEqual(before);
    });
  }

  test('leaves a complete spec as it is', () => expect(withDefaults(completeSpec)).toEqual(completeSpec));

  test('writes durations that the program can read', () => {
    const { retry, results, deadLetters } = withDefaults({ redis: {} });
    const durations = [retry.backoff.initial, retry.backoff.max, results.ttl, deadLetters.maxAge];
    expect(durations.map(parseDuration)).toEqual([1_000, 300_000, 0, 2_592_000_000]);
  });
});

/** All fields below `schema`, with their paths; items of lists as `path[]`, values of maps as `path{}`. */
function fields(schema: Schema, path = ''): [string, Schema][] {
  const below = Object.entries(schema.properties ?? {}).map(([name, child]): [string, Schema] => [
    path ? `${path}.${name}` : name,
    child,
  ]);
  if (schema.items) below.push([`${path}[]`, schema.items]);
  if (schema.additionalProperties) below.push([`${path}{}`, schema.additionalProperties]);
  return below.concat(below.flatMap(([at, child]) => fields(child, at)));
}

/** Where a value and a schema differ in fields or types. */
function drift(value: unknown, schema: Schema, path: string): string[] {
  const type = Array.isArray(value) ? 'array' : typeof value;
  if (schema['x-kubernetes-int-or-string'] && ['number', 'string'].includes(type)) return [];
  if (type !== (schema.type === 'integer' ? 'number' : schema.type))
    return [`${path}: ${type} in the types, ${schema.type} in the schema`];
  if (Array.isArray(value)) {
    const { items } = schema;
    return items ? value.flatMap((item) => drift(item, items, `${path}[]`)) : [`${path}: no items`];
  }
  if (typeof value !== 'object' || value === null) return [];
  if (schema.additionalProperties) return [];
  const properties = schema.properties ?? {};
  const mine = new Map<string, unknown>(Object.entries(value));
  const names = [...new Set([...mine.keys(), ...Object.keys(properties)])];
  return names.flatMap((name) => {
    const at = `${path}.${name}`;
    const child = properties[name];
    if (!child) return schema['x-kubernetes-preserve-unknown-fields'] ? [] : [`${at}: only in the types`];
    return mine.has(name) ? drift(mine.get(name), child, at) : [`${at}: only in the schema`];
  });
}

/** The API server's defaulting: from the outside in, so that a default object gets defaults of its own. */
function filledIn(value: unknown, schema: Schema): unknown {
  if (Array.isArray(value) && schema.items)
    return value.map((item) => filledIn(item, schema.items as Schema));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const result: Record<string, unknown> = { ...value };
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const own = result[name] === undefined ? child.default : result[name];
    if (own !== undefined) result[name] = filledIn(own, child);
  }
  return result;
}

function fail(message: string): never {
  throw new Error(message);
}
