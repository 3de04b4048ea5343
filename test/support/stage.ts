/** A world and a controller that leads in it, for the tests of one file. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll } from 'vitest';
import { startController, type ControllerProcess } from './controller.ts';
import { playDeployments, startWorld, type World } from './world.ts';

export interface Stage {
  readonly world: World;
  /** A client of the world's Redis. */
  readonly redis: Redis;
  readonly controller: ControllerProcess;
  /** Starts a controller in place of one that has ended. Resolves when it leads. */
  startController(): Promise<void>;
  /** Stops the controller and starts another one, without its state. Resolves when that leads. */
  restartController(): Promise<void>;
}

/**
 * Call it at the top of a test file; its parts are available once the tests run. `deployments`: the pods of Deployments
 * exist and are ready immediately.
 */
export function useStage({ deployments = false } = {}): Stage {
  const playing = new AbortController();
  let world: World | undefined;
  let redis: Redis | undefined;
  let controller: ControllerProcess | undefined;

  const start = async (): Promise<void> => {
    controller = await startController({ kubeconfig: there(world).server.kubeconfig });
    await controller.leading();
  };

  beforeAll(async () => {
    world = await startWorld();
    redis = world.redis.client();
    if (deployments) await playDeployments(world.transport, playing.signal);
    await start();
  });
  afterAll(async () => {
    playing.abort();
    await controller?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });

  function there<T>(part: T | undefined): T {
    if (part === undefined)
      throw new Error('the stage is made in beforeAll: use it in a test or a later hook');
    return part;
  }
  return {
    get world() {
      return there(world);
    },
    get redis() {
      return there(redis);
    },
    get controller() {
      return there(controller);
    },
    startController: start,
    restartController: async () => {
      await there(controller).stop();
      await start();
    },
  };
}
