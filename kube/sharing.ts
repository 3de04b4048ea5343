/**
 * Keeps one copy of what is in many objects: texts such as images and times, and whole parts such as resources, defaults of a spec
 * and conditions. What the parser of JSON returns has a copy of each for every object that it is in.
 */

/** Shorter ones are shared by V8's parser. */
const SHORTEST = 10;
const LONGEST = 256;
/** Of a part as a key. */
const LONGEST_KEY = 512;
/** When so many are known, all are forgotten: of those that are in use often, a few more copies are made. */
const MOST_TEXTS = 4_096;
const MOST_PARTS = 1_024;
/** Parts that are further inside are left as they are. The API server takes objects of 10,000 levels, more than the stack does. */
const DEEPEST = 100;

/**
 * Returns a function that returns a JSON value of which parts are those of earlier ones, where they are equal. It changes the value
 * that it is given; what it returns must not be changed.
 */
export function createSharing(): <T>(value: T) => T {
  const texts = new Map<string, string>();
  const parts = new Map<string, object>();
  /** By which an object stands in the key of one that contains it. */
  const numbers = new Map<object, number>();
  let count = 0;

  function sharedText(text: string): string {
    if (text.length < SHORTEST || text.length > LONGEST) return text;
    const copy = texts.get(text);
    if (copy !== undefined) return copy;
    if (texts.size >= MOST_TEXTS) texts.clear();
    texts.set(text, text);
    return text;
  }

  /** Two values with the same sign are equal; `undefined` for an object that is not known. */
  function signOf(value: unknown): string | undefined {
    if (typeof value === 'string') return `${value.length}"${value}`;
    if (typeof value !== 'object' || value === null) return `${String(value)};`;
    const number = numbers.get(value);
    return number === undefined ? undefined : `#${number};`;
  }

  function sharedPart(value: object, depth: number): object {
    const fields = value as Record<string, unknown>;
    let key: string | undefined = Array.isArray(value) ? '[' : '{';
    for (const name of Object.keys(fields)) {
      const field = share(fields[name], depth + 1);
      const sign = signOf(field);
      key = key === undefined || sign === undefined ? undefined : `${key}${name.length}:${name}${sign}`;
      // an assignment to this name would set the prototype
      if (name === '__proto__') key = undefined;
      // also an equal text: it may be another copy
      else fields[name] = field;
    }
    if (key === undefined || key.length > LONGEST_KEY) return value;
    const copy = parts.get(key);
    if (copy !== undefined) return copy;
    if (parts.size >= MOST_PARTS) {
      parts.clear();
      numbers.clear();
    }
    parts.set(key, value);
    numbers.set(value, count++);
    return value;
  }

  function share<T>(value: T, depth: number): T {
    if (typeof value === 'string') return sharedText(value) as T;
    if (typeof value !== 'object' || value === null || depth > DEEPEST) return value;
    return sharedPart(value, depth) as T;
  }

  return (value) => share(value, 0);
}
