/** Compiles and installs what takes long of what the suite runs, before the time of a test begins. */
import { prepareAsynq } from './asynq.ts';
import { preparePackages } from './python-library.ts';

const PYTHON = ['arq', 'celery', 'dramatiq', 'rq', 'saq', 'taskiq'];

export async function setup(): Promise<void> {
  // what is missing is reported by the tests that need it
  await Promise.all([prepareAsynq(), ...PYTHON.map(preparePackages)]);
}
