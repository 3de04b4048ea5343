/**
 * A handler from a program that keeps running (`kept-pool.ts`): one process per slot, over JSON lines (`line-protocol.ts`).
 */
import { MAX_RESULT_BYTES } from '../task/encode.ts';
import type { OpenHandler } from '../task/handler.ts';
import { DEFAULT_GRACE_MS, type CommandOptions } from './command.ts';
import { openKeptPool, type KeptPoolOptions } from './kept-pool.ts';
import { startKeptProcess } from './kept-process.ts';
import { findProgram } from './program.ts';

export interface LinesOptions extends CommandOptions, Omit<KeptPoolOptions, 'start' | 'onShortage'> {
  /** How long a program without ids in its answers waits for its next task, ms; see `KeptProcessOptions`. */
  readonly quietMs?: number;
}

const defaults = { graceMs: DEFAULT_GRACE_MS, maxOutputBytes: MAX_RESULT_BYTES, quietMs: 50 };

/**
 * Opens a command that is kept running and receives one task after another.
 *
 * Throws `HandlerLoadError` when the command names no program that can be started.
 */
export async function openLines(options: LinesOptions): Promise<OpenHandler> {
  const program = await findProgram(options);
  return openKeptPool({
    ...options,
    start: (how) => startKeptProcess(program, { ...defaults, ...options, ...how }),
  });
}
