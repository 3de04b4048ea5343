/** `--partitions`, of the worker and of the commands about its queue. */
import { InvalidArgumentError, type Option } from 'commander';
import { parsePartitions } from '../../queue/partitions.ts';
import { option } from '../../runtime/program.ts';

/** Its value is a list of numbers. */
export function partitionsOption(description: string): Option {
  return option('--partitions <n>', description, 'MILLRACE_PARTITIONS').argParser(partitionNumbers);
}

/** `16`, or `1,16`. */
function partitionNumbers(text: string): readonly number[] {
  try {
    return parsePartitions(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
