/** The installation of Millrace in a cluster: the CRD of WorkerPools, and the controllers. Read only. */
import { KubeError } from '../../kube/errors.ts';
import { readAll } from '../../kube/read.ts';
import { collectionPath, DEPLOYMENTS, type Resource } from '../../kube/resources.ts';
import type { Transport } from '../../kube/transport.ts';
import type { Deployment, KubeObject } from '../../kube/wire.ts';
import { GROUP, PLURAL, VERSION } from '../../kube/workerpool.ts';

/** The annotation of the CRD with the version of Millrace. */
const DEFINITION_VERSION = `${GROUP}/version`;
const CONTROLLERS = 'app.kubernetes.io/component=controller';

interface Definition extends KubeObject {
  readonly spec?: { readonly versions?: readonly { readonly name: string; readonly served: boolean }[] };
}

const DEFINITIONS: Resource<Definition> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
};

export interface InstalledDefinition {
  /** Its version of Millrace; `undefined` if it has no annotation. */
  readonly version: string | undefined;
  /** It serves the version of WorkerPools that this program uses. */
  readonly served: boolean;
}

/** `undefined` if the cluster has no WorkerPools. Rejects with KubeError. */
export async function readDefinition(transport: Transport): Promise<InstalledDefinition | undefined> {
  const name = `${PLURAL}.${GROUP}`;
  const path = `${collectionPath(DEFINITIONS)}/${name}`;
  try {
    const { metadata, spec } = await transport.call<Definition>({ method: 'GET', path, what: `get ${name}` });
    const served = spec?.versions?.some((one) => one.name === VERSION && one.served) ?? false;
    return { version: metadata.annotations?.[DEFINITION_VERSION], served };
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return undefined;
    throw error;
  }
}

export interface InstalledController {
  readonly namespace: string;
  readonly name: string;
  readonly version: string | undefined;
  readonly wanted: number;
  readonly ready: number;
  /** The Lease that decides which replica leads. */
  readonly lease: string;
  readonly serviceAccount: string;
  /** Empty: all. */
  readonly namespaces: readonly string[];
}

/** The controllers in all readable namespaces. Rejects with KubeError. */
export async function readControllers(transport: Transport): Promise<InstalledController[]> {
  const found = await readAll(transport, DEPLOYMENTS, { labelSelector: CONTROLLERS });
  return found.filter(isMillrace).map(controllerOf);
}

function isMillrace({ spec }: Deployment): boolean {
  return containerOf(spec)?.args?.some((arg) => arg.startsWith('--lease-name=')) ?? false;
}

function containerOf(spec: Deployment['spec']): { args?: string[] } | undefined {
  return spec?.template?.spec?.containers.find(({ name }) => name === 'controller');
}

function controllerOf({ metadata, spec, status }: Deployment): InstalledController {
  const args = containerOf(spec)?.args ?? [];
  const value = (flag: string): string =>
    args.find((arg) => arg.startsWith(`--${flag}=`))?.slice(flag.length + 3) ?? '';
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    version: metadata.labels?.['app.kubernetes.io/version'],
    wanted: spec?.replicas ?? 1,
    ready: status?.readyReplicas ?? 0,
    lease: value('lease-name'),
    serviceAccount: spec?.template?.spec?.serviceAccountName ?? 'default',
    namespaces: value('namespace').split(',').filter(Boolean),
  };
}
