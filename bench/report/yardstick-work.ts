/**
 * The work of the yardstick: tasks as text are parsed, looked up and written again, as a worker does. Never to be changed: kept runs
 * would mean something else. Prints the processor time of each piece, µs.
 */
const TASKS = 2_000;
const REPEATS = 25;
const WARM_UP = 10;
const PIECES = 8;

const texts = Array.from({ length: TASKS }, (_, i) => `{"id":"task-${String(i).padStart(8, '0')}","n":${i}}`);

function piece(): number {
  const before = process.cpuUsage();
  let length = 0;
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const results = new Map<string, string>();
    for (const text of texts) {
      const { id, n } = JSON.parse(text) as { id: string; n: number };
      results.set(id, JSON.stringify({ id, result: n + repeat }));
    }
    for (const result of results.values()) length += result.length;
  }
  if (length === 0) throw new Error('the yardstick has done nothing');
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

for (let i = 0; i < WARM_UP; i++) piece();
process.stdout.write(`${JSON.stringify(Array.from({ length: PIECES }, piece))}\n`);
