/**
 * Imports a module by its URL. In the worker's image the bundler takes the launcher's own `import` (worker/process/launch.ts): in
 * a script with cached code it is an experimental feature, of which Node warns.
 */
export const importModule = (url: string): Promise<unknown> => import(url);
