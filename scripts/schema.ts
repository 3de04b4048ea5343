/**
 * The JSON schema of a WorkerPool for editors, made of the CRD's: one description of the fields, three readers (API server,
 * `kubectl explain`, editor). Pure.
 *
 * JSON schema has no CEL. Of the rules, those of a few plain forms are translated (a pattern, exactly one of, both or neither,
 * no item twice, a constant), with their message where editors show one; what compares two fields or two versions of an
 * object is left to the API server. It errs on one side only: what it refuses, the API server refuses.
 */

/** A structural schema as in a CRD, as far as ours uses it. */
export interface CrdSchema {
  readonly type?: string;
  readonly description?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, CrdSchema>>;
  readonly additionalProperties?: CrdSchema;
  readonly items?: CrdSchema;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message?: string }[];
}

type JsonSchema = Record<string, unknown>;

/** Keywords that JSON schema shares. */
const SAME = ['type', 'description', 'default', 'enum', 'required'] as const;
const BOUNDS = ['minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems'] as const;

/**
 * The schema (draft 07, which editors know best) of a whole object of the kind.
 * @param crd the `openAPIV3Schema` of a version
 */
export function editorSchema(crd: CrdSchema, apiVersion: string, kind: string): JsonSchema {
  const { properties = {}, ...whole } = translated(crd) as { properties?: Record<string, JsonSchema> };
  const { metadata: _, ...own } = properties;
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: kind,
    ...whole,
    required: ['apiVersion', 'kind', 'metadata', 'spec'],
    properties: {
      ...own,
      apiVersion: { ...own['apiVersion'], const: apiVersion },
      kind: { ...own['kind'], const: kind },
      metadata: {
        type: 'object',
        description: 'Name, namespace, labels and annotations, as of any object.',
        required: ['name'],
        properties: {
          name: {
            type: 'string',
            minLength: 1,
            maxLength: 63,
            description: 'Name of the pool, unique in its namespace.',
          },
        },
      },
    },
  };
}

function translated(schema: CrdSchema): JsonSchema {
  const out: JsonSchema = {};
  const given = schema as Readonly<Record<string, unknown>>;
  for (const key of [...SAME, ...BOUNDS]) if (given[key] !== undefined) out[key] = given[key];
  if (schema.properties) {
    out['properties'] = Object.fromEntries(
      Object.entries(schema.properties).map(([name, child]) => [name, translated(child)]),
    );
    // an unknown field is most often a typo
    if (!schema['x-kubernetes-preserve-unknown-fields']) out['additionalProperties'] = false;
  }
  if (schema.additionalProperties) out['additionalProperties'] = translated(schema.additionalProperties);
  if (schema.items) out['items'] = translated(schema.items);
  const rules = (schema['x-kubernetes-validations'] ?? []).flatMap(({ rule, message }) =>
    ruleOf(rule, message),
  );
  if (schema['x-kubernetes-int-or-string']) {
    const { maxLength, ...rest } = out;
    const [pattern = {}] = rules;
    return {
      ...rest,
      anyOf: [
        { type: 'integer', minimum: 1, ...largestOf(schema) },
        { type: 'string', maxLength, ...pattern },
      ],
    };
  }
  return rules.length === 0 ? out : { ...out, allOf: rules };
}

/** The bound of an integer that is in a rule, as its type cannot have it. */
function largestOf({ 'x-kubernetes-validations': rules = [] }: CrdSchema): JsonSchema {
  const largest = /^type\(self\) == int \? self >= 1 && self <= (\d+) /.exec(rules[0]?.rule ?? '')?.[1];
  return largest === undefined ? {} : { maximum: Number(largest) };
}

/** A rule as JSON schema; most cannot be expressed. */
function ruleOf(rule: string, message = ''): JsonSchema[] {
  // the rest of the rule spares objects that are stored already, which an editor does not have
  const [text = ''] = rule.replaceAll(/\s+/g, ' ').trim().split(' || (oldSelf.hasValue()');
  const says = { errorMessage: message };
  const pattern =
    /^(?:!self\.matches\('[^']*'\) \|\| |type\(self\) == int \? self >= 1(?: && self <= \d+)? : )?self\.matches\('([^']*)'\)(?: && .*)?$/.exec(
      text,
    )?.[1];
  if (pattern !== undefined) return [{ pattern: forJavaScript(pattern), patternErrorMessage: message }];
  const two = /^has\(self\.(\w+)\) (==|!=) has\(self\.(\w+)\)$/.exec(text);
  if (two) {
    const [, a = '', relation, b = ''] = two;
    return relation === '=='
      ? [{ dependencies: { [a]: [b], [b]: [a] }, ...says }]
      : [{ oneOf: [{ required: [a] }, { required: [b] }], ...says }];
  }
  if (/^\[has.*\]\.filter\(x, x\)\.size\(\) == 1$/.test(text)) {
    const names = [...text.matchAll(/has\(self\.(\w+)\)/g)].map(([, name]) => name);
    return [{ oneOf: names.map((name) => ({ required: [name] })), ...says }];
  }
  if (text === 'self.all(name, self.exists_one(other, other == name))')
    return [{ uniqueItems: true, ...says }];
  const filled = /^has\(self\.(\w+)\) && size\(self\.\1\) > 0$/.exec(text)?.[1];
  if (filled !== undefined)
    return [{ required: [filled], properties: { [filled]: { minItems: 1 } }, ...says }];
  const constant = /^self == '([^']*)'$/.exec(text)?.[1];
  if (constant !== undefined) return [{ const: constant, ...says }];
  return [];
}

/** From a CEL string, in which a backslash is doubled, and from RE2, in which a character class may begin with a bracket. */
function forJavaScript(pattern: string): string {
  return pattern.replaceAll('\\\\', '\\').replaceAll('[^]', '[^\\]').replaceAll('[]', '[\\]');
}
