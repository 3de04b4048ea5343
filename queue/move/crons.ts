/**
 * Moves the state of a pool's cron tasks: up to when their occurrences are done with, and the last task of each. So the controller of
 * the new place goes on where that of the old one stopped, and neither loses nor repeats an occurrence.
 */
import { listCrons, moveCron, readCron, type CronState } from '../crons.ts';
import type { Route } from './batches.ts';

/** A controller may change a state between two commands. */
const ATTEMPTS = 5;

/**
 * A cron task that the new place has pushed a task of already stays as it is there. One that it has only begun takes over what the old
 * place knows: what fell due in between was pushed by neither.
 */
export async function moveCrons({ source, destination, claim, to }: Route): Promise<void> {
  const [first] = to;
  if (!first) return;
  const old = source.at(claim.keys.queue);
  const there = destination.at(first.queue);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const states = await source.ask(listCrons(old, claim.keys));
    if (states.length === 0) return;
    for (const { name, state, bytes } of states) {
      const known = await destination.ask(readCron(there, first, name));
      if (isToBeReplaced(known.state, state)) {
        const moved = await destination.ask(moveCron(there, first, name, known.bytes, state, []));
        if (!moved) continue;
      }
      await source.ask(moveCron(old, claim.keys, name, bytes, undefined, []));
    }
  }
}

function isToBeReplaced(there: CronState | undefined, state: CronState): boolean {
  return there === undefined || (there.of === state.of && there.last === undefined);
}
