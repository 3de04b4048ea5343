/** The flags that name the queue of a command: a queue in a Redis, by its URL, or the queues of a pool in a cluster. */
import { Option, type Command } from 'commander';
import { QUEUE_OPTIONS, type QueueFlags } from '../../queue/flags.ts';
import { headed, withOptions } from '../../runtime/program.ts';
import { partitionsOption } from '../../worker/flags/partitions-option.ts';
import { addClusterFlags, CLUSTER, type ClusterFlags } from '../cluster/cluster-flags.ts';

export interface AccessFlags extends QueueFlags, ClusterFlags {
  /** `name`, or `namespace/name`. */
  readonly pool?: string;
  /** The numbers of lists that the queue is in, that of new tasks last. */
  readonly partitions?: readonly number[];
  /** The flags given on the command line, as opposed to the environment or a default. */
  readonly given: readonly string[];
  /** A Redis is named on the command line or in the environment. */
  readonly redisNamed: boolean;
}

const PARTITIONS =
  'the queue is in this many lists, <queue>:{0} to <queue>:{n-1}; a pool knows its number; 1,16: of both numbers, new tasks go to the last';

/**
 * Adds all flags that name a queue. `by: 'argument'`: the pool may also be the command's argument, `millrace inspect tiles`, in
 * commands that have no other.
 */
export function addAccessFlags(command: Command, by: 'argument' | 'flag'): Command {
  if (by === 'argument')
    command.argument('[pool]', 'a pool in the cluster, instead of --redis: name or namespace/name');
  const pool = new Option(
    '--pool <name>',
    'a pool in the cluster, instead of --redis: name or namespace/name',
  );
  headed('Redis:', command, withOptions(QUEUE_OPTIONS))
    .addOption(partitionsOption(PARTITIONS).helpGroup('Redis:'))
    .addOption(pool.helpGroup(CLUSTER));
  return addClusterFlags(command).hook('preAction', (_, action) => {
    const named = Object.keys(action.opts()).filter((name) => action.getOptionValueSource(name) === 'cli');
    const source = (name: string): string => action.getOptionValueSource(name) ?? 'default';
    const where = ['redis', 'redisUrlFile', 'sentinel', 'cluster'];
    action.setOptionValue(
      'redisNamed',
      where.some((name) => source(name) !== 'default'),
    );
    const [argument] = by === 'argument' ? action.args : [];
    action.setOptionValue('given', argument === undefined ? named : [...named, 'argument']);
    if (argument !== undefined && !named.includes('pool')) action.setOptionValue('pool', argument);
  });
}
