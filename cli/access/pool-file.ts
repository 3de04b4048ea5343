/** Reads a WorkerPool from a file. */
import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import type { WorkerPoolSpecInput } from '../../kube/defaults.ts';
import { KIND } from '../../kube/workerpool.ts';
import { UsageError } from '../../runtime/program.ts';
import { checkShape } from './pool-shape.ts';

/** The spec of the one WorkerPool in a YAML file. Throws `UsageError` if it cannot be read, or contains none or several. */
export async function readPool(path: string): Promise<Partial<WorkerPoolSpecInput>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`the pool cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return parsePool(text, path);
}

/** `readPool` for the text of a file; `name` is for messages. Throws `UsageError` for a field of another type, too. */
export function parsePool(text: string, name: string): Partial<WorkerPoolSpecInput> {
  // kubectl knows merge keys, which YAML 1.2 has not
  const documents = parseAllDocuments(text, { merge: true });
  const pools: unknown[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error) throw new UsageError(`${name} is not YAML: ${error.message.split('\n')[0]}`);
    const value: unknown = document.toJS();
    if (isObject(value) && value['kind'] === KIND) pools.push(value['spec']);
  }
  const [spec] = pools;
  if (pools.length !== 1)
    throw new UsageError(
      `${name} holds ${pools.length === 0 ? 'no' : pools.length} ${KIND}${pools.length > 1 ? 's' : ''}: give a file with one`,
    );
  if (!isObject(spec)) throw new UsageError(`the ${KIND} in ${name} has no spec`);
  checkShape(spec);
  return spec;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
