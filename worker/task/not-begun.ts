/** An attempt that came to nothing before its function was called, through no fault of the task: it goes back to the queue, and costs none. */
export class NotBegun extends Error {
  override readonly name = 'NotBegun';

  /** Never throws: handlers throw anything, also proxies that cannot be asked what they are. */
  static is(thrown: unknown): boolean {
    try {
      return thrown instanceof NotBegun;
    } catch {
      return false;
    }
  }
}
