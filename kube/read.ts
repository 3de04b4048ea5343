/**
 * Reads of a cluster for commands that a person runs. Apart from KubeApi, which lists what the controller needs permission for:
 * these need the person's permissions.
 */
import { KubeError } from './errors.ts';
import { collectionPath, objectPath, type ObjectRef, type Resource } from './resources.ts';
import type { CallOptions, Transport } from './transport.ts';
import type { KubeObject } from './wire.ts';

/** The object, or `undefined` where there is none. Rejects with KubeError. */
export async function readObject<T>(
  transport: Transport,
  resource: Resource<T>,
  ref: ObjectRef,
  options?: CallOptions,
): Promise<T | undefined> {
  const what = `get ${resource.plural} ${ref.namespace}/${ref.name}`;
  try {
    return await transport.call<T>({ method: 'GET', path: objectPath(resource, ref), what }, options);
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return undefined;
    throw error;
  }
}

const PAGE = 500;

export interface ReadAllOptions extends CallOptions {
  /** All namespaces without it. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string;
}

/** All objects there are, page by page. Rejects with KubeError. */
export async function readAll<T extends KubeObject>(
  transport: Transport,
  resource: Resource<T>,
  { namespace, labelSelector, ...options }: ReadAllOptions,
): Promise<T[]> {
  const found: T[] = [];
  let next: string | undefined;
  do {
    const page: { items: T[]; metadata?: { continue?: string } } = await transport.call(
      {
        method: 'GET',
        path: collectionPath(resource, namespace),
        query: { labelSelector, limit: PAGE, continue: next },
        what: `list ${resource.plural}${namespace === undefined ? '' : ` in ${namespace}`}`,
      },
      options,
    );
    found.push(...page.items);
    next = page.metadata?.continue || undefined;
  } while (next !== undefined);
  return found;
}
