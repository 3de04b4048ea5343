/**
 * The name that every connection of a worker has in Redis (`CLIENT SETNAME`): by it the controller sees whether a worker
 * that Kubernetes calls dead is still connected. Pure.
 */

/** `millrace:queue:worker`, percent-encoded: such names have neither spaces nor line breaks. */
export function clientName(queue: string, worker: string): string {
  return `millrace:${encode(queue)}:${encode(worker)}`;
}

/** The names in a reply to `CLIENT LIST`. */
export function clientNames(list: string): ReadonlySet<string> {
  return new Set(Array.from(list.matchAll(/ name=(\S+)/g), ([, name = '']) => name));
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
