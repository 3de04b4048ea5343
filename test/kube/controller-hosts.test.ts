/** The controller and pools that name foreign hosts: what it connects to, and what their status shows. */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { POOLS } from '../../kube/resources.ts';
import { startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionText, poolManifest, startWorld, type World } from '../support/world.ts';

const bounded = { everyMs: 100 };

let world: World;
let namespace: string;
beforeAll(async () => {
  world = await startWorld();
  namespace = await world.namespace();
});
afterAll(async () => await world?.[Symbol.asyncDispose]());

const create = (name: string, url: string): Promise<unknown> =>
  world.objects.create(POOLS, namespace, poolManifest(name, { url }));
const reachable = async (name: string): Promise<string | undefined> =>
  conditionText(await world.objects.get(POOLS, { namespace, name }), 'RedisReachable');

test('a local address is refused in one sentence, and connected to where it is on the list', async () => {
  await create('mine', world.redis.url);
  const { kubeconfig } = world.server;
  {
    await using controller = await startController({ kubeconfig, allowLocal: false });
    await controller.leading();
    const refused =
      /^False Unreachable Redis at 127\.0\.0\.1:\d+ is not a host that the controller may connect to: .*redis\.allowedHosts/;
    await eventually(async () => expect(await reachable('mine')).toMatch(refused), bounded);
  }
  const args = ['--redis-allowed-hosts', 'redis.example.com,127.0.0.1'];
  await using controller = await startController({ kubeconfig, allowLocal: false, args });
  await controller.leading();
  await eventually(async () => expect(await reachable('mine')).toMatch(/^True/), bounded);
});

test('the reply of another service is in the log, and not in the status', async () => {
  const service = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    // one for each command, as a server of Redis's protocol would
    socket.on('data', (sent) => {
      const commands = sent.toString('latin1').match(/^\*\d+\r$/gm)?.length ?? 0;
      socket.write('-internal banner 4.2\r\n'.repeat(commands));
    });
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  const { port } = service.address() as AddressInfo;
  try {
    await using controller = await startController({ kubeconfig: world.server.kubeconfig });
    await controller.leading();
    await create('stranger', `redis://127.0.0.1:${port}`);
    await eventually(
      () => expect(JSON.stringify(controller.log())).toContain('internal banner 4.2'),
      bounded,
    );
    await eventually(async () => expect(await reachable('stranger')).toMatch(/^False/), bounded);
    const whole = JSON.stringify(await world.objects.get(POOLS, { namespace, name: 'stranger' }));
    expect(whole).not.toContain('banner');
  } finally {
    service.close();
  }
});
