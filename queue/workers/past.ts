/** What happened to a task before this delivery, and how a turn's reply writes it (scripts/turn/main.lua). */

/** A task's history before this delivery. */
export interface Past {
  /** Failed attempts. */
  readonly attempts: number;
  /** Deliveries to workers that were lost while they held it. With any, the task is a suspect: see suspects.lua. */
  readonly deliveries: number;
  /** The last of those workers. */
  readonly lastWorker?: string;
  /** Number of tasks that were in flight in it, this one included; 1 by default. */
  readonly company?: number;
  /** It had expired, and a person requeued it. */
  readonly reprieved?: true;
}

export const noPast: Past = { attempts: 0, deliveries: 0 };

/** `attempts:deliveries`, behind it the last worker that was lost, percent-encoded, and how many tasks it held, if several. */
export function parsePast(text: string): Past {
  const [attempts, deliveries, worker, company] = text.split(':');
  const counts = { attempts: countOf(attempts) ?? 0, deliveries: countOf(deliveries) ?? 0 };
  if (!worker) return counts.attempts + counts.deliveries > 0 ? counts : { ...counts, reprieved: true };
  const others = countOf(company);
  return { ...counts, lastWorker: decode(worker), ...(others !== undefined && { company: others }) };
}

/** `undefined` for what is no count, which something else has written. */
function countOf(text = ''): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function decode(worker: string): string {
  try {
    return decodeURIComponent(worker);
  } catch {
    return worker; // written by something else
  }
}
