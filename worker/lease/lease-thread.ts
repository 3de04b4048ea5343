/**
 * The thread behind lease.ts. It sleeps until the worker has made no turn in a queue for half a lease, because a handler
 * computes without a pause; then it renews that lease over connections of its own, every sixth of a lease, until turns go on.
 *
 * Each connection is opened with the credentials that are in their files then, as the worker itself would; if these are refused, the
 * next one with those that the worker used last.
 *
 * It is kept minimal, a few kB of code on Node's own modules, because every worker that runs a module has it. Whatever goes
 * wrong here (no connection, a refusal) is retried at the next beat; in the end the lease expires and the worker is fenced, as
 * without this thread.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { parentPort, workerData } from 'node:worker_threads';
import { interval } from '../../runtime/timers.ts';
import { currentLogin, type Login } from './current-login.ts';
import type { LeaseData, LeaseServer } from './lease.ts';

const { beats, leaseMs, login } = workerData as LeaseData;
/** By the rank of the queue. */
const leases = new Map<number, LeaseServer>();
/** By group: the server of the latest lease is where all leases of the group are now. */
const servers = new Map<number, LeaseServer>();
const sockets = new Map<number, Socket>();
/** Groups whose server has not accepted what is in the files now: what the worker used last is tried in turn with that. */
const refused = new Set<number>();

/** How long there was no turn in a queue, ms. */
function silentFor(rank: number): number {
  return Number(process.hrtime.bigint() - Atomics.load(beats, rank)) / 1e6;
}

/** A command as Redis reads it. */
function command(...parts: readonly string[]): string {
  return `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`;
}

function connectAs({ tls }: Login, { host, port }: LeaseServer): Socket {
  return tls ? connectTls({ ...tls, host, port }) : connect({ host, port });
}

function open(server: LeaseServer): Socket {
  const { group, db, clientName } = server;
  const used = refused.has(group) ? server : currentLogin(login, server);
  const { username, password } = used;
  const opened = connectAs(used, server);
  sockets.set(group, opened);
  let accepted = false;
  const drop = (): void => {
    opened.destroy();
    if (sockets.get(group) !== opened) return;
    sockets.delete(group);
    if (!accepted && !refused.delete(group)) refused.add(group);
  };
  // replies are not waited for: what was refused is sent again
  opened.on('data', (reply) => {
    if (reply[0] === 0x2d) drop();
    else accepted = true;
  });
  opened.on('error', drop).on('close', drop);
  opened.setTimeout(leaseMs / 3, drop);
  if (password) opened.write(command('AUTH', ...(username ? [username] : []), password));
  if (db) opened.write(command('SELECT', String(db)));
  if (clientName) opened.write(command('CLIENT', 'SETNAME', clientName));
  return opened;
}

function beat(): void {
  const silent = Array.from(leases.values()).filter(({ rank }) => silentFor(rank) >= leaseMs / 2);
  const byGroup = Map.groupBy(silent, ({ group }) => group);
  for (const [group, server] of servers) {
    const due = byGroup.get(group);
    if (due) {
      const socket = sockets.get(group) ?? open(server);
      socket.write(due.map(({ renew }) => command('EVAL', ...renew)).join(''));
    } else {
      sockets.get(group)?.destroy();
      sockets.delete(group);
    }
  }
}

/** A queue with its new epoch, or the rank of one that the worker has left. */
parentPort?.on('message', (message: LeaseServer | number) => {
  if (typeof message === 'number') {
    leases.delete(message);
    return;
  }
  leases.set(message.rank, message);
  servers.set(message.group, message);
});
interval(leaseMs / 6, beat);
