/**
 * The API `external.metrics.k8s.io/v1beta1` without its server: a path and a query in, a status code and an object out. The HPA
 * controller adds up the items of an answer, and holds its replicas when it is no answer. Pure.
 */
import type { WorkerPool } from '../../kube/workerpool.ts';
import { parseLabelSelector, type LabelMatch } from './label-selector.ts';
import { isMetric, metrics, type Measures, type Metric } from './measures.ts';

export const METRICS_GROUP = 'external.metrics.k8s.io';
const VERSION = 'v1beta1';
const ROOT = `/apis/${METRICS_GROUP}`;

/** The label of an answer, and of a selector, that has the name of the pool. */
const POOL_LABEL = 'pool';

/** What a path of this API asks for. */
export type Wanted =
  | { readonly kind: 'document'; readonly body: object }
  | { readonly kind: 'metric'; readonly namespace: string; readonly name: string };

export interface MetricAnswer {
  readonly status: number;
  readonly body: object;
}

/** `undefined` for a path that is not of this API. `path` is without the query. */
export function wantedBy(path: string): Wanted | undefined {
  if (path === ROOT) return { kind: 'document', body: group };
  if (path === `${ROOT}/${VERSION}`) return { kind: 'document', body: resources };
  const [, namespace, name] = new RegExp(`^${ROOT}/${VERSION}/namespaces/([^/]+)/([^/]+)$`).exec(path) ?? [];
  return namespace === undefined || name === undefined ? undefined : { kind: 'metric', namespace, name };
}

const groupVersion = { groupVersion: `${METRICS_GROUP}/${VERSION}`, version: VERSION };
const group = {
  kind: 'APIGroup',
  apiVersion: 'v1',
  name: METRICS_GROUP,
  versions: [groupVersion],
  preferredVersion: groupVersion,
};
const resources = {
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: groupVersion.groupVersion,
  resources: metrics.map((name) => ({
    name,
    singularName: '',
    namespaced: true,
    kind: 'ExternalMetricValueList',
    verbs: ['get'],
  })),
};

/** The values of the pools that the selector matches, or an error if there are none or one of them is unknown. */
export function answerMetric(
  measures: Measures,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  selector: string,
  at: Date,
): MetricAnswer {
  if (!isMetric(name))
    return failure(404, 'NotFound', `there is no metric ${name}: there are ${metrics.join(', ')}`);
  let matches: LabelMatch;
  try {
    matches = parseLabelSelector(selector);
  } catch (error) {
    return failure(400, 'BadRequest', (error as Error).message);
  }
  const found = [...measures.pools].filter(
    ([, pool]) => pool.metadata.namespace === namespace && matches(labelsOf(pool)),
  );
  if (found.length === 0)
    return failure(404, 'NotFound', `no WorkerPool in namespace "${namespace}" matches "${selector}"`);
  const items: object[] = [];
  for (const [key, { metadata }] of found) {
    const measured = measures.of(key, name);
    if (measured.kind === 'unknown')
      return failure(503, 'ServiceUnavailable', unknownText(name, metadata.name, measured.why));
    items.push({
      metricName: name,
      metricLabels: { [POOL_LABEL]: metadata.name },
      timestamp: at.toISOString(),
      value: quantity(measured.value),
    });
  }
  const body = {
    kind: 'ExternalMetricValueList',
    apiVersion: groupVersion.groupVersion,
    metadata: {},
    items,
  };
  return { status: 200, body };
}

/** For an autoscaler's own status. */
export function unknownText(metric: Metric, pool: string, why: string): string {
  return `${metric} of WorkerPool "${pool}" is not known: ${why}`;
}

/** An error as the API server itself answers. */
export function failure(code: number, reason: string, message: string): MetricAnswer {
  return {
    status: code,
    body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code },
  };
}

/** Selectors see the pool's name and its labels. */
function labelsOf({ metadata: { name, labels } }: WorkerPool): Readonly<Record<string, string>> {
  return { ...labels, [POOL_LABEL]: name };
}

/** In thousandths, as quantities have no other fractions that every client reads. */
function quantity(value: number): string {
  return Number.isInteger(value) ? String(value) : `${Math.round(value * 1e3)}m`;
}
