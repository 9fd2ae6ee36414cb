import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodePem } from "@causeway/core-identity";

/** What OpenSSL is to judge. All DER. */
export interface OpensslCase {
  readonly root: Uint8Array;
  readonly chain: readonly Uint8Array[];
  readonly crls: readonly Uint8Array[];
  readonly atUnixMs: number;
}

/** True when `openssl verify` finds the leaf revoked, false when it accepts the chain; throws for anything else. */
export function isRevokedIn({ root, chain, crls, atUnixMs }: OpensslCase): boolean {
  const directory = mkdtempSync(join(tmpdir(), "causeway-openssl-"));
  try {
    const file = (name: string, text: string) => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const [leaf, ...above] = chain;
    const text = execFileSync(
      "openssl",
      [
        "verify",
        "-attime",
        String(Math.floor(atUnixMs / 1_000)),
        "-crl_check_all",
        "-CAfile",
        file("root.pem", encodePem("CERTIFICATE", root)),
        "-untrusted",
        file("above.pem", encodePem("CERTIFICATE", ...above)),
        "-CRLfile",
        file("crls.pem", encodePem("X509 CRL", ...crls)),
        file("leaf.pem", encodePem("CERTIFICATE", leaf ?? new Uint8Array())),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    ).toString();
    if (text.includes("OK")) return false;
    throw new Error(text);
  } catch (thrown) {
    const output = thrown instanceof Error && "stderr" in thrown ? String(thrown.stderr) : "";
    if (output.includes("certificate revoked")) return true;
    throw new Error(output || String(thrown), { cause: thrown });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
