/** The abort of one task. Few handlers look at their signal, so it is made when one does. */
export class TaskAbort {
  /** Why the result is no longer wanted: see `TaskContext.signal`; `undefined` as long as it is. */
  reason: Error | undefined;
  /** Is notified once. */
  listener: { onAbort(): void } | undefined;
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.reason) this.#controller.abort(this.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    if (this.reason) return;
    this.reason = reason;
    this.#controller?.abort(reason);
    this.listener?.onAbort();
  }
}
