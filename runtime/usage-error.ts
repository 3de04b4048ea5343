/** Wrong usage: exit code 2. The message is for the person who typed it. */
export class UsageError extends Error {
  override name = 'UsageError';
}
