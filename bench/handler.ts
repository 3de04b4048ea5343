/** The handler that a benchmark's workers run: as little as a handler can do and still show that it was this task's. */
// a task module: its default export is what a worker loads
// oxlint-disable-next-line import/no-default-export
export default ({ n }: { readonly n: number }): number => n;
