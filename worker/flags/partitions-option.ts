/** `--partitions` and `--priorities`, of the worker and of the commands about its queue. */
import { InvalidArgumentError, type Option } from 'commander';
import { parsePartitions } from '../../queue/partitions.ts';
import { parseLevels, type Level } from '../../queue/priorities.ts';
import { option } from '../../runtime/program.ts';

/** Its value is a list of numbers. */
export function partitionsOption(description: string): Option {
  return option('--partitions <n>', description, 'MILLRACE_PARTITIONS').argParser(partitionNumbers);
}

/** Its value is a list of priorities. */
export function prioritiesOption(description: string): Option {
  return option('--priorities <list>', description, 'MILLRACE_PRIORITIES').argParser(
    (text): readonly Level[] => parsed(parseLevels, text),
  );
}

/** `16`, or `1,16`. */
function partitionNumbers(text: string): readonly number[] {
  return parsed(parsePartitions, text);
}

function parsed<T>(parse: (text: string) => T, text: string): T {
  try {
    return parse(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
