/**
 * What a test of the controller stands on: a real API server that knows WorkerPools, a real Redis, and plain requests
 * to the former. No controllers run there, so a test plays those that it needs (`playDeployments`).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { createKubeApi } from '../../kube/client.ts';
import {
  collectionPath,
  DEPLOYMENTS,
  objectPath,
  POOLS,
  type ObjectRef,
  type Resource,
  type Subresource,
} from '../../kube/resources.ts';
import { createTransport, type Call, type Transport } from '../../kube/transport.ts';
import { reflect, refOf } from '../../kube/watch.ts';
import type { KubeObject } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { startApiServer, type ApiServer, type Endpoint } from './apiserver.ts';
import { eventually } from './eventually.ts';
import { startRedis, type RedisServer } from './redis.ts';

const DEFINITION = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');
const DEFINITIONS: Resource<KubeObject> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
};
export const NAMESPACES: Resource<KubeObject> = { group: '', version: 'v1', plural: 'namespaces' };

/** An object or a part of one, as JSON. */
export type Json = { [key: string]: unknown };

/** Requests as admin, by resource. */
export interface Objects {
  get<T>(resource: Resource<T>, ref: ObjectRef, subresource?: Subresource): Promise<T>;
  list<T>(resource: Resource<T>, namespace: string): Promise<T[]>;
  create<T>(resource: Resource<T>, namespace: string | undefined, object: Json): Promise<T>;
  /** A merge patch. */
  patch<T>(resource: Resource<T>, ref: ObjectRef, change: Json, subresource?: Subresource): Promise<T>;
  remove(resource: Resource<unknown>, ref: ObjectRef): Promise<void>;
}

export function connectObjects(transport: Transport): Objects {
  const call = <T>(method: Call['method'], path: string, more: Partial<Call> = {}): Promise<T> =>
    transport.call<T>({ method, path, what: `${method} ${path}`, ...more });
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
    remove: async (resource, ref) => void (await call('DELETE', objectPath(resource, ref))),
  };
}

/** Requests to `endpoint` as admin. */
export function adminTransport({ server, caData, token }: Endpoint): Transport {
  const ca = Buffer.from(caData, 'base64').toString();
  const headers = { authorization: `Bearer ${token}` };
  return createTransport({
    server,
    namespace: undefined,
    credentials: () => Promise.resolve({ ca, headers: { ...headers } }),
    forget: () => {},
  });
}

export interface World extends AsyncDisposable {
  readonly server: ApiServer;
  readonly redis: RedisServer;
  readonly transport: Transport;
  readonly objects: Objects;
  /** A namespace of its own. */
  namespace(): Promise<string>;
}

/** Starts API server and Redis, and makes WorkerPools known. */
export async function startWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startApiServer());
  const redis = stack.use(await startRedis());
  const transport = stack.use(adminTransport(server));
  const objects = connectObjects(transport);
  await objects.create(DEFINITIONS, undefined, parse(await readFile(DEFINITION, 'utf8')));
  await eventually(() => objects.list(POOLS, 'default'), { withinMs: 20_000 });
  const world = stack.move();
  let namespaces = 0;
  return {
    server,
    redis,
    transport,
    objects,
    namespace: async () => {
      const name = `test-${++namespaces}`;
      await objects.create(NAMESPACES, undefined, { metadata: { name } });
      return name;
    },
    [Symbol.asyncDispose]: () => world.disposeAsync(),
  };
}

/** A pool with a Deployment of its own, on `redis`; `spec` goes on top. */
export function poolManifest(name: string, redis: { url: string }, spec: Json = {}): Json {
  const template = { spec: { containers: [{ name: 'worker', image: 'worker:1' }] } };
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name },
    spec: { redis: { url: redis.url }, queue: name, result: `${name}:result`, template, ...spec },
  };
}

/** A condition of a pool in one line, `False Unreachable Redis at …`; `undefined` when it has none of that type. */
export function conditionText({ status }: WorkerPool, type: string): string | undefined {
  const found = status?.conditions?.find((condition) => condition.type === type);
  return found && `${found.status} ${found.reason} ${found.message}`;
}

/** A Deployment with this condition has somebody of its own who counts: see replicaset.ts. */
export const PLAYED = {
  type: 'Progressing',
  status: 'True',
  reason: 'Played',
  message: 'by a test',
} as const;

/** Plays the Deployment controller and the kubelet: whatever is asked for is there and ready at once. */
export async function playDeployments(transport: Transport, signal: AbortSignal): Promise<void> {
  const objects = connectObjects(transport);
  const reflector = reflect({
    api: createKubeApi(transport),
    resource: DEPLOYMENTS,
    signal,
    onChange: (key, deployment) => {
      const replicas = deployment?.spec?.replicas ?? 0;
      const { generation: observedGeneration } = deployment?.metadata ?? {};
      const { status } = deployment ?? {};
      if (!deployment || status?.conditions?.some(({ reason }) => reason === PLAYED.reason)) return;
      if ((status?.replicas ?? 0) === replicas && status?.observedGeneration === observedGeneration) return;
      const counts = {
        replicas,
        readyReplicas: replicas,
        availableReplicas: replicas,
        updatedReplicas: replicas,
      };
      // a test that ends takes its Deployment along
      objects
        .patch(DEPLOYMENTS, refOf(key), { status: { observedGeneration, ...counts } }, 'status')
        .catch(() => undefined);
    },
  });
  await reflector.synced;
}
