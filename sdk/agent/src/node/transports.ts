/** How the adapters fit together for an agent: HTTP/2 over TLS 1.3, with servers judged by their certified identity. */
import { type ClientTransport, createTransport, type H2Limits, type Link, openLink } from "@causeway/adapter-h2";
import type { ConnectAuthority, FetchRoot } from "@causeway/adapter-keys";
import {
  clientOptions,
  type ExpectedServer,
  fetchPinnedRoot,
  type TlsIdentity,
  tlsErrorOf,
  verifiedServerOf,
} from "@causeway/adapter-tls";
import { asUnixMs, type UnixMs } from "@causeway/core-base";
import type { PeerVerifier } from "@causeway/core-identity";

/** Who dials, and who has to answer. */
export interface Dial {
  readonly url: string;
  /** Read for each new connection, so that a renewed certificate is used. */
  readonly identity: () => TlsIdentity;
  readonly trust: PeerVerifier;
  readonly expect: ExpectedServer;
  readonly limits?: Partial<H2Limits>;
}

const now = (): UnixMs => asUnixMs(Date.now());

const dialOptions = ({ url, identity, trust, expect, limits }: Dial) => ({
  url,
  ...(limits && { limits }),
  tls: () => clientOptions({ identity: identity(), trust, expect, now }),
  authenticate: (socket: Parameters<typeof verifiedServerOf>[0]) => verifiedServerOf(socket, { trust, expect, now }),
  explain: tlsErrorOf,
});

/** A link to a gateway. */
export const dialLink = (dial: Dial, signal: AbortSignal): Promise<Link> => openLink({ ...dialOptions(dial), signal });

/** A transport for the services of a server. */
export const dialTransport = (dial: Dial): ClientTransport => createTransport(dialOptions(dial));

/** The authority, as the identity keeper asks for it. */
export const connectAuthority: ConnectAuthority = (connection) => dialTransport(connection);

export const fetchRoot: FetchRoot = (options) => fetchPinnedRoot(options);
