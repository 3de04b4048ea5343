/**
 * What a simulation runs over: when each task arrives and how long it runs. Read from CSV: a header, then a line for
 * each task. Columns, by name and in any order, case as you like:
 *
 *   `arrival` (seconds, or a date and time) and `service` (seconds), or
 *   `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`, as the public traces of language models have them; a task then
 *   takes 0.05 s + 0.25 ms for each token of context + 30 ms for each generated one.
 */
export interface TaskTrace {
  readonly name: string;
  /** ms since the beginning, ascending. */
  readonly arrivals: Float64Array;
  /** ms, in the order of arrival. */
  readonly services: Float64Array;
  /** When it began, ms since the epoch, if known. */
  readonly beginMs?: number;
}

/** A year: the longest trace that is read, and the longest task in it. */
const LONGEST_MS = 366 * 86_400_000;

/** Sum of all service times, ms. */
export function workOf({ services }: TaskTrace): number {
  return services.reduce((sum, service) => sum + service, 0);
}

/** A trace from pairs of ms in any order; times are counted from the first arrival. */
export function createTrace(name: string, tasks: readonly (readonly [number, number])[]): TaskTrace {
  const sorted = tasks.toSorted(([a], [b]) => a - b);
  const [first = [0, 0] as const] = sorted;
  return {
    name,
    arrivals: Float64Array.from(sorted, ([arrival]) => arrival - first[0]),
    services: Float64Array.from(sorted, ([, service]) => service),
  };
}

/** Throws `RangeError` in one line that names the line of the file and what belongs there. */
export function parseTrace(name: string, csv: string): TaskTrace {
  const lines = csv.split('\n');
  const columns = (lines[0] ?? '').split(',').map((title) => title.trim().toLowerCase());
  const at = (title: string): number => columns.indexOf(title);
  const when = Math.max(at('arrival'), at('timestamp'));
  const [service, context, generated] = [at('service'), at('contexttokens'), at('generatedtokens')];
  if (when < 0 || (service < 0 && (context < 0 || generated < 0)))
    throw new RangeError(
      `${name}: the first line is ${JSON.stringify((lines[0] ?? '').slice(0, 80))}: it must name the columns arrival and service (or TIMESTAMP, ContextTokens and GeneratedTokens)`,
    );
  const tasks: [number, number][] = [];
  for (const [i, line] of lines.entries()) {
    if (i === 0 || line.trim() === '') continue;
    const cells = line.split(',');
    const number = (column: number): number => Number(cells[column]?.trim() || Number.NaN);
    const arrival = timeOf(cells[when]?.trim() ?? '');
    const took =
      service >= 0 ? 1_000 * number(service) : 50 + 0.25 * number(context) + 30 * number(generated);
    if (!Number.isFinite(arrival) || !(took >= 0 && took <= LONGEST_MS))
      throw new RangeError(`${name}, line ${i + 1}: ${JSON.stringify(line.slice(0, 80))} is not a task`);
    tasks.push([arrival, took]);
  }
  if (tasks.length === 0) throw new RangeError(`${name} holds no task: each line after the first is one`);
  const trace = createTrace(name, tasks);
  if ((trace.arrivals.at(-1) ?? 0) > LONGEST_MS)
    throw new RangeError(`${name} spans more than a year: a simulation goes second by second`);
  // numbers of seconds are counted from anywhere
  const dated = /[-:]/.test((lines[1] ?? '').split(',')[when] ?? '');
  return dated
    ? { ...trace, beginMs: tasks.reduce((first, [arrival]) => Math.min(first, arrival), Infinity) }
    : trace;
}

/** ms of a number of seconds, or of a date and time (in UTC where it names no zone). */
function timeOf(text: string): number {
  if (/^\d+(\.\d*)?$/.test(text)) return 1_000 * Number(text);
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/.exec(text);
  if (!match) return Number.NaN;
  const [, day, time, fraction = '.0', zone = 'Z'] = match;
  return Date.parse(`${day}T${time}${zone}`) + 1_000 * Number(`0${fraction}`);
}
