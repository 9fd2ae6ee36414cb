/**
 * The first contact of an applicant: only the fingerprint of the authority's root is known, from the join token. The
 * connection that is opened here sends nothing and believes nothing; it only reads the certificates that the server
 * presents, takes the one with the fingerprint, and closes. What is then said goes over a second connection, on which
 * `pinnedTrust` of that root verifies the server.
 */

import { createHash } from "node:crypto";
import { connect } from "node:tls";
import { CausewayError, refuse } from "@causeway/core-base";
import { chainOf } from "./peer.ts";
import { tlsErrorOf } from "./tls-error.ts";
import { contextOptions, type TlsIdentity } from "./tls-identity.ts";

/** What is known before the first contact. */
export interface PinnedRootOptions {
  /** https://host:port of the authority. */
  readonly url: string;
  /** SHA-256 of the root certificate (DER), hexadecimal. */
  readonly fingerprint: string;
  /** The applicant's self-signed certificate. */
  readonly identity: TlsIdentity;
  readonly signal?: AbortSignal;
}

/**
 * The root (DER) with the fingerprint, as the authority presents it at the end of its chain. Rejects with
 * `CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED` when it presents none, `CAUSEWAY_UNREACHABLE` when there is no TLS 1.3
 * server, `CAUSEWAY_CANCELLED`, or `CAUSEWAY_TIMEOUT` after 10 s.
 */
export function fetchPinnedRoot({ url, fingerprint, identity, signal }: PinnedRootOptions): Promise<Uint8Array> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...contextOptions(identity, []),
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port || 443),
      ALPNProtocols: ["h2"],
      // Nothing is sent or believed here: the certificate is compared with the fingerprint below.
      rejectUnauthorized: false,
    });
    const finish = (settle: () => void) => {
      signal?.removeEventListener("abort", onAbort);
      socket.removeAllListeners();
      // The socket may fail once more while it is being closed; the outcome is settled by then.
      socket.on("error", () => undefined);
      socket.destroy();
      settle();
    };
    const fail = (error: CausewayError) => finish(() => reject(error));
    const onAbort = () => fail(refuse("CAUSEWAY_CANCELLED", `the connection to ${url} was cancelled`));
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted === true) return onAbort();
    socket.setTimeout(timeoutMs, () =>
      fail(refuse("CAUSEWAY_TIMEOUT", `the authority at ${url} did not answer within ${timeoutMs} ms`)),
    );
    socket.once("error", (error) => fail(CausewayError.from(tlsErrorOf(error, url))));
    socket.once("close", () =>
      fail(refuse("CAUSEWAY_UNREACHABLE", `${url} closed the connection during the handshake`)),
    );
    socket.once("secureConnect", () => {
      const root = chainOf(socket.getPeerCertificate(true)).find((der) => sha256(der) === fingerprint.toLowerCase());
      if (root !== undefined) return finish(() => resolve(root));
      const why = `expected the authority at ${url} to present the root with the fingerprint of the join token, it did not; check the address and ask for a new token`;
      fail(refuse("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED", why));
    });
  });
}

const sha256 = (der: Uint8Array): string => createHash("sha256").update(der).digest("hex");

const timeoutMs = 10_000;
