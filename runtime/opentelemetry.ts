/**
 * OpenTelemetry where the user's program has it, and nothing where it does not. An SDK registers itself under one global
 * symbol for all of version 1 of the API; whatever copies of the API there are find it by that. So do we, without importing
 * any: a bundled worker could not resolve the user's copy anyway. Without an SDK all this is one look at `globalThis`.
 *
 * The types are the part of @opentelemetry/api 1.x that is called here; test/unit/tracing.test.ts holds them to the real SDK.
 */
const API = Symbol.for('opentelemetry.js.api.1');
/** The key of the span in a context. */
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');

export interface OpenTelemetry {
  readonly trace: { getTracer(name: string): Tracer };
  readonly context: {
    active(): Context;
    with<T>(context: Context, run: () => T): T;
  };
  readonly propagation: {
    inject(context: Context, carrier: Carrier, setter: Setter): void;
    extract(context: Context, carrier: Carrier, getter: Getter): Context;
  };
}

export interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
}

interface Tracer {
  startSpan(name: string, options: SpanOptions, context?: Context): Span;
}

interface SpanOptions {
  readonly kind: SpanKind;
  /** Starts a new trace, even if the context has one. */
  readonly root?: boolean;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly links?: readonly { readonly context: unknown }[];
}

export interface Span {
  spanContext(): unknown;
  setAttribute(name: string, value: string | number): void;
  setStatus(status: { readonly code: number; readonly message?: string }): void;
  recordException(error: { readonly name?: string; readonly message: string }): void;
  end(): void;
}

export const SpanKind = { producer: 3, consumer: 4 } as const;
export type SpanKind = (typeof SpanKind)[keyof typeof SpanKind];
export const STATUS_ERROR = 2;

/** The W3C Trace Context that travels with a task. */
export interface Trace {
  readonly traceparent: string;
  readonly tracestate?: string;
}

type Carrier = Record<string, string>;

interface Setter {
  set(carrier: Carrier, key: string, value: string): void;
}

interface Getter {
  get(carrier: Carrier, key: string): string | undefined;
  keys(carrier: Carrier): string[];
}

const setter: Setter = { set: (carrier, key, value) => void (carrier[key] = value) };
const getter: Getter = { get: (carrier, key) => carrier[key], keys: (carrier) => Object.keys(carrier) };

/** The API of the SDK that this program has registered; `undefined` if there is none. */
export function openTelemetry(): OpenTelemetry | undefined {
  const api = (globalThis as { [API]?: Partial<OpenTelemetry> })[API];
  return api?.trace && api.context && api.propagation ? (api as OpenTelemetry) : undefined;
}

/** The headers with which a receiver continues the trace of `context`; `undefined` where there is none. */
export function traceOf({ propagation }: OpenTelemetry, context: Context): Trace | undefined {
  const carrier: Carrier = {};
  propagation.inject(context, carrier, setter);
  return readTrace(carrier);
}

/** The context that came from another program. */
export function contextOf({ context, propagation }: OpenTelemetry, trace: Trace): Context {
  return propagation.extract(context.active(), { ...trace }, getter);
}

export function withSpan(context: Context, span: Span): Context {
  return context.setValue(SPAN, span);
}

export function spanOf(context: Context): Span | undefined {
  return context.getValue(SPAN) as Span | undefined;
}

/** Version ff and ids of zeros are invalid: https://www.w3.org/TR/trace-context/#traceparent-header. */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;

/** The trace context in the fields of an object, if it has one that is well-formed. */
export function readTrace(fields: object): Trace | undefined {
  const { traceparent, tracestate } = fields as { traceparent?: unknown; tracestate?: unknown };
  if (typeof traceparent !== 'string' || !TRACEPARENT.test(traceparent)) return undefined;
  return isTraceState(tracestate) ? { traceparent, tracestate } : { traceparent };
}

/** Vendors must propagate at least this many characters, and may omit a longer one. */
const MAX_TRACESTATE = 512;
const KEY = String.raw`(?:[a-z][a-z\d_\-*/]{0,255}|[a-z\d][a-z\d_\-*/]{0,240}@[a-z][a-z\d_\-*/]{0,13})`;
const VALUE = String.raw`[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]`;
const MEMBER = new RegExp(`^(?:${KEY}=${VALUE})?$`);
/** A list with more members is omitted as a whole, as W3C demands. */
const MAX_MEMBERS = 32;

/**
 * A list of members by https://www.w3.org/TR/trace-context/#tracestate-header; whoever cannot read it goes on with the
 * trace without it.
 */
function isTraceState(text: unknown): text is string {
  if (typeof text !== 'string' || text === '' || text.length > MAX_TRACESTATE) return false;
  const members = text.split(',').map((member) => member.replaceAll(/^[ \t]+|[ \t]+$/g, ''));
  const keys = members.filter(Boolean).map((member) => member.slice(0, member.indexOf('=')));
  return (
    keys.length > 0 &&
    keys.length <= MAX_MEMBERS &&
    new Set(keys).size === keys.length &&
    members.every((member) => MEMBER.test(member)) &&
    /^[\x20-\x7e\t]*$/.test(text)
  );
}
