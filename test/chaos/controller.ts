/** The controller's process from outside: started, killed, started again, and answered when it asks for the pods. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Replicas } from '../../controller/target.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Fleet, Pod } from './fleet.ts';

/** What a Target is asked for. */
export type Ask =
  | { readonly kind: 'observe' }
  | {
      readonly kind: 'scale';
      readonly replicas: number;
      readonly holding: readonly [string, number][];
    };

export type FromController =
  | { readonly kind: 'ask'; readonly number: number; readonly ask: Ask }
  | { readonly kind: 'scaled'; readonly from: number; readonly to: number; readonly reason: string };

export type ToController =
  | { readonly kind: 'answer'; readonly number: number; readonly answer: unknown }
  /** A pod is gone for good. */
  | { readonly kind: 'gone'; readonly worker: string };

export interface Controller extends AsyncDisposable {
  /** How often it scaled. */
  readonly scaled: { up: number; down: number };
  readonly alive: boolean;
  start(): void;
  /** SIGKILL. Resolves when it is gone. */
  kill(): Promise<void>;
  gone(worker: string): void;
}

const PROGRAM = join(import.meta.dirname, 'controller-process.ts');

export interface ControllerOptions {
  readonly port: number;
  readonly keys: QueueKeys;
  readonly maxReplicas: number;
  readonly fleet: () => Fleet;
}

/** Not started yet. It ends with this process, however that ends. */
export function createController({ port, keys, maxReplicas, fleet }: ControllerOptions): Controller {
  const scaled = { up: 0, down: 0 };
  let child: ChildProcess | undefined;

  function hear(from: ChildProcess, message: FromController): void {
    if (message.kind === 'scaled') scaled[message.to > message.from ? 'up' : 'down']++;
    else tell(from, { kind: 'answer', number: message.number, answer: answerTo(message.ask) });
  }

  function answerTo(ask: Ask): unknown {
    if (ask.kind === 'scale') return scale(ask.replicas, new Map(ask.holding));
    const { wanted, existing, pods } = fleet();
    const ready = pods.filter((pod) => pod.ready).length;
    return { wanted, existing, ready, trouble: undefined } satisfies Replicas;
  }

  /** On the way down those that hold least go first, as with a Deployment's deletion costs. */
  function scale(replicas: number, holding: ReadonlyMap<string, number>): void {
    const { pods } = fleet();
    const held = ({ id }: Pod): number => holding.get(id) ?? 0;
    const victims = pods
      .toSorted((a, b) => held(a) - held(b))
      .slice(0, Math.max(0, pods.length - replicas))
      .map(({ id }) => id);
    if (victims.length > 0) fleet().remove(victims, replicas);
    else fleet().raise(replicas);
  }

  function tell(to: ChildProcess, message: ToController): void {
    // it may have been killed a moment ago
    if (to.connected) to.send(message, () => undefined);
  }

  const controller: Controller = {
    scaled,
    get alive() {
      return child !== undefined;
    },
    start: () => {
      const args = [`redis://127.0.0.1:${port}`, keys.queue, keys.result, String(maxReplicas)];
      const started = fork(PROGRAM, args, { env: { PATH: process.env['PATH'] }, stdio: 'inherit' });
      started.on('message', (message: FromController) => hear(started, message));
      started.on('error', () => undefined);
      child = started;
    },
    kill: async () => {
      const old = child;
      child = undefined;
      if (!old || old.exitCode !== null || old.signalCode !== null) return;
      const ended = once(old, 'exit');
      old.kill('SIGKILL');
      await ended;
    },
    gone: (worker) => {
      if (child) tell(child, { kind: 'gone', worker });
    },
    [Symbol.asyncDispose]: () => controller.kill(),
  };
  return controller;
}
