/** `millrace version`: the version of this program and, on request, the versions installed in the cluster. */
import { version } from '../../runtime/version.ts';
import type { ClusterFlags } from '../cluster/cluster-flags.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { print, type Output } from '../terminal/output.ts';

export interface VersionFlags extends ClusterFlags {
  readonly cluster?: true;
  readonly output: Output;
}

interface Versions {
  readonly client: string;
  /** Only if the cluster was read: its versions, or why they are unknown. */
  readonly definition?: string | null;
  readonly controllers?: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly version: string;
  }[];
  readonly trouble?: string;
}

/** With `-o json` and `yaml` the cluster is read as well; an unreachable one is no failure. */
export async function printVersion(flags: VersionFlags, log: CommandLog): Promise<void> {
  const ask = flags.cluster === true || flags.output !== 'table';
  const versions: Versions = ask ? await ofCluster(flags, log) : { client: version };
  await print(flags.output, versions, () => {
    if (!ask) return `${version}\n`;
    const { definition, controllers = [], trouble } = versions;
    const lines = [`millrace     ${version}`];
    if (trouble === undefined) {
      lines.push(`definition   ${definition ?? 'not installed'}`);
      lines.push(...controllers.map((one) => `controller   ${one.version}  ${one.namespace}/${one.name}`));
    } else lines.push(`cluster      ${trouble}`);
    return `${lines.join('\n')}\n`;
  });
}

const UNKNOWN = 'unknown';

async function ofCluster(flags: ClusterFlags, log: CommandLog): Promise<Versions> {
  const [{ explained, openCluster }, { readControllers, readDefinition }] = await Promise.all([
    import('../cluster/cluster.ts'),
    import('../cluster/installation.ts'),
  ]);
  try {
    using cluster = openCluster(flags);
    const [definition, controllers] = await Promise.all([
      readDefinition(cluster.transport),
      readControllers(cluster.transport),
    ]);
    return {
      client: version,
      definition: definition ? (definition.version ?? UNKNOWN) : null,
      controllers: controllers.map(({ namespace, name, version: of = UNKNOWN }) => ({
        namespace,
        name,
        version: of,
      })),
    };
  } catch (error) {
    log.debug(error, 'the cluster could not be read');
    return { client: version, trouble: (explained(error) as Error).message };
  }
}
