/**
 * Which queue a message of Celery belongs to. It carries its exchange and its routing key, and not its queue; these are the same
 * unless the user routes by keys of their own. How queues are bound, workers say in their answers, and Redis has it under the names
 * of the exchanges, which only the user knows. Pure.
 */

/** How a message was sent. */
export interface Routed {
  readonly exchange: string;
  readonly route: string;
}

export interface CeleryBinding extends Routed {
  readonly queue: string;
  /** `route` has wildcards: `*` for one word, `#` for any number. */
  readonly topic: boolean;
}

/** The bindings in one item of an answer to `active_queues`. */
export function bindingsIn(item: Readonly<Record<string, unknown>>): readonly CeleryBinding[] {
  const { name, exchange, routing_key: route, bindings } = item as ActiveQueue;
  const own = { exchange, routing_key: route };
  const all = [own, ...(Array.isArray(bindings) ? bindings.filter((one: Bound | null) => one) : [])];
  return all.flatMap((one): CeleryBinding[] => {
    const { name: from, type } = one.exchange ?? {};
    if (typeof name !== 'string' || typeof from !== 'string' || typeof one.routing_key !== 'string')
      return [];
    return [{ queue: name, exchange: from, route: one.routing_key, topic: type === 'topic' }];
  });
}

/** A member of the set of an exchange's bindings: routing key, pattern if it is one with wildcards, queue. */
export function bindingOf(exchange: string, member: string, separator: string): CeleryBinding {
  const [route = '', pattern = '', queue = ''] = member.split(separator);
  return { exchange, route, queue, topic: pattern !== '' };
}

interface Bound {
  readonly exchange?: { readonly name?: unknown; readonly type?: unknown } | undefined;
  readonly routing_key?: unknown;
}

interface ActiveQueue extends Bound {
  readonly name?: unknown;
  readonly bindings?: readonly Bound[];
}

/**
 * Of these queues, the one that a message belongs to. Where two of them are bound by the same key, each has a copy, and which one
 * this is does not matter for their sum.
 */
export function queueOfRoute(
  { exchange, route }: Routed,
  queues: readonly string[],
  bindings: readonly CeleryBinding[],
): string | undefined {
  const bound = bindings.filter((one) => one.exchange === exchange && matches(one, route));
  const names = bound.length > 0 ? bound.map(({ queue }) => queue) : [route];
  return names.find((name) => queues.includes(name));
}

function matches({ route: pattern, topic }: CeleryBinding, route: string): boolean {
  return topic ? matchesTopic(pattern.split('.'), route.split('.')) : pattern === route;
}

/** Longer patterns and keys match nothing: workers choose them, and the time that this takes grows with both. */
const MOST_WORDS = 32;

/** As kombu does it: `*` is one word, `#` one or more. Exported for its test. */
export function matchesTopic(pattern: readonly string[], words: readonly string[]): boolean {
  if (pattern.length > words.length || words.length > MOST_WORDS) return false;
  /** Whether so many words of the key match the pattern up to here. */
  let reached = words.map(() => false);
  let before = true;
  for (const one of pattern) {
    const next: boolean[] = [];
    for (const [i, word] of words.entries()) {
      const starts = i === 0 ? before : (reached[i - 1] ?? false);
      const goesOn = one === '#' && (next[i - 1] ?? false);
      const fits = one === '#' || (one === '*' ? word !== '' : one === word);
      next.push((starts || goesOn) && fits);
    }
    reached = next;
    before = false;
  }
  return reached.at(-1) ?? false;
}
