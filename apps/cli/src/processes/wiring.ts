/** How the adapters fit together in one process: TLS from the identity keeper, HTTP/2 over TLS, Connect over HTTP/2. */
import {
  type ClientTransport,
  callerOf,
  createPort,
  createTransport,
  type Link,
  openLink,
  type Port,
  type PortAddress,
  peerOf,
} from "@causeway/adapter-h2";
import { type ConnectAuthority, type FetchRoot, type IdentityKeeper, nodeCrypto } from "@causeway/adapter-keys";
import {
  clientOptions,
  type ExpectedServer,
  fetchPinnedRoot,
  serverOptions,
  type TlsIdentity,
  verifiedPeerOf,
} from "@causeway/adapter-tls";
import { asUnixMs, type Log, type UnixMs } from "@causeway/core-base";
import type { PeerVerifier } from "@causeway/core-identity";
import type { ConnectRouter } from "@connectrpc/connect";

export { callerOf, nodeCrypto, peerOf };

export const unixNow = (): UnixMs => asUnixMs(Date.now());

/** What a dialled connection is made of. */
interface Dial {
  readonly url: string;
  readonly identity: () => TlsIdentity;
  readonly trust: PeerVerifier;
  readonly expect: ExpectedServer;
}

const dialOptions = ({ url, identity, trust, expect }: Dial) => ({
  url,
  tls: () => clientOptions({ identity: identity(), trust, expect, now: unixNow }),
  authenticate: (socket: Parameters<typeof verifiedPeerOf>[0]) => verifiedPeerOf(socket, trust, unixNow()),
});

/** A Connect transport to a service of the network. */
export const dialTransport = (dial: Dial): ClientTransport => createTransport(dialOptions(dial));

/** An AGP link to a gateway. */
export const dialLink = (dial: Dial, signal: AbortSignal): Promise<Link> => openLink({ ...dialOptions(dial), signal });

/** As the identity keeper asks for it. */
export const connectAuthority: ConnectAuthority = (connection) => dialTransport(connection);

export const fetchRoot: FetchRoot = (options) => fetchPinnedRoot(options);

/** Opens the port of a service whose identity a keeper holds, and keeps it in step with renewals and trust. */
export async function servePort(options: {
  readonly keeper: IdentityKeeper;
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  readonly services: (router: ConnectRouter) => void;
  readonly onLink?: (link: Link) => void;
}): Promise<{ readonly port: Port; readonly address: PortAddress }> {
  const { keeper, log } = options;
  const identity = () => keeper.identity.tls();
  const port = createPort({
    tls: () => serverOptions({ identity, trust: keeper.trust }),
    host: options.host,
    port: options.port,
    authenticate: (socket) => verifiedPeerOf(socket, keeper.trust, unixNow()),
    services: options.services,
    ...(options.onLink && { onLink: options.onLink }),
    log,
  });
  const address = await port.start();
  keeper.onRenewed(() => port.renewTls());
  keeper.onTrust(() => {
    port.renewTls();
    port.disconnect((peer) => keeper.trust.isRevoked(peer));
  });
  return { port, address };
}
