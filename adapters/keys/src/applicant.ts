import { asUnixMs } from "@causeway/core-base";
import { type CryptoPort, createApplicantCertificate, encodePem } from "@causeway/core-identity";
import { TlsCredential } from "./identity.ts";
import type { KeyPair } from "./key-pair.ts";

/**
 * The TLS identity of someone who has no certificate yet: a self-signed certificate over the very key of the tls CSR,
 * valid for an hour, backdated by a minute. It proves possession of the key and nothing else.
 */
export function applicantIdentity(crypto: CryptoPort, key: KeyPair, nowUnixMs: number): TlsCredential {
  const certificate = createApplicantCertificate(crypto, key, {
    notBefore: asUnixMs(nowUnixMs - 60_000),
    notAfter: asUnixMs(nowUnixMs + 3_600_000),
  });
  return new TlsCredential(key, encodePem("CERTIFICATE", certificate));
}
