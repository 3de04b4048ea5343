/** The handler of a benchmark's workers: the least work that still proves which task it ran. */
// a task module: its default export is what a worker loads
// oxlint-disable-next-line import/no-default-export
export default ({ n }: { readonly n: number }): number => n;
