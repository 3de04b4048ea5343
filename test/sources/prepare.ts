/** Compiles what the suite runs, before the time of a test begins. */
import { prepareAsynq } from './asynq.ts';

export async function setup(): Promise<void> {
  await prepareAsynq();
}
