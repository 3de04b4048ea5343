/** An API server with two clients: one directly, one through a proxy that a test can stall or cut. */
import type { KubeApi } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import { createTransport } from '../../kube/transport.ts';
import { startApiServer, type ApiServer } from './apiserver.ts';
import { startTcpProxy, type TcpProxy } from './tcpproxy.ts';

export interface ProxiedApi extends AsyncDisposable {
  readonly server: ApiServer;
  readonly proxy: TcpProxy;
  readonly direct: KubeApi;
  readonly proxied: KubeApi;
}

export async function startProxiedApi(): Promise<ProxiedApi> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startApiServer());
  const proxy = stack.use(await startTcpProxy(Number(new URL(server.server).port)));
  const connection = fromKubeconfig(server.kubeconfig);
  const connect = (address: string): KubeApi =>
    createKubeApi(stack.use(createTransport({ ...connection, server: address })));
  const direct = connect(server.server);
  const proxied = connect(`https://127.0.0.1:${proxy.port}`);
  const owned = stack.move();
  return { server, proxy, direct, proxied, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
