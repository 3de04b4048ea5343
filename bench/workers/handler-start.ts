/** The handler of `memory`'s starts: the processor time that the process has used when its first task is called, ms. */
// a task module: its default export is what a worker loads
// oxlint-disable-next-line import/no-default-export
export default (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};
