/** What the keeper needs of the network, injected by the composition root (adapters do not know each other). */
import { CausewayError, type Domain, isCausewayError, refuse } from "@causeway/core-base";
import type { PeerVerifier } from "@causeway/core-identity";
import { common, fromErrorDetail } from "@causeway/core-wire";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { TlsIdentity } from "./identity.ts";

/** A connection to an authority that is asked for. */
export interface AuthorityConnection {
  /** https://host:port */
  readonly url: string;
  /** Own certificate, a self-signed one during enrolment. Read again for each new TLS connection. */
  readonly identity: () => TlsIdentity;
  /** Judges the server. */
  readonly trust: PeerVerifier;
  readonly expect: { readonly roles: readonly ["authority"]; readonly domain?: Domain };
}

/** A transport that may hold a connection; closed when the keeper stops or has renewed. */
export type AuthorityTransport = Transport & { close?(): void };

/** Makes a Connect transport to an authority. */
export type ConnectAuthority = (connection: AuthorityConnection) => AuthorityTransport;

/** Gets the root (DER) whose SHA-256 is known from a join token, before anything else is trusted. */
export type FetchRoot = (options: {
  readonly url: string;
  readonly fingerprint: string;
  readonly identity: TlsIdentity;
  readonly signal?: AbortSignal;
}) => Promise<Uint8Array>;

/** What a call to an authority failed with, as an error of the table. */
export function callErrorOf(thrown: unknown): CausewayError {
  if (isCausewayError(thrown)) return thrown;
  if (!(thrown instanceof ConnectError)) return CausewayError.from(thrown);
  const detail = thrown.findDetails(common.ErrorDetailSchema)[0];
  if (detail) return fromErrorDetail(detail);
  if (isCausewayError(thrown.cause)) return thrown.cause;
  switch (thrown.code) {
    case Code.Canceled:
      return refuse("CAUSEWAY_CANCELLED", "the call to the authority was cancelled", { cause: thrown });
    case Code.DeadlineExceeded:
      return refuse("CAUSEWAY_TIMEOUT", "the authority did not answer in time; the outcome is unknown", {
        cause: thrown,
      });
    default:
      return refuse("CAUSEWAY_UNREACHABLE", `the authority did not answer (${thrown.rawMessage})`, { cause: thrown });
  }
}
