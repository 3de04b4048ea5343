/**
 * How the secrets of a pool's Redis reach its workers: as files of the container that runs the worker, and of no other. Variables
 * would be in the environment of each task's command, of each sidecar, and of whatever prints its environment. Pure.
 */
import type { PodTemplateSpec } from '../../kube/wire.ts';
import type { RedisSpec, SecretSource } from '../../kube/workerpool.ts';

type PodSpec = NonNullable<PodTemplateSpec['spec']>;
type Container = PodSpec['containers'][number];
type Volume = NonNullable<PodSpec['volumes']>[number];

const VOLUME = 'millrace-redis';
const FOLDER = '/etc/millrace/redis';

interface SecretFile {
  /** The variable that would hold the value; with `_FILE` behind it, where the file is. */
  readonly variable: string;
  readonly file: string;
  readonly source: SecretSource;
}

/** What `redis` takes from Secrets. */
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

/** The worker's container with the files and the variables that name them; a variable that it sets itself stays, without a file. */
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

/** The pod's volumes with the one behind the files; one of its name that the template brings stays. */
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
