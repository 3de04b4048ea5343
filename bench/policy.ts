/**
 * `policy`: the controller's own decisions on a trace, beside its peers and beside somebody who knows the future, for
 * several start times. Simulated, so the figures are the same on every machine. Without `--trace`, on traces that are made
 * from a seed.
 */
import { adviceLines, comparedRows, comparedTable } from '../cli/simulate/report.ts';
import { readTraceFile } from '../cli/simulate/simulate.ts';
import type { Policy } from '../controller/decide/decision.ts';
import { formatDuration } from '../runtime/duration.ts';
import { compare } from '../simulate/compare.ts';
import type { Figures } from '../simulate/figures.ts';
import { generate, traceKinds } from '../simulate/generate.ts';
import { peers } from '../simulate/peers.ts';
import type { Figure } from './report/figures.ts';
import type { Bench } from './report/report.ts';

/** As good as the same share of late tasks, %. */
const LEAST_LATE = 0.1;

export const policy: Bench = async ({ progress, signal, simulated }) => {
  const { trace: path, startTime, target, slots, max } = simulated;
  const traces = path ? [await readTraceFile(path)] : traceKinds.map((kind) => generate(kind));
  const using: Policy = {
    minReplicas: 0,
    maxReplicas: max,
    tasksPerReplica: undefined,
    targetWaitMs: target,
    slots,
    windowMs: undefined,
    fallback: undefined,
    paused: false,
  };
  let text = 'cost: (pod-seconds + 10 for each start) per second of work\n';
  const runs: Record<string, unknown>[] = [];
  const figures: Figure[] = [];
  for (const trace of traces)
    for (const startMs of startTime) {
      signal.throwIfAborted();
      const title = `${trace.name}: ${trace.arrivals.length} tasks, ${formatDuration(startMs)} to start, target ${formatDuration(target)}, ${slots} slots, max ${max}`;
      progress(title);
      const rows = compare(trace, using, target, peers, { startMs, slots });
      text += `\n${title}\n${comparedTable(rows)}${adviceLines(rows)}`;
      runs.push({ trace: trace.name, startMs, targetMs: target, slots, max, policies: comparedRows(rows) });
      const [own] = rows;
      if (own) figures.push(...figuresOf(`${trace.name}, ${formatDuration(startMs)} to start`, own.figures));
    }
  return { text, data: { runs }, figures };
};

function figuresOf(load: string, { cost, over }: Figures): Figure[] {
  const shared = { is: 'at most', exact: true } as const;
  return [
    { ...shared, name: `${load}: cost`, unit: '', values: [cost] },
    { ...shared, name: `${load}: late`, unit: '%', values: [100 * over], least: LEAST_LATE },
  ];
}
