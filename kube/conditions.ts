/**
 * Conditions as `metav1.Condition`s: `lastTransitionTime` moves only when `status` does, so that
 * `kubectl wait --for=condition=…` and alerting on a condition's age both work.
 */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase, for machines. */
  readonly reason: string;
  /** A sentence, for people. */
  readonly message: string;
  readonly observedGeneration: number;
  /** RFC 3339. */
  readonly lastTransitionTime: string;
}

export type ObservedCondition = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** The conditions in `observed`, with the transition time of `previous` where the status is the same. */
export function mergeConditions(
  previous: readonly Condition[],
  observed: readonly ObservedCondition[],
  generation: number,
  now: Date,
): Condition[] {
  const before = new Map(previous.map((c) => [c.type, c]));
  return observed.map((next) => {
    const old = before.get(next.type);
    const lastTransitionTime =
      old && old.status === next.status ? old.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, 'Z');
    return { ...next, observedGeneration: generation, lastTransitionTime };
  });
}

/**
 * A text as a sentence: a capital letter first, unless it begins with a name such as `spec.queue` or `maxReplicas`; a full stop last where
 * it has no end of its own. Pure.
 */
export function sentence(text: string): string {
  const isWord = /^\p{Ll}[\p{Ll}'’-]*(?=[\s,:;.!?]*(\s|$))/u.test(text);
  const whole = isWord ? text.slice(0, 1).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
