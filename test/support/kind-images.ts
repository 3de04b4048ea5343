/**
 * The images of the cluster tests: those of the product, built from this checkout, one derived from the worker's as a user
 * does it, and two public ones. `setup` is a globalSetup that runs after the cluster's and loads all of them onto the node.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { buildImages } from '../../scripts/images.ts';
import { connectCluster, type Cluster } from '../kind/cluster.ts';

/** The worker with test/fixtures/squares.ts at /app/squares.ts. */
export const SQUARES_IMAGE = 'millrace-test/squares:1';
export const REDIS_IMAGE = 'redis:7.0-bookworm';
export const PYTHON_IMAGE = 'python:3.11-slim-bookworm';
export const NODE_IMAGE = 'node:24-bookworm-slim';

const fixtures = join(import.meta.dirname, '../fixtures');

/** Nothing where there is no cluster. */
export async function setup(project: TestProject): Promise<void> {
  const place = project.getProvidedContext().cluster;
  if (place) await loadTestImages(connectCluster(place));
}

/** Builds what has changed and loads what the node does not have. */
export async function loadTestImages(cluster: Cluster): Promise<void> {
  const { worker, controller } = await buildImages();
  buildSquares(worker);
  await cluster.loadImages([worker, controller, SQUARES_IMAGE, REDIS_IMAGE, PYTHON_IMAGE]);
}

/** With the two lines that the worker's Dockerfile recommends. */
function buildSquares(worker: string): void {
  const dockerfile = [
    `FROM ${worker}`,
    'COPY squares.ts /app/',
    `RUN node -e "import('/app/squares.ts')"`,
  ].join('\n');
  const { status, stderr } = spawnSync('docker', ['build', '--tag', SQUARES_IMAGE, '--file', '-', fixtures], {
    input: dockerfile,
    encoding: 'utf8',
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
  });
  if (status !== 0) throw new Error(`docker could not build ${SQUARES_IMAGE}: ${stderr}`);
}
