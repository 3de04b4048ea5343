/** The flag `--log-level` of all programs. Apart from log.ts, so that a program that logs nothing loads no logger. */
import type { Option } from 'commander';
import { option } from './program.ts';

/** Least severe first. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export function logLevelOption(initial: LogLevel): Option {
  return option('--log-level <level>', 'least severe level to log', 'MILLRACE_LOG_LEVEL')
    .choices(logLevels)
    .default(initial);
}
