/**
 * The flags that name a second place, to which a queue is moved: those of a Redis as `--to…`, by the same rules, or `--to-pool`.
 */
import { Option, type Command } from 'commander';
import { QUEUE_OPTIONS } from '../../queue/flags.ts';
import type { OptionDefinition } from '../../runtime/option-definition.ts';
import { headed, UsageError, withOptions } from '../../runtime/program.ts';
import type { AccessFlags } from './access-flags.ts';

/** The second place, as flags of its own, and what it may rename. */
export interface Destination {
  /** To open it with `withPlace`; `undefined` if only names differ. */
  readonly flags: AccessFlags | undefined;
  readonly queue: string | undefined;
  readonly result: string | undefined;
}

const NAMES = new Set(['--queue', '--result']);
const longOf = ({ flags }: OptionDefinition): string => flags.replace(/ .*/, '');

/** `--redis` becomes `--to`, `--redis-tls` `--to-tls`, `--sentinel` `--to-sentinel`. */
function second(text: string): string {
  return text
    .replaceAll(/--redis(?=[ -]|$)/g, '--to')
    .replaceAll(/--(?=sentinel|cluster|queue|result)/g, '--to-')
    .replaceAll(/MILLRACE_(?:REDIS_)?/g, 'MILLRACE_TO_');
}

const OPTIONS: readonly OptionDefinition[] = QUEUE_OPTIONS.map((definition) => {
  const { flags, description, variable, hidden } = definition;
  return {
    flags: second(flags),
    description: NAMES.has(longOf(definition))
      ? `${description} (default: as it is called now)`
      : second(description),
    variable: second(variable),
    ...(hidden ? { hidden } : {}),
  };
});

/** Adds the flags of a destination. */
export function addDestinationFlags(command: Command): Command {
  const pool = new Option(
    '--to-pool <name>',
    'a pool in the cluster, instead of --to: name or namespace/name',
  );
  headed('Destination:', command, withOptions(OPTIONS)).addOption(pool.helpGroup('Destination:'));
  return command;
}

/** The destination that the flags name. Throws `UsageError` if they name two. */
export function destinationOf(flags: AccessFlags & { readonly toPool?: string }): Destination {
  const given = flags as unknown as Readonly<Record<string, unknown>>;
  const named = ['to', 'toUrlFile', 'toSentinel', 'toCluster'].filter((name) => given[name] !== undefined);
  if (flags.toPool !== undefined && named.length > 0)
    throw new UsageError(
      'both --to-pool and the address of a Redis are given for the destination: choose one',
    );
  const queue = given['toQueue'] as string | undefined;
  const result = given['toResult'] as string | undefined;
  if (flags.toPool === undefined && named.length === 0) return { flags: undefined, queue, result };
  const { kubeconfig, context, namespace } = flags;
  const cluster = flags.toPool === undefined ? {} : { pool: flags.toPool, kubeconfig, context, namespace };
  const values = QUEUE_OPTIONS.map((definition) => [
    camelCase(longOf(definition)),
    given[camelCase(second(longOf(definition)))] ?? definition.byDefault,
  ]);
  const there = { ...Object.fromEntries(values), ...cluster, given: [], redisNamed: true } as unknown;
  return { flags: there as AccessFlags, queue, result };
}

function camelCase(long: string): string {
  return long.replace(/^--/, '').replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
