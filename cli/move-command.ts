/** The flags of `millrace move`. */
import type { Command } from 'commander';
import { MAX_PARTITIONS } from '../queue/partitions.ts';
import { duration, integer } from '../runtime/program.ts';
import { addAccessFlags } from './access/access-flags.ts';
import { addDestinationFlags } from './access/destination.ts';
import type { MoveFlags } from './commands/move.ts';

const EXAMPLES = `
Examples:
  millrace move --queue tiles --redis redis://old:6379 --to redis://new:6379
  millrace move --queue tiles --to-partitions 16
  millrace move --pool tiles --to-cluster c-0:6379,c-1:6379 --follow

Clients and workers may go on in both places. An interrupted move is continued by the same command.`;

export function addMove(command: Command): void {
  addDestinationFlags(
    addAccessFlags(command, 'flag')
      .option('--to-partitions <n>', 'number of lists that the queue becomes', integer(1, MAX_PARTITIONS))
      .option('--merge', 'move into a queue that has something already')
      .option('--follow', 'keep moving what clients still push to the old place, until Ctrl-C or --quiet')
      .option(
        '--quiet <duration>',
        'with --follow, end when nothing has been pushed for this long (default: 1m)',
        duration,
      )
      .option(
        '--wait <duration>',
        'how long to wait for tasks that run in the old place (default: until they are done)',
        duration,
      )
      .option('--no-results', 'leave the result hash: other queues use it, too'),
  )
    .addHelpText('after', EXAMPLES)
    .action(async (flags: MoveFlags) => {
      const { move } = await import('./commands/move.ts');
      await move(flags);
    });
}
