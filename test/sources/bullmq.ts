/** BullMQ, in each major version that is known, with its workers in this process. */
import * as six from 'bullmq';
import * as five from 'bullmq-5';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase, LibraryWorker } from './library.ts';
import { RELEASED, releaseOn } from './processes.ts';

/** What both versions have, and the suite needs. */
export interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    add(name: string, data: object, options?: object): Promise<unknown>;
    pause(): Promise<void>;
    resume(): Promise<void>;
    setGlobalConcurrency(running: number): Promise<unknown>;
    setGlobalRateLimit(starts: number, ms: number): Promise<unknown>;
    rateLimit(ms: number): Promise<unknown>;
    close(): Promise<void>;
  };
  readonly FlowProducer: new (options: object) => {
    add(flow: object): Promise<unknown>;
    close(): Promise<void>;
  };
  readonly Worker: new (
    name: string,
    run: () => Promise<void>,
    options: object,
  ) => {
    waitUntilReady(): Promise<unknown>;
    on(event: 'error', listener: () => void): unknown;
    close(force?: boolean): Promise<void>;
    disconnect(): Promise<void>;
  };
}

const QUEUE = 'mail';

export const bullMqVersions: [string, BullMq][] = [
  ['BullMQ 6.7.0', six as unknown as BullMq],
  ['BullMQ 5.81.5', five as unknown as BullMq],
];

export const bullMqCases: readonly LibraryCase[] = bullMqVersions.map(([name, bullmq]) => ({
  name,
  settings: { bullmq: { queues: [QUEUE], prefix: 'bull' } },
  keys: 'bull:*',
  open: (server) => Promise.resolve(openBullMq(bullmq, server)),
}));

/** The newest. */
export function openBullMqAs(server: RedisServer, prefix: string): Library {
  return openBullMq(six as unknown as BullMq, server, prefix);
}

function openBullMq({ Queue, Worker }: BullMq, server: RedisServer, prefix = 'bull'): Library {
  const connection = { host: server.host, port: server.port, maxRetriesPerRequest: null };
  const workers = new Set<LibraryWorker>();
  let queue: InstanceType<BullMq['Queue']> | undefined;
  const opened = (): InstanceType<BullMq['Queue']> => (queue ??= new Queue(QUEUE, { connection, prefix }));

  return {
    push: async (tasks, delayMs) => {
      for (let i = 0; i < tasks; i++)
        await opened().add('send', {}, delayMs === undefined ? {} : { delay: delayMs });
    },
    work: async (place) => {
      const worker = new Worker(
        QUEUE,
        async () => {
          await server.client({ db: 1 }).blpop(RELEASED, 0);
        },
        { connection, prefix, name: place },
      );
      worker.on('error', () => undefined);
      await worker.waitUntilReady();
      const end = async (force: boolean): Promise<void> => {
        if (!workers.delete(self)) return;
        // a killed process answers nothing more: what waits for a release is cut off with it
        await worker.close(force);
      };
      const self: LibraryWorker = { stop: () => end(false), kill: () => end(true) };
      workers.add(self);
      return self;
    },
    release: releaseOn(server),
    pause: async (on) => (on ? await opened().pause() : await opened().resume()),
    pushPriorities: async (priorities) => {
      for (const priority of priorities) await opened().add('send', {}, { priority });
    },
    limit: async (running) => void (await opened().setGlobalConcurrency(running)),
    [Symbol.asyncDispose]: async () => {
      for (const worker of workers) await worker.kill();
      await queue?.close();
    },
  };
}
