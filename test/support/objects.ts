/** Plain requests to an API server, by resource. */
import {
  collectionPath,
  objectPath,
  type ObjectRef,
  type Resource,
  type Subresource,
} from '../../kube/resources.ts';
import type { Call, Transport } from '../../kube/transport.ts';

/** An API server that starts and others beside it may take the machine for long: what no test is about. */
const ANSWER_MS = 120_000;

/** An object or a part of one, as JSON. */
export type Json = { [key: string]: unknown };

/** Requests as admin, by resource. */
export interface Objects {
  get<T>(resource: Resource<T>, ref: ObjectRef, subresource?: Subresource): Promise<T>;
  list<T>(resource: Resource<T>, namespace: string): Promise<T[]>;
  create<T>(resource: Resource<T>, namespace: string | undefined, object: Json): Promise<T>;
  /** A merge patch. */
  patch<T>(resource: Resource<T>, ref: ObjectRef, change: Json, subresource?: Subresource): Promise<T>;
  /** `options`: DeleteOptions. */
  remove(resource: Resource<unknown>, ref: ObjectRef, options?: Json): Promise<void>;
}

export function connectObjects(transport: Transport): Objects {
  const call = <T>(method: Call['method'], path: string, more: Partial<Call> = {}): Promise<T> =>
    transport.call<T>({ method, path, what: `${method} ${path}`, ...more }, { timeoutMs: ANSWER_MS });
  return {
    get: (resource, ref, subresource) => call('GET', objectPath(resource, ref, subresource)),
    list: async <T>(resource: Resource<T>, namespace: string) =>
      (await call<{ items: T[] }>('GET', collectionPath(resource, namespace))).items,
    create: (resource, namespace, body) => call('POST', collectionPath(resource, namespace), { body }),
    patch: (resource, ref, body, subresource) =>
      call('PATCH', objectPath(resource, ref, subresource), {
        body,
        contentType: 'application/merge-patch+json',
      }),
    remove: async (resource, ref, body) => void (await call('DELETE', objectPath(resource, ref), { body })),
  };
}
