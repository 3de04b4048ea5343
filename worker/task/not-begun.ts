/** An attempt that came to nothing before its function was called, through no fault of the task: it goes back to the queue, and costs none. */
export class NotBegun extends Error {
  override readonly name = 'NotBegun';
  readonly #ours = true;

  /** Asks nothing of the value: handlers throw anything, also proxies whose traps throw. */
  static is(thrown: unknown): boolean {
    return typeof thrown === 'object' && thrown !== null && #ours in thrown;
  }
}
