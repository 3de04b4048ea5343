/** An action that a dialog asks about: whether it is under way, and why the last one failed. */
import { useState } from 'preact/hooks';

export interface Action {
  readonly busy: boolean;
  readonly error: string | undefined;
  /** Never rejects: an error is shown until the next run. */
  readonly run: (work: () => Promise<void>) => Promise<void>;
}

export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  return {
    busy,
    error,
    run: async (work) => {
      setBusy(true);
      setError(undefined);
      try {
        await work();
      } catch (failed) {
        setError((failed as Error).message);
      } finally {
        setBusy(false);
      }
    },
  };
}
