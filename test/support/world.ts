/**
 * The environment of the controller's tests: a real API server with WorkerPools, a real Redis, and plain requests to the API
 * server. It has no controllers, so a test plays those that it needs (`playDeployments`).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { POOLS, type Resource } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import type { KubeObject } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { startApiServer, type ApiServer, type ApiServerOptions, type Endpoint } from './apiserver.ts';
import { eventually } from './eventually.ts';
import { connectObjects, type Json, type Objects } from './objects.ts';
import { startRedis, type RedisServer } from './redis.ts';

export { playDeployments } from './deployments.ts';
export { connectObjects, type Json, type Objects } from './objects.ts';

const DEFINITION = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');
const DEFINITIONS: Resource<KubeObject> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
};
export const NAMESPACES: Resource<KubeObject> = { group: '', version: 'v1', plural: 'namespaces' };

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
export async function startWorld(options?: ApiServerOptions): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startApiServer(options));
  const redis = stack.use(await startRedis());
  const transport = stack.use(adminTransport(server));
  const objects = connectObjects(transport);
  await objects.create(DEFINITIONS, undefined, parse(await readFile(DEFINITION, 'utf8')));
  await eventually(() => objects.list(POOLS, 'default'));
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

/** A pool with a Deployment of its own, on `redis`; `spec` overrides its fields. */
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
