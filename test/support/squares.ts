/** The tasks of test/fixtures/squares.ts, and the pods that run them: what the cluster tests and the benchmarks on kind share. */
import { SQUARES_IMAGE } from './kind-images.ts';

export interface Task {
  readonly id: string;
  readonly n: number;
  /** How long it takes, ms. */
  readonly ms: number;
  /** After that it waits until this gate (`gate` of a pool) is opened. */
  readonly gate?: string;
  /** It allocates memory, 8 MiB each `ms`, until there is none left. */
  readonly eats?: true;
}

export interface Answer {
  readonly square: number;
  readonly pod: string;
  readonly release: string;
  /** When its last run began, by the node's clock, ms. */
  readonly began: number;
}

/** `count` tasks with ids of their own, of `ms` each. */
export function squares(count: number, ms: number, prefix = 't'): Task[] {
  return Array.from({ length: count }, (_, n) => ({ id: `${prefix}${n}`, n, ms }));
}

/** The same tasks, which end once their gate is opened: what is tested while they run takes as long as it takes. */
export const behind = ({ place }: { readonly place: string }, tasks: readonly Task[]): Task[] =>
  tasks.map((task) => ({ ...task, gate: place }));

/** The template of a user for such workers, with the strictest security context of Kubernetes. */
export function squaresTemplate(container: object = {}, pod: object = {}): object {
  return {
    spec: {
      terminationGracePeriodSeconds: 15,
      ...pod,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'worker',
          image: SQUARES_IMAGE,
          args: ['--module', '/app/squares.ts'],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          ...container,
        },
      ],
    },
  };
}
