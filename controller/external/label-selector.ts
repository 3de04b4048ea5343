/** Label selectors as Kubernetes writes them into a URL: `pool=mail,tier in (a,b),!canary`. Pure. */

export type LabelMatch = (labels: Readonly<Record<string, string>>) => boolean;

/** Of trimmed text. What one repetition may take, the next may not: so reading takes no longer than the length of the text says. */
const REQUIREMENT =
  /^(?:(?<absent>!)\s*(?<gone>[\w./-]+)|(?<key>[\w./-]+)(?![\w./-])(?:\s*(?<not>notin|!=)|\s*(?<is>in|==?))?(?:\s*(?<values>\([^()]*\)|[\w.-]+))?)$/;

/** Everything matches an empty selector. Throws `SyntaxError` for one that is none. */
export function parseLabelSelector(text: string): LabelMatch {
  const requirements = split(text).map(requirementOf);
  return (labels) => requirements.every((matches) => matches(labels));
}

/** At the commas outside of parentheses. */
function split(text: string): string[] {
  if (text.trim() === '') return [];
  const found: string[] = [];
  let [from, depth] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth++;
    if (text[at] === ')') depth--;
    if (text[at] !== ',' || depth > 0) continue;
    found.push(text.slice(from, at));
    from = at + 1;
  }
  return [...found, text.slice(from)];
}

function requirementOf(text: string): LabelMatch {
  const { absent, gone = '', key = '', not, is, values = '' } = REQUIREMENT.exec(text.trim())?.groups ?? {};
  if (absent) return (labels) => !Object.hasOwn(labels, gone);
  const isList = values.startsWith('(');
  const operator = not ?? is;
  const wantsList = operator === 'in' || operator === 'notin';
  if (key === '' || isList !== wantsList || (operator === undefined && values !== ''))
    throw new SyntaxError(`"${text.slice(0, 100)}" is not a requirement of a label selector`);
  if (operator === undefined) return (labels) => Object.hasOwn(labels, key);
  const wanted = isList
    ? values
        .slice(1, -1)
        .split(',')
        .map((value) => value.trim())
    : [values];
  const has = (labels: Readonly<Record<string, string>>): boolean =>
    Object.hasOwn(labels, key) && wanted.includes(labels[key] ?? '');
  return not ? (labels) => !has(labels) : has;
}
