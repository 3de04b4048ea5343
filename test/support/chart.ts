/** The chart as Helm renders it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { CHART, findHelm } from './helm.ts';

const run = promisify(execFile);

/** As much of a manifest as tests read. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
  };
  readonly spec: PodSpec & { readonly replicas: number; readonly template: { readonly spec: PodSpec } };
  readonly data?: Record<string, string>;
  readonly rules?: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
    readonly resourceNames?: readonly string[];
  }[];
}

interface PodSpec {
  readonly containers: readonly {
    readonly name: string;
    readonly image: string;
    readonly args: readonly string[];
    readonly securityContext: object;
    readonly imagePullPolicy: string;
  }[];
  readonly securityContext: object;
}

export interface Chart {
  readonly helmPath: string;
  /** Runs Helm and returns its output. */
  helm(...args: string[]): Promise<string>;
  /** The manifests of release `try` in namespace `home` with these values, as `a=b`. */
  template(...set: string[]): Promise<Manifest[]>;
}

export async function openChart(): Promise<Chart> {
  const helmPath = await findHelm();
  const helm = async (...args: string[]): Promise<string> => (await run(helmPath, args)).stdout;
  return {
    helmPath,
    helm,
    template: async (...set) => {
      const values = set.flatMap((value) => ['--set', value]);
      const text = await helm('template', 'try', CHART, '--namespace', 'home', ...values);
      return parseAllDocuments(text).flatMap((document): Manifest[] => document.toJS() ?? []);
    },
  };
}

/** The `namespace/name` of the manifests of a kind. */
export const named = (manifests: readonly Manifest[], kind: string): string[] =>
  manifests.filter((m) => m.kind === kind).map((m) => [m.metadata.namespace, m.metadata.name].join('/'));

/** The only manifest of a kind, and of a name. */
export function only(manifests: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = manifests.filter((m) => m.kind === kind && (name === undefined || m.metadata.name === name));
  if (found.length !== 1 || !found[0]) throw new Error(`${found.length} manifests of ${kind} ${name ?? ''}`);
  return found[0];
}
