/**
 * Reads Secrets for thousands of pools: those that name the same Secret share the answer while it is fresh. Failures are not
 * cached; the next call reads again.
 */
import type { KubeApi } from '../../kube/api.ts';
import type { Clock } from '../../runtime/clock.ts';

type Secrets = KubeApi['secrets'];

/** Returns a reader whose answers are at most `maxAgeMs` old. */
export type SharedSecrets = (maxAgeMs: number) => Secrets;

export function shareSecrets(secrets: Secrets, clock: Clock): SharedSecrets {
  const answers = new Map<string, { readonly at: number; readonly secret: ReturnType<Secrets['get']> }>();

  return (maxAgeMs) => ({
    get: (ref, options) => {
      const key = `${ref.namespace}/${ref.name}`;
      const now = clock.elapsed();
      const known = answers.get(key);
      if (known && now - known.at < maxAgeMs) return known.secret;
      const secret = secrets.get(ref, options);
      const answer = { at: now, secret };
      answers.set(key, answer);
      secret.catch(() => {
        if (answers.get(key) === answer) answers.delete(key);
      });
      return secret;
    },
  });
}
