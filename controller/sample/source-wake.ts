/** The wake of a source: the keys that a push touches are tracked, as a queue's own list is. */
import type { Watched } from '../../queue/sources/ask.ts';
import type { Entry } from './entry.ts';
import type { SourceEntry } from './source-entry.ts';
import type { QueueUsers } from './queue-users.ts';
import type { Wake } from './wake.ts';

/**
 * Listens to the keys of a source in which nothing waits. `true` when one of them has changed since the last read, which no wake
 * reports. Never rejects.
 */
export async function armSource(
  wake: Wake,
  id: string,
  { sampled, quiet }: Pick<Entry, 'sampled' | 'quiet'>,
  source: SourceEntry,
  users: QueueUsers,
): Promise<boolean> {
  const { watched } = source;
  source.tracked = false;
  if (sampled.kind !== 'known' || quiet.length === 0 || watched.length === 0) return false;
  users.changeKeys(id, keysOf(source.armed), keysOf(watched));
  source.armed = watched;
  try {
    const replies = await wake.watch(watched);
    source.tracked = replies !== undefined && !source.touched;
    return replies !== undefined && watched.some(({ reply }, i) => reply !== replies[i]);
  } catch {
    return false; // the connection went away: it arms everything anew when it is back
  }
}

/** The id no longer samples this source. */
export function forgetSource(id: string, source: SourceEntry | undefined, users: QueueUsers): void {
  if (source) users.changeKeys(id, keysOf(source.armed), []);
}

function keysOf(watched: readonly Watched[]): string[] {
  return watched.map(({ question }) => question.key);
}
