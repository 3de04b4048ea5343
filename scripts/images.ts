/**
 * Builds the images of the worker and the controller with the local Docker engine: the bundles, each on a slim Node.
 * Works with BuildKit and with the classic builder; only the base image needs a network.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { bundle, bundleLaunched } from './bundle.ts';
import { runScript } from './script.ts';

const root = resolve(import.meta.dirname, '..');

/**
 * Runs docker and returns what it printed.
 * Throws `Error` in one line, with the last line of docker's stderr.
 */
function docker(args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr, error } = spawnSync('docker', args, { cwd: root, encoding: 'utf8', env });
  if (error) {
    throw new Error('cannot run docker: install Docker and start its engine', { cause: error });
  }
  if (status === 0) return stdout.trim();
  const lastLine = stderr.trim().split('\n').at(-1);
  throw new Error(`docker ${args.join(' ')} failed: ${lastLine}`);
}

/** The client uses BuildKit by default, and fails if its plugin is not installed. */
function builder(): NodeJS.ProcessEnv {
  const hasBuildKit = spawnSync('docker', ['buildx', 'version'], { stdio: 'ignore' }).status === 0;
  return hasBuildKit ? process.env : { ...process.env, DOCKER_BUILDKIT: '0' };
}

/**
 * Bundles both programs and builds their images.
 * Returns the images' names, tagged with the version of package.json. Throws `Error` in one line if an image cannot be built.
 */
export async function buildImages(): Promise<{ worker: string; controller: string }> {
  const manifest: { version: string } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8'));
  const env = builder();
  const build = async (name: 'worker' | 'controller'): Promise<string> => {
    const image = `millrace/${name}:${manifest.version}`;
    await bundle(name);
    if (name === 'worker') await bundleLaunched();
    docker(
      [
        'build',
        '--file',
        `images/${name}.Dockerfile`,
        '--build-arg',
        `VERSION=${manifest.version}`,
        '--tag',
        image,
        '.',
      ],
      env,
    );
    return image;
  };
  return { worker: await build('worker'), controller: await build('controller') };
}

if (import.meta.main)
  await runScript(
    'images.ts',
    'Builds the images of the worker and the controller with Docker.',
    async () => {
      for (const image of Object.values(await buildImages())) {
        const bytes = Number(docker(['image', 'inspect', '--format', '{{.Size}}', image]));
        console.log(`${image}  ${(bytes / 2 ** 20).toFixed(0)} MiB`);
      }
    },
  );
