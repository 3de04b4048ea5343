/** The controller's process from outside: started, killed, started again, and answered when it asks for the pods. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Member, Replicas } from '../../controller/act/target.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Fleet } from './fleet.ts';

/** What a Target does, as a message. */
export type Asked =
  | { readonly kind: 'look' }
  | { readonly kind: 'raise'; readonly replicas: number }
  | { readonly kind: 'remove'; readonly ids: readonly string[]; readonly replicas: number };

/** What is there after it was done. */
export interface Seen {
  readonly replicas: Replicas;
  readonly members: readonly Member[];
}

export type FromController =
  | (Asked & { readonly number: number })
  | { readonly kind: 'scaled'; readonly from: number; readonly to: number; readonly reason: string };

export type ToController =
  | { readonly kind: 'answer'; readonly number: number; readonly seen: Seen }
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
  readonly address: RedisAddress;
  readonly queues: readonly QueueKeys[];
  readonly maxReplicas: number;
  readonly fleet: () => Fleet;
}

/** Not started yet. It ends with this process, however that ends. */
export function createController({ address, queues, maxReplicas, fleet }: ControllerOptions): Controller {
  const scaled = { up: 0, down: 0 };
  let child: ChildProcess | undefined;

  function hear(from: ChildProcess, message: FromController): void {
    if (message.kind === 'scaled') {
      scaled[message.to > message.from ? 'up' : 'down']++;
      return;
    }
    if (message.kind === 'raise') fleet().raise(message.replicas);
    if (message.kind === 'remove') fleet().remove(message.ids, message.replicas);
    const { wanted, existing, pods } = fleet();
    const ready = pods.filter((pod) => pod.ready).length;
    const members = pods.map((pod) => ({ id: pod.id, ready: pod.ready, created: pod.number, going: false }));
    const replicas: Replicas = { wanted, existing, ready, trouble: undefined, rollingOut: false };
    tell(from, { kind: 'answer', number: message.number, seen: { replicas, members } });
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
      const args = [
        JSON.stringify(address),
        String(maxReplicas),
        JSON.stringify(queues.map(({ queue, result }) => [queue, result])),
      ];
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
