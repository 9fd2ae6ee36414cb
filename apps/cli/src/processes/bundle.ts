/** A domain's trust bundle as a file that one operator hands to another. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fromJsonString, toJson } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";

/** Throws `CAUSEWAY_CONFIG_INVALID` when the file is missing or is no bundle. */
export function readBundle(file: string): aca.TrustBundle {
  let bundle: aca.TrustBundle;
  try {
    bundle = fromJsonString(aca.TrustBundleSchema, readFileSync(file, "utf8"));
  } catch (cause) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a trust bundle in ${file}, made by "causeway cert export-bundle": ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  if (bundle.domain !== "" && bundle.roots.length > 0) return bundle;
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    `expected a trust bundle with a domain and its root in ${file}, got one without; ask the operator to export it anew`,
  );
}

/** Throws `CAUSEWAY_CONFIG_INVALID` when the file cannot be written. */
export function writeBundle(file: string, bundle: aca.TrustBundle): void {
  try {
    writeFileSync(file, `${JSON.stringify(toJson(aca.TrustBundleSchema, bundle), null, 2)}\n`);
  } catch (cause) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected to write the trust bundle to ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** Hex SHA-256 of each root: what two operators compare by voice. */
export function fingerprintsOf(bundle: aca.TrustBundle): string[] {
  return bundle.roots.map((root) => createHash("sha256").update(root).digest("hex"));
}
