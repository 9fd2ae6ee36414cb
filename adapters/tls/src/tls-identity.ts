/** One end of a connection, and what every TLS context of the product is made of. */
import type { KeyObject } from "node:crypto";
import { constants } from "node:crypto";
import type { SecureContextOptions } from "node:tls";
import { encodePem } from "@causeway/core-identity";

/** Key and certificates of one end of a connection. */
export interface TlsIdentity {
  /** PKCS#8 PEM, or the key object. */
  readonly key: string | KeyObject;
  /** PEM, leaf first. The root is left out, except by the authority (see `fetchPinnedRoot`). */
  readonly chainPem: string;
}

/** The suites of TLS 1.3 that are offered and accepted (AGP-41); CCM is not among them. */
export const cipherSuites = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
] as const;

/** What both ends have in common. There is no other set and no option that weakens it (AGP-56). */
export function contextOptions(identity: TlsIdentity, roots: readonly Uint8Array[]): SecureContextOptions {
  return {
    key: typeof identity.key === "string" ? identity.key : identity.key.export({ format: "pem", type: "pkcs8" }),
    cert: identity.chainPem,
    // Always given, also when empty: left out, it would mean the authorities of the public web.
    ca: roots.map((root) => encodePem("CERTIFICATE", root)),
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ciphers: cipherSuites.join(":"),
    sigalgs: "ecdsa_secp256r1_sha256:ed25519",
    // A connection that is resumed would not show its certificates again, so a revoked peer could come back (AGP-43).
    // NOTE: With this flag OpenSSL still sends stateful tickets, whose session Node never stores, so none is resumed.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
