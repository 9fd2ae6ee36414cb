/**
 * The one place that writes a private key unsealed: programs that are not ours read it from a file and know no vault.
 * Only of a monitor, whose role reads metrics and nothing else (ADR 80).
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { refuse } from "@causeway/core-base";
import { encodePem } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import { named, writeFileAtomic } from "./atomic-file.ts";
import type { Identity } from "./identity.ts";

/** Names of the files in their directory. */
export const plainFiles = { certificate: "cert.pem", key: "key.pem", authorities: "ca.pem" } as const;

/**
 * Writes certificate chain, key and the roots of the own domain as PEM, each file replaced as a whole with mode 0600. A
 * directory that is not there is made with mode 0700. Throws `CAUSEWAY_IDENTITY_ROLE_WRONG` for every other role, and
 * `CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED` for a trust state without a root of the own domain; no file is touched then.
 */
export async function writePlainFiles(directory: string, identity: Identity, trust: aca.TrustState): Promise<void> {
  if (identity.role !== "monitor") {
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      `expected a monitor, whose key may lie in a file, got the ${identity.role} ${identity.spiffeId}; its key stays in the vault`,
    );
  }
  const roots = trust.bundles.find(({ domain }) => domain === identity.domain)?.roots ?? [];
  if (roots.length === 0) {
    throw refuse(
      "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
      `expected a root of ${identity.domain} in the trust state for ${plainFiles.authorities}, got none; it comes with the next update of the authority`,
    );
  }
  const { key, chainPem } = identity.tls();
  await named(directory, () => mkdir(directory, { recursive: true, mode: 0o700 }));
  const write = (name: string, text: string): Promise<void> =>
    writeFileAtomic(join(directory, name), Buffer.from(text));
  await write(plainFiles.authorities, encodePem("CERTIFICATE", ...roots));
  await write(plainFiles.key, key);
  await write(plainFiles.certificate, chainPem);
}
