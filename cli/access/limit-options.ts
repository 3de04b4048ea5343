/** The options that set limits of a queue. */
import type { Command } from 'commander';
import { integer } from '../../runtime/program.ts';

/** A whole number of tasks, or `none`. */
function countOrNone(text: string): number | 'none' {
  return text === 'none' ? text : integer(1, 1_000_000_000)(text);
}

export function addLimitFlags(command: Command): Command {
  return command
    .option('--rate <rate>', 'tasks that begin in a time: 100/s, 5/m, 20/h; none for no limit')
    .option('--burst <n>', "tasks that may begin at once after a pause (default: one second's)", countOrNone)
    .option('--max-running <n>', 'tasks in flight at once', countOrNone)
    .option('--key-field <name>', 'field of JSON tasks: the limits that follow are for each of its values')
    .option('--key-rate <rate>', 'tasks of a key that begin in a time', String)
    .option('--key-burst <n>', 'tasks of a key that may begin at once after a pause', countOrNone)
    .option('--key-max-running <n>', 'tasks of a key in flight at once', countOrNone);
}
