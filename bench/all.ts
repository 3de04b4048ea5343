/**
 * `all`: every benchmark that needs no cluster of Kubernetes, one after the other, with sizes that fit into ten minutes on two quiet
 * cores, and how its figures stand to those of a kept run (`bench/baseline.json`, that of the commit before): better, the same, or
 * worse. It fails if one is worse, or if a benchmark fails. With `--keep`, this run is kept; what is worse is accepted then.
 *
 * What is compared means something on another machine too: ratios within one run, and processor time, by a yardstick that is
 * measured between the benchmarks.
 */
import { loadavg, cpus } from 'node:os';
import { UsageError } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { batches } from './batches.ts';
import { cluster } from './cluster.ts';
import { compareRuns, slowerBy, Verdict, type Compared } from './report/compare.ts';
import { comparisonTable, figureTable, summaryLines } from './report/comparison.ts';
import { delayed } from './delayed.ts';
import { rounded, type Figure } from './report/figures.ts';
import { handlers } from './handlers.ts';
import { hostile } from './hostile.ts';
import {
  BASELINE_NAME,
  readCheckout,
  readKeptRun,
  writeKeptRun,
  type Checkout,
  type KeptRun,
} from './report/kept-run.ts';
import { latency } from './latency.ts';
import { memory } from './memory.ts';
import { partitions } from './partitions.ts';
import { policy } from './policy.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { robustness } from './robustness.ts';
import { sources } from './sources.ts';
import { throughput } from './throughput.ts';
import { measureYardstick } from './report/yardstick.ts';

type Sizes = Partial<Pick<BenchOptions, 'seconds' | 'tasks' | 'rounds' | 'idleMs'>>;

interface Member {
  readonly bench: Bench;
  readonly sizes: Sizes;
  /** With `--quick`; `undefined` leaves it out, because it has no smaller size. */
  readonly quick: Sizes | undefined;
}

/** Left out are those on a cluster made with kind, thousands of pools, and what is no figure (`sources-seen`). */
const members: Readonly<Record<string, Member>> = {
  throughput: {
    bench: throughput,
    sizes: { rounds: 6, seconds: 0.4 },
    quick: { rounds: 3, seconds: 0.1, tasks: 5_000 },
  },
  latency: { bench: latency, sizes: { tasks: 1_000 }, quick: { tasks: 100 } },
  memory: {
    bench: memory,
    sizes: { rounds: 7, tasks: 400_000 },
    quick: { rounds: 3, tasks: 20_000 },
  },
  batches: {
    bench: batches,
    sizes: { rounds: 5, tasks: 20_000 },
    quick: { rounds: 3, tasks: 1_000 },
  },
  delayed: {
    bench: delayed,
    sizes: { rounds: 300, tasks: 20_000 },
    quick: { rounds: 50, tasks: 2_000 },
  },
  handlers: {
    bench: handlers,
    sizes: { rounds: 5, seconds: 0.5 },
    quick: { rounds: 3, seconds: 0.1, tasks: 2_000 },
  },
  cluster: {
    bench: cluster,
    sizes: { rounds: 5, seconds: 0.4 },
    quick: { rounds: 3, seconds: 0.1, tasks: 5_000 },
  },
  partitions: {
    bench: partitions,
    sizes: { rounds: 5, tasks: 100_000, idleMs: 24_000 },
    quick: { rounds: 3, tasks: 5_000, idleMs: 5_000 },
  },
  sources: { bench: sources, sizes: { rounds: 60 }, quick: { rounds: 10 } },
  hostile: { bench: hostile, sizes: { rounds: 20 }, quick: { rounds: 5 } },
  policy: { bench: policy, sizes: {}, quick: {} },
  robustness: { bench: robustness, sizes: {}, quick: undefined },
};

export const all: Bench = async (options) => {
  const { quick = false, baseline, keep = false } = options.all;
  const checkout = await readCheckout();
  if (keep) expectKeepable(checkout, quick);
  const kept = await comparableRun(baseline, quick, options.progress);
  const [load = 0] = loadavg();
  if (load > cpus().length / 2)
    options.progress(
      `this machine is busy (a load of ${rounded(load, 2)}): the rounds spread more, and less is seen`,
    );
  const { failed, seconds, ...measured } = await runAll(quick, options);
  const run: KeptRun = {
    version,
    ...(checkout.commit !== undefined && { commit: checkout.commit }),
    ...(checkout.changed && { changed: true }),
    node: process.version,
    ...(quick && { quick }),
    ...measured,
  };
  const rows = kept && compareRuns(run, kept);
  const isKept = keep && failed.length === 0;
  if (isKept) await writeKeptRun(run);
  const worse = rows?.filter(({ verdict }) => verdict === Verdict.Worse).length ?? 0;
  return {
    text: [
      kept && rows ? compared(run, kept, rows) : figureTable(run.figures),
      ...failed.map(({ bench, why }) => `${bench} FAILED, its figures are missing: ${why}\n`),
      isKept ? `kept in ${BASELINE_NAME}\n` : keep ? `not kept: ${BASELINE_NAME} is as it was\n` : '',
    ].join(''),
    data: { ...run, seconds, failed, ...(kept && { comparison: { with: nameOf(kept), worse, rows } }) },
    failed: failed.length > 0 || (worse > 0 && !keep),
  };
};

function expectKeepable({ commit, changed }: Checkout, quick: boolean): void {
  if (quick) throw new UsageError('a run that is kept needs the full sizes: leave out --quick or --keep');
  if (commit === undefined)
    throw new UsageError('--keep notes the commit that was measured, and there is no git repository here');
  if (changed)
    throw new UsageError(
      '--keep notes the commit that was measured: commit your changes first, or stash them',
    );
}

async function comparableRun(
  file: string | undefined,
  quick: boolean,
  progress: (line: string) => void,
): Promise<KeptRun | undefined> {
  const kept = await readKeptRun(file);
  if (!kept) {
    progress(
      `nothing to compare with: there is no ${BASELINE_NAME} ("npm run bench -- all --keep" on a quiet machine makes it)`,
    );
    return undefined;
  }
  if ((kept.quick ?? false) === quick) return kept;
  const sizes = (isQuick: boolean): string => (isQuick ? 'the small sizes of --quick' : 'full sizes');
  const why = `${file ?? BASELINE_NAME} was measured with ${sizes(!quick)}, this run has ${sizes(quick)}`;
  if (file !== undefined) throw new UsageError(`these cannot be compared: ${why}`);
  progress(`nothing to compare with: ${why}`);
  return undefined;
}

interface Measured extends Pick<KeptRun, 'redis' | 'yardstickUs' | 'figures'> {
  readonly failed: readonly { readonly bench: string; readonly why: string }[];
  /** How long each benchmark took. */
  readonly seconds: Readonly<Record<string, number>>;
}

async function runAll(quick: boolean, options: BenchOptions): Promise<Measured> {
  const figures: Record<string, readonly Figure[]> = {};
  const seconds: Record<string, number> = {};
  const failed: { bench: string; why: string }[] = [];
  const yardstickUs = await measureYardstick(options.signal);
  let redis = 'unknown';
  const chosen = Object.entries(members).filter(([, member]) => !quick || member.quick);
  for (const [i, [name, { bench, sizes, quick: small }]] of chosen.entries()) {
    const progress = (line: string): void => options.progress(`[${i + 1}/${chosen.length}] ${name}: ${line}`);
    const started = performance.now();
    progress('begins');
    try {
      const own = { ...options, ...(quick ? small : sizes), pythonLibraries: false, progress };
      const { text, data, figures: found = [] } = await bench(own);
      options.progress(`\n${text}`);
      if (typeof data['redis'] === 'string') redis = data['redis'];
      figures[name] = found.map(stored);
    } catch (error) {
      options.signal.throwIfAborted();
      failed.push({ bench: name, why: (error as Error).message });
      progress(`FAILED: ${(error as Error).message}`);
    }
    seconds[name] = Math.round((performance.now() - started) / 1_000);
    progress(`took ${seconds[name]} s`);
    yardstickUs.push(...(await measureYardstick(options.signal)));
  }
  return { redis, yardstickUs, figures, failed, seconds };
}

/** What cannot be measured here (without /proc) has no values. */
const stored = (figure: Figure): Figure => ({
  ...figure,
  values: figure.values.filter(Number.isFinite).map((value) => rounded(value, 5)),
});

function compared(run: KeptRun, kept: KeptRun, rows: readonly Compared[]): string {
  const differs = (['node', 'redis'] as const)
    .filter((what) => run[what] !== kept[what])
    .map(
      (what) =>
        `${what === 'node' ? 'Node' : 'Redis'} is another one: ${kept[what]} then, ${run[what]} now\n`,
    );
  const factor = rounded(slowerBy(run, kept), 3);
  return [
    comparisonTable(rows),
    `\nkept: ${nameOf(kept)}; its processor times are multiplied by ${factor}, as the yardstick is now to then\n`,
    ...differs,
    '\n',
    summaryLines(rows, nameOf(kept)),
  ].join('');
}

function nameOf({ commit, changed }: KeptRun): string {
  if (commit === undefined) return 'the kept run';
  return `${commit.slice(0, 7)}${changed ? ' with changes' : ''}`;
}
