/**
 * A digest over a set that grows and shrinks one entry at a time: the exclusive or of the entries' SHA-256 hashes. It
 * audits two honest views against each other; it is not a commitment against somebody who chooses the entries.
 */

import { getTextEncoding } from "@bufbuild/protobuf/wire";
import type { GatewayUri } from "@causeway/core-base";
import type { Version } from "@causeway/core-records";

export class SetDigest {
  readonly #sum = new Uint8Array(32);

  /** Adds an entry that is not in the set, or removes one that is. */
  toggle(hash: Uint8Array): void {
    for (let i = 0; i < 32; i++) this.#sum[i] = (this.#sum[i] ?? 0) ^ (hash[i] ?? 0);
  }

  value(): Uint8Array {
    return this.#sum.slice();
  }

  reset(): void {
    this.#sum.fill(0);
  }
}

/** Hash of one entry of a peer's view. Both sides compute it from what crossed the wire. */
export function viewHash(
  sha256: (data: Uint8Array) => Uint8Array,
  key: string,
  version: Version,
  path: readonly GatewayUri[],
): Uint8Array {
  return sha256(getTextEncoding().encodeUtf8(`${key}\n${version.epoch}.${version.sequence}\n${path.join(" ")}`));
}
