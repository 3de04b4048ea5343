/**
 * The web application: `PORT=9000 node server.ts`. POST /run adds up an invoice; what it answers is the task's result, and
 * what it refuses with 422 is a dead letter.
 */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

interface Invoice {
  readonly lines: readonly { readonly quantity: number; readonly cents: number }[];
  /** In percent. */
  readonly tax: number;
}

function isInvoice(value: unknown): value is Invoice {
  const { lines, tax } = (value ?? {}) as Partial<Invoice>;
  return (
    Number.isFinite(tax) &&
    Array.isArray(lines) &&
    lines.every(({ quantity, cents }) => Number.isInteger(quantity * cents))
  );
}

function addUp({ lines, tax }: Invoice): { net: number; tax: number; total: number } {
  const net = lines.reduce((sum, { quantity, cents }) => sum + quantity * cents, 0);
  const taxes = Math.round((net * tax) / 100);
  return { net, tax: taxes, total: net + taxes };
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const server = createServer((request, response) => {
  const answer = (status: number, value: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
  if (request.method !== 'POST' || request.url !== '/run') return answer(404, 'there is POST /run');
  text(request).then(
    (body) => {
      const invoice = parse(body);
      if (isInvoice(invoice)) answer(200, addUp(invoice));
      else answer(422, `${String(request.headers['millrace-task-id'])} is no invoice`);
    },
    () => response.destroy(),
  );
});
server.listen(Number(process.env['PORT'] ?? 9000), '127.0.0.1');
// the worker may keep its connections open: end those, too
process.on('SIGTERM', () => server.close(() => process.exit()).closeIdleConnections());
