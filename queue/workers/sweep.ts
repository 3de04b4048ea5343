/** Removing what is past its time (sweep.lua): what workers and the controller both do, now and then. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

/** In one go of the script, which others wait for meanwhile. */
const AT_A_TIME = 500;
/** So many goes at most, so that whoever calls this gets back to other things. */
const GOES = 200;

/** Removes results, errors and dead letters that are past their time, in pieces that hold nobody up. */
export async function sweep(redis: Redis, keys: QueueKeys): Promise<void> {
  const { result, dead, errors, cancelled, expiry } = keys;
  for (let go = 0; go < GOES; go++)
    if ((await script(redis, 'sweep')(result, dead, errors, cancelled, expiry, AT_A_TIME)) !== 1) return;
}
