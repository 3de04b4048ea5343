/**
 * Keeps one copy of texts that are in many objects, such as the image, the messages of conditions and their times: what the parser
 * of JSON returns has a copy of each for every object that it is in.
 */

/** Shorter ones are shared by V8's parser. */
const SHORTEST = 11;
const LONGEST = 256;
/** When so many are known, all are forgotten: of those that are in use often, a few more copies are made. */
const MOST = 4_096;

/** Returns a function that replaces the texts within a JSON value, which it changes and returns. */
export function createTextSharing(): <T>(value: T) => T {
  const known = new Map<string, string>();

  function shared(text: string): string {
    if (text.length < SHORTEST || text.length > LONGEST) return text;
    const copy = known.get(text);
    if (copy !== undefined) return copy;
    if (known.size >= MOST) known.clear();
    known.set(text, text);
    return text;
  }

  function share<T>(value: T): T {
    if (typeof value !== 'object' || value === null) return value;
    const fields = value as Record<string, unknown>;
    for (const [name, field] of Object.entries(fields)) {
      if (typeof field === 'string') fields[name] = shared(field);
      else share(field);
    }
    return value;
  }

  return share;
}
