/** The flags that say which queue a command is about: one of a Redis, by its URL, or those of a pool of a cluster. */
import { Option, type Command } from 'commander';
import { addQueueFlags, type QueueFlags } from '../../queue/flags.ts';
import { addClusterFlags, type ClusterFlags } from '../cluster/cluster-flags.ts';

export interface AccessFlags extends QueueFlags, ClusterFlags {
  /** `name`, or `namespace/name`. */
  readonly pool?: string;
  /** Which flags stand on the command line, rather than in the environment or nowhere. */
  readonly given: readonly string[];
  /** A Redis is named, on the command line or in the environment. */
  readonly redisNamed: boolean;
}

/**
 * Gives a command all ways to its queue. `by: 'argument'`: the pool may stand behind the command, `millrace inspect tiles`, where
 * nothing else does.
 */
export function addAccessFlags(command: Command, by: 'argument' | 'flag'): Command {
  if (by === 'argument') command.argument('[pool]', 'a pool of the cluster, instead of --redis');
  addQueueFlags(command).addOption(
    new Option('--pool <name>', 'a pool of the cluster, instead of --redis: name or namespace/name'),
  );
  return addClusterFlags(command).hook('preAction', (_, action) => {
    const named = Object.keys(action.opts()).filter((name) => action.getOptionValueSource(name) === 'cli');
    const source = (name: string): string => action.getOptionValueSource(name) ?? 'default';
    const where = ['redis', 'redisUrlFile', 'sentinel'];
    action.setOptionValue(
      'redisNamed',
      where.some((name) => source(name) !== 'default'),
    );
    const [argument] = by === 'argument' ? action.args : [];
    action.setOptionValue('given', argument === undefined ? named : [...named, 'argument']);
    if (argument !== undefined && !named.includes('pool')) action.setOptionValue('pool', argument);
  });
}
