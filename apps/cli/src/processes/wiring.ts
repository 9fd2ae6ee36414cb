/** How the adapters fit together in a service: its port, kept in step with its identity and with trust. */
import {
  createPort,
  type H2Limits,
  type Link,
  type PageMaker,
  type Port,
  type PortAddress,
} from "@causeway/adapter-h2";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { serverOptions, verifiedPeerOf } from "@causeway/adapter-tls";
import { asUnixMs, type CausewayError, type Log, refuse, type UnixMs } from "@causeway/core-base";
import type { ConnectRouter } from "@connectrpc/connect";

export { connectAuthority, dialLink, dialTransport, fetchRoot } from "@causeway/agent/transports";

/** What somebody hears whose certificate is revoked while connected. */
export const revoked = (): CausewayError =>
  refuse("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", "the certificate of this connection is revoked; enrol again");

export const unixNow = (): UnixMs => asUnixMs(Date.now());

/** Opens the port of a service whose identity a keeper holds, and keeps it in step with renewals and trust. */
export async function servePort(options: {
  readonly keeper: IdentityKeeper;
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  readonly services: (router: ConnectRouter) => void;
  readonly onLink?: (link: Link) => void;
  readonly pages?: ReadonlyMap<string, PageMaker>;
  /** Threads that do TCP and TLS; default 0. */
  readonly workers?: number;
  readonly limits: Partial<H2Limits>;
}): Promise<{ readonly port: Port; readonly address: PortAddress }> {
  const { keeper, log } = options;
  const port = createPort({
    tls: () => serverOptions(keeper.identity.tls()),
    host: options.host,
    port: options.port,
    authenticate: (socket) => verifiedPeerOf(socket, keeper.trust, unixNow()),
    services: options.services,
    ...(options.onLink && { onLink: options.onLink }),
    ...(options.pages && { pages: options.pages }),
    limits: options.limits,
    ...(options.workers !== undefined && { workers: options.workers }),
    log,
  });
  const address = await port.start();
  keeper.onRenewed(() => port.renewTls());
  keeper.onTrust(() => {
    // After the service, which may have more to say to whoever is out than that the connection ends.
    queueMicrotask(() => port.disconnect((peer) => keeper.trust.isRevoked(peer), revoked()));
  });
  return { port, address };
}
