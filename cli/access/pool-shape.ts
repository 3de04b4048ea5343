/**
 * Whether the fields of a pool's YAML have the types that the definition of a WorkerPool gives them, where no API server has looked at it: of
 * those that local commands use. What a value may be beyond its type is checked where it is used. Pure.
 */
import { visible } from '../../runtime/plain-text.ts';
import { UsageError } from '../../runtime/program.ts';

/** Returns the name of a field that is wrong, its value and what it must be. */
type Form = (value: unknown, name: string) => Wrong | undefined;

interface Wrong {
  readonly name: string;
  readonly value?: unknown;
  readonly wanted: string;
  /** There is no field of that name. */
  readonly isUnknown?: true;
}

const form =
  (isRight: (value: unknown) => boolean, wanted: string): Form =>
  (value, name) =>
    isRight(value) ? undefined : { name, value, wanted };

const text = form((value) => typeof value === 'string', 'a text, in quotes if it looks like something else');
const flag = form((value) => typeof value === 'boolean', 'true or false');
const whole = (least: number): Form =>
  form((value) => Number.isSafeInteger(value) && (value as number) >= least, `a whole number from ${least}`);
const count = whole(1);
const oneOf = (...texts: readonly string[]): Form =>
  form((value) => texts.some((one) => one === value), texts.join(' or '));

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const list =
  (of: Form): Form =>
  (value, name) =>
    Array.isArray(value)
      ? firstOf(value.map((one, i) => of(one, `${name}[${i}]`)))
      : { name, value, wanted: 'a list' };

const anything: Form = () => undefined;
const anObject: Form = (value, name) => (isObject(value) ? undefined : { name, value, wanted: 'an object' });

/** An object with these fields and no others. */
const object =
  (fields: Readonly<Record<string, Form>>, required: readonly string[] = []): Form =>
  (value, name) => {
    if (!isObject(value)) return anObject(value, name);
    const other = Object.keys(value).find((field) => !Object.hasOwn(fields, field));
    if (other !== undefined)
      return {
        name: `${name}.${other}`,
        wanted: `one of ${Object.keys(fields).join(', ')}`,
        isUnknown: true,
      };
    return firstOf(
      Object.entries(fields).map(([field, of]) => {
        const found = value[field] ?? undefined;
        return found === undefined && !required.includes(field) ? undefined : of(found, `${name}.${field}`);
      }),
    );
  };

const firstOf = (all: readonly (Wrong | undefined)[]): Wrong | undefined =>
  all.find((one) => one !== undefined);

const cronName = form(
  (value) => typeof value === 'string' && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value),
  'a name of small letters, digits and dashes, such as nightly-report',
);
const cron = object(
  {
    name: cronName,
    schedule: text,
    timeZone: text,
    task: anObject,
    missed: oneOf('Skip', 'Last', 'All'),
    concurrencyPolicy: oneOf('Allow', 'Forbid'),
    suspend: flag,
  },
  ['name', 'schedule', 'task'],
);
const schedule = object(
  { name: text, start: text, duration: text, timeZone: text, minReplicas: whole(0), maxReplicas: whole(0) },
  ['start', 'duration'],
);
const SPEC = object({
  queue: text,
  queues: list(text),
  result: text,
  mode: text,
  partitions: count,
  priorities: list(oneOf('high', 'low')),
  minReplicas: whole(0),
  maxReplicas: count,
  scaling: object({
    tasksPerReplica: count,
    targetWait: text,
    forecast: flag,
    scaleUp: object({ maxStep: anything }),
    scaleDown: object({ window: text, maxStep: anything, unmanaged: anything }),
  }),
  schedules: list(schedule),
  retry: object({
    attempts: count,
    maxDeliveries: count,
    backoff: object({ initial: text, max: text, jitter: anything }),
  }),
  results: object({ ttl: text, maxSize: text }),
  deadLetters: object({ max: count, maxAge: text }),
  tasks: object({ maxSize: text }),
  crons: list(cron),
  concurrency: anything,
  // checked where they are used
  limits: anObject,
  redis: anObject,
  source: anObject,
  template: anObject,
  scaleTargetRef: anObject,
  job: anObject,
  runAs: text,
  workerContainer: text,
  podDefaults: text,
  durability: anObject,
  fallback: object({ after: text, replicas: whole(0) }),
  parked: object({ replicas: count, cpu: anything, memory: anything }),
});

/** Throws `UsageError` for the first field of another type or of no meaning, and for a minimum above the maximum. */
export function checkShape(spec: Readonly<Record<string, unknown>>): void {
  const wrong = SPEC(spec, 'spec');
  const { minReplicas, maxReplicas } = spec as {
    readonly minReplicas?: number;
    readonly maxReplicas?: number;
  };
  if (!wrong && minReplicas && maxReplicas !== undefined && minReplicas > maxReplicas)
    throw new UsageError(
      `spec.minReplicas is ${minReplicas}, and spec.maxReplicas ${maxReplicas}: lower the former, or raise the latter`,
    );
  if (!wrong) return;
  const { name, value, wanted, isUnknown } = wrong;
  if (isUnknown)
    throw new UsageError(`${visible(name).slice(0, 100)} is no field of a pool: there it is ${wanted}`);
  const found = value === undefined ? 'missing' : visible(JSON.stringify(value)).slice(0, 60);
  throw new UsageError(`${name} is ${found}: it must be ${wanted}`);
}
