/**
 * How the secrets of a pool's Redis reach its workers: as files in the container that runs the worker, and in no other. Variables
 * would be in the environment of each task's command and each sidecar, and in the output of anything that prints it. Pure.
 */
import type { PodTemplateSpec } from '../../kube/wire.ts';
import type { RedisSpec, SecretSource } from '../../kube/workerpool.ts';

type PodSpec = NonNullable<PodTemplateSpec['spec']>;
type Container = PodSpec['containers'][number];
type Volume = NonNullable<PodSpec['volumes']>[number];

const VOLUME = 'millrace-redis';
const FOLDER = '/etc/millrace/redis';

interface SecretFile {
  /** The variable for the value itself; with the suffix `_FILE`, for the path of the file. */
  readonly variable: string;
  readonly file: string;
  readonly source: SecretSource;
}

/** The values that `redis` takes from Secrets. */
export function secretFiles({ urlFrom, passwordFrom, sentinel, tls }: RedisSpec): SecretFile[] {
  const places: [variable: string, file: string, source: SecretSource | undefined][] = [
    ['MILLRACE_REDIS_URL', 'url', urlFrom],
    ['MILLRACE_REDIS_PASSWORD', 'password', passwordFrom],
    ['MILLRACE_REDIS_SENTINEL_PASSWORD', 'sentinel-password', sentinel?.passwordFrom],
    ['MILLRACE_REDIS_TLS_CA', 'ca.crt', tls?.caFrom],
    ['MILLRACE_REDIS_TLS_CERT', 'tls.crt', tls?.certFrom],
    ['MILLRACE_REDIS_TLS_KEY', 'tls.key', tls?.keyFrom],
  ];
  return places.flatMap(([variable, file, source]) => (source ? [{ variable, file, source }] : []));
}

/**
 * The worker's container with the files and the variables that name them. For a variable that it sets itself, no file is added.
 */
export function withFiles(container: Container, files: readonly SecretFile[]): Container {
  const own = new Set(container.env?.map(({ name }) => name));
  const added = files
    .filter(({ variable }) => !own.has(variable) && !own.has(`${variable}_FILE`))
    .map(({ variable, file }) => ({ name: `${variable}_FILE`, value: `${FOLDER}/${file}` }));
  if (added.length === 0) return container;
  const mount = { name: VOLUME, mountPath: FOLDER, readOnly: true };
  return {
    ...container,
    env: [...(container.env ?? []), ...added],
    volumeMounts: [...(container.volumeMounts ?? []), mount],
  };
}

/** The pod's volumes with the one for the files, unless the template has a volume of that name. */
export function withVolume(
  volumes: readonly Volume[] | undefined,
  files: readonly SecretFile[],
): { volumes?: Volume[] } {
  const there = volumes?.some(({ name }) => name === VOLUME);
  if (files.length === 0 || there) return volumes ? { volumes: [...volumes] } : {};
  const sources = files.map(({ file, source: { secretKeyRef } }) => ({
    secret: { name: secretKeyRef.name, items: [{ key: secretKeyRef.key, path: file }] },
  }));
  return { volumes: [...(volumes ?? []), { name: VOLUME, projected: { sources } }] };
}
