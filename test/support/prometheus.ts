/**
 * A real Prometheus on loopback that scrapes every second, with its data in a temporary folder, and `promtool`. Both come
 * with Debian's package `prometheus` (test/setup.sh). A guard kills it when the test process dies before it could.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { failure, kill, run, startGuard } from './children.ts';
import { eventually } from './eventually.ts';
import { freePort } from './ports.ts';

export interface Scraped {
  readonly job: string;
  readonly port: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** One series of an instant query. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** Throws Prometheus' error for an invalid query. */
  query(expr: string): Promise<Sample[]>;
  /** Rules by name, with what their last evaluation failed of. */
  rules(): Promise<{ readonly name: string; readonly state: string; readonly lastError?: string }[]>;
}

/** Starts it with these targets, whose own labels win, and these files of rules. Resolves when it answers. */
export async function startPrometheus(
  targets: readonly Scraped[],
  ruleFiles: readonly string[],
): Promise<Prometheus> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-prometheus-'));
  const port = await freePort();
  const scrape = targets.map(({ job, port: at, labels = {} }) => ({
    job_name: job,
    honor_labels: true,
    static_configs: [{ targets: [`127.0.0.1:${at}`], labels }],
  }));
  const config = {
    global: { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '2s' },
    rule_files: ruleFiles,
    scrape_configs: scrape,
  };
  // JSON is YAML
  await writeFile(join(dir, 'prometheus.yml'), JSON.stringify(config));
  const child = run('prometheus', dir, [
    '--config.file=prometheus.yml',
    '--storage.tsdb.path=data',
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=warn',
  ]);
  const guard = startGuard([child], dir);
  const api = async <T>(path: string): Promise<T> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    const answer = (await response.json()) as { status: string; error?: string; data: T };
    if (answer.status !== 'success') throw new Error(answer.error);
    return answer.data;
  };
  const dispose = async (): Promise<void> => {
    await kill(child);
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    await kill(guard);
  };
  try {
    await Promise.race([eventually(() => api('status/buildinfo')), failure(child, dir)]);
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    query: async (expr) => {
      const path = `query?query=${encodeURIComponent(expr)}`;
      const { result } = await api<{ result: { metric: Sample['labels']; value: [number, string] }[] }>(path);
      return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
    },
    rules: async () => {
      const { groups } = await api<{
        groups: { rules: { name: string; state: string; lastError?: string }[] }[];
      }>('rules');
      return groups.flatMap((group) => group.rules);
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Runs promtool. Resolves to its exit code and output. */
export async function promtool(
  args: readonly string[],
  input = '',
): Promise<{ readonly code: number; readonly said: string }> {
  const child = spawn('promtool', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { code: code as number, said: out + err };
}
