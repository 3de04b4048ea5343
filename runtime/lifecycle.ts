/**
 * From signals to AbortSignals. The first SIGTERM or SIGINT asks the program to stop in its own time; the second
 * asks it to hurry. Nothing here ends the process: `main` returns when its work is done.
 */
export interface Lifecycle extends Disposable {
  /** Aborted by the first signal. */
  readonly stopping: AbortSignal;
  /** Aborted by the second. */
  readonly hurry: AbortSignal;
}

export function onSignals(): Lifecycle {
  const stopping = new AbortController();
  const hurry = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    (stopping.signal.aborted ? hurry : stopping).abort(new Error(`the process received ${name}`));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return {
    stopping: stopping.signal,
    hurry: hurry.signal,
    [Symbol.dispose]: () => {
      process.off('SIGTERM', onSignal);
      process.off('SIGINT', onSignal);
    },
  };
}
