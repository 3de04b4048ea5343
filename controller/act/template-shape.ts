/**
 * The parts of a pod template that are read before it is applied, and that the pool's definition leaves to the API server: a map where a list is
 * to be would otherwise fail in the middle of the work. Pure.
 */
import type { PodTemplateSpec } from '../../kube/wire.ts';

/** In a pod, and in each of its containers. */
const LISTS_OF_POD = ['containers', 'initContainers', 'volumes'];
const LISTS_OF_CONTAINER = ['env', 'volumeMounts'];
/** No pod has a tenth of it; some thousands are more than can be written as JSON. */
const MOST_LEVELS = 100;

/** Throws `RangeError` for a template that nothing can be made of. */
export function checkTemplate(template: PodTemplateSpec): void {
  checkDepth(template);
  const spec = template.spec as unknown as Readonly<Record<string, unknown>>;
  checkLists(spec, 'template.spec', LISTS_OF_POD);
  for (const kind of ['containers', 'initContainers'])
    for (const [i, container] of ((spec[kind] ?? []) as Readonly<Record<string, unknown>>[]).entries())
      checkLists(container, `template.spec.${kind}[${i}]`, LISTS_OF_CONTAINER);
}

function checkLists(of: Readonly<Record<string, unknown>>, path: string, names: readonly string[]): void {
  for (const name of names) {
    const list = of[name] ?? [];
    if (!Array.isArray(list))
      throw new RangeError(`${path}.${name} is not a list: write one, as in any Deployment`);
    const wrong = list.findIndex((item) => typeof item !== 'object' || item === null || Array.isArray(item));
    if (wrong >= 0)
      throw new RangeError(
        `${path}.${name}[${wrong}] is not an object: write one with a name, as in any Deployment`,
      );
  }
}

function checkDepth(template: PodTemplateSpec): void {
  let level: readonly unknown[] = [template];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MOST_LEVELS)
      throw new RangeError(`template is nested more than ${MOST_LEVELS} levels deep: no pod is`);
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? Object.values(value) : [],
    );
  }
}
