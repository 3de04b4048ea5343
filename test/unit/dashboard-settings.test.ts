/** The settings that the dashboard shows: all fields of a spec except Kubernetes' own. */
import { expect, test } from 'vitest';
import { settingsOf } from '../../controller/dashboard/settings.ts';
import type { WorkerPoolSpec } from '../../kube/workerpool.ts';
import { completeSpec } from '../support/complete-pool.ts';

/** Of several fields that exclude one another the first is shown: field → what must be away for it to show. */
const REPLACED_BY: Record<string, (spec: Partial<WorkerPoolSpec>) => void> = {
  queue: (spec) => {
    Reflect.deleteProperty(spec, 'queues');
    Reflect.deleteProperty(spec, 'source');
  },
  queues: (spec) => Reflect.deleteProperty(spec, 'source'),
  priorities: (spec) => Reflect.deleteProperty(spec, 'source'),
  partitions: (spec) => Reflect.deleteProperty(spec, 'source'),
  result: (spec) => Reflect.deleteProperty(spec, 'source'),
  'redis.urlFrom': ({ redis }) => redis && Reflect.deleteProperty(redis, 'url'),
};
/** Always the same, so that they say nothing. */
const CONSTANT = new Set(['scaleTargetRef.apiVersion', 'scaleTargetRef.kind']);

type Values = Record<string, unknown>;

/** The paths of all values, `redis.tls.serverName`, `schedules.0.start`. */
function leaves(value: unknown, path: readonly string[] = []): string[] {
  if (typeof value !== 'object' || value === null) return [path.join('.')];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, [...path, name]));
}

const all = leaves({ ...completeSpec, template: undefined }).filter(
  (path) => path !== 'template' && !CONSTANT.has(path),
);

/** What is shown of the complete spec, after `edit` has changed the object that holds the value at `path`. */
function shown(path: string, edit: (holder: Values, name: string) => void): unknown {
  // through JSON: the complete spec has one object in several places
  const spec = JSON.parse(JSON.stringify(completeSpec)) as WorkerPoolSpec;
  for (const [field, clear] of Object.entries(REPLACED_BY))
    if (path === field || path.startsWith(`${field}.`)) clear(spec);
  const names = path.split('.');
  const last = names.pop() ?? '';
  const holder = names.reduce<Values>((at, name) => at[name] as Values, spec as unknown as Values);
  edit(holder, last);
  return settingsOf(spec, true);
}

test.each(all)('%s is shown', (path) => {
  const before = shown(path, () => undefined);
  const changed = shown(path, (holder, name) => {
    const value = holder[name];
    if (typeof value === 'boolean') holder[name] = !value;
    else holder[name] = typeof value === 'number' ? value + 1 : `${String(value)}1`;
  });
  // of some, such as a user's name, only that they are set
  const without = shown(path, (holder, name) => delete holder[name]);
  expect([changed, without]).not.toEqual([before, before]);
});

test('a schedule is shown under its name, or under its start, with the bounds that it has', () => {
  const schedules = [
    {
      name: 'office hours',
      start: '0 8 * * 1-5',
      duration: '10h',
      timeZone: 'Europe/Berlin',
      minReplicas: 3,
    },
    { start: '0 0 * * *', duration: '1h', timeZone: 'UTC', minReplicas: 0, maxReplicas: 2 },
  ];
  const scaling = settingsOf({ ...completeSpec, schedules }, true).find(({ title }) => title === 'Scaling');
  expect(scaling?.entries.slice(-2)).toEqual([
    ['schedule "office hours"', 'minReplicas 3 for 10h from 0 8 * * 1-5 in Europe/Berlin'],
    ['schedule "0 0 * * *"', 'minReplicas 0, maxReplicas 2 for 1h from 0 0 * * * in UTC'],
  ]);
});
