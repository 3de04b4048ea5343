/**
 * Renders manifests/ from the chart, for those who install without Helm: `install.yaml` (everything, for the whole
 * cluster, in the namespace millrace-system) and `crd.yaml` (the definition alone); and `workerpool.schema.json` for their
 * editors. With `--check` it writes nothing and fails if a file is not current, so that they are never edited by hand.
 *
 * Helm comes from the environment variable HELM, else from PATH.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { env } from 'node:process';
import { parse } from 'yaml';
import { runGenerator } from './generated.ts';
import { editorSchema, type CrdSchema } from './schema.ts';

const root = join(import.meta.dirname, '..');
const namespace = 'millrace-system';
const banner = '# Rendered from charts/millrace by scripts/manifests.ts; edit the chart, not this file.\n';

// The controller and its dependencies satisfy the strictest pod security level of Kubernetes.
const namespaceManifest = `apiVersion: v1
kind: Namespace
metadata:
  name: ${namespace}
  labels:
    app.kubernetes.io/name: millrace
    pod-security.kubernetes.io/enforce: restricted
`;

/**
 * The files of manifests/ by name.
 * @param helm path or name of the helm program.
 * Throws `Error` in one line if helm cannot be run or rejects the chart.
 */
export function renderManifests(helm: string): Record<string, string> {
  const chart = join(root, 'charts/millrace');
  const rendered = runHelm(helm, ['template', 'millrace', chart, '--namespace', namespace, '--skip-tests']);
  const definition = readFileSync(join(chart, 'files/workerpools.yaml'), 'utf8');
  return {
    'install.yaml': `${banner}${withoutHelm(`---\n${namespaceManifest}${rendered}`)}`,
    'crd.yaml': `${banner}${withoutHelm(definition)}`,
    'workerpool.schema.json': renderSchema(definition),
  };
}

interface Definition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly schema: { readonly openAPIV3Schema: CrdSchema };
    }[];
  };
}

/** The file `workerpool.schema.json`, from the text of the chart's definition. */
export function renderSchema(definition: string): string {
  const { group, names, versions }: Definition['spec'] = (parse(definition) as Definition).spec;
  const [version] = versions;
  if (!version) throw new Error('the CRD has no version');
  const schema = editorSchema(version.schema.openAPIV3Schema, `${group}/${version.name}`, names.kind);
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

function runHelm(helm: string, args: string[]): string {
  const { status, error: cause, stdout, stderr: said } = spawnSync(helm, args, { encoding: 'utf8' });
  if (cause) {
    throw new Error(`cannot run ${helm} (${cause.message}): install Helm, or set HELM to its path`, {
      cause,
    });
  }
  if (status !== 0) throw new Error(`helm could not render the chart: ${said.trim()}`);
  return stdout;
}

/** Removes what is only for Helm: its labels, its annotation and its comments about the source of a document. */
function withoutHelm(text: string): string {
  return text
    .replaceAll(/^ +(?:helm\.sh\/chart|app\.kubernetes\.io\/managed-by): .*\n/gm, '')
    .replaceAll(/^(?: +#.*\n)* +helm\.sh\/resource-policy: keep\n/gm, '')
    .replaceAll(/^# Source: .*\n/gm, '')
    .replaceAll(/^---\n\n+/gm, '---\n');
}

if (import.meta.main)
  await runGenerator('manifests.ts', {
    description: 'Renders manifests/ from the chart. Helm is taken from the variable HELM, or from PATH.',
    source: 'what the chart renders',
    command: 'npm run manifests',
    documents: () =>
      Object.fromEntries(
        Object.entries(renderManifests(env['HELM'] ?? 'helm')).map(([name, text]) => [
          `manifests/${name}`,
          text,
        ]),
      ),
  });
