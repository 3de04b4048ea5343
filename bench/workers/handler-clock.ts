/** The handler of `delayed`: when it was called, ms since the epoch. */
// a task module: its default export is what a worker loads
// oxlint-disable-next-line import/no-default-export
export default (): number => Date.now();
