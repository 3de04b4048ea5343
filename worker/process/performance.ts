/**
 * `performance` of the worker in its image, with the two members that it uses. Node's own loads a dozen modules, which are 0.8 MB of an idle
 * worker.
 */
const uptimeMs = (): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
};
const startedAt = uptimeMs() - process.uptime() * 1e3;

const now = (): number => uptimeMs() - startedAt;

export const performance = { now, timeOrigin: Date.now() - now() };
