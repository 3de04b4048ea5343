/**
 * Server-sent events by `fetch`: the browser's own EventSource sends no header, and the token is one. It does not come back by
 * itself; that is feed.ts's to do.
 */
import type { Refusal } from '../controller/dashboard/api.ts';

/** The server refused the request. */
export class Refused extends Error {
  readonly status: number;
  readonly signIn: boolean;
  constructor(status: number, { error, signIn }: Partial<Refusal>) {
    super(error ?? `the server answered ${status}`);
    this.status = status;
    this.signIn = signIn === true;
  }
}

export interface ServerEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string | undefined;
}

/** Resolves when the server ends the stream. Rejects with `Refused`, or with the browser's own error if the connection breaks. */
export async function listen(
  path: string,
  options: { readonly headers: Record<string, string>; readonly signal: AbortSignal },
  onOpen: () => void,
  onEvent: (event: ServerEvent) => void,
): Promise<void> {
  const response = await fetch(path, { ...options, cache: 'no-store' });
  if (!response.ok || !response.body) throw await refusedBy(response);
  onOpen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split('\n\n');
    text = blocks.pop() ?? '';
    for (const event of blocks.map(parse)) if (event) onEvent(event);
  }
}

/** Parses only the subset that our server writes: one line per field. */
function parse(block: string): ServerEvent | undefined {
  const fields = new Map(
    block.split('\n').map((line) => {
      const colon = line.indexOf(': ');
      return [line.slice(0, colon), line.slice(colon + 2)];
    }),
  );
  const name = fields.get('event');
  const data = fields.get('data');
  return name === undefined || data === undefined ? undefined : { name, data, id: fields.get('id') };
}

/** The reason in the body of a refusal. */
export async function refusedBy(response: Response): Promise<Refused> {
  return new Refused(response.status, (await response.json().catch(() => ({}))) as Partial<Refusal>);
}
