/**
 * What paths of one domain are built from: the roots and intermediates of its trust bundle. Certificates above a leaf
 * are read and proven once for all leaves that come with the same, since the agents of a domain do.
 */
import { BoundedMap } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import { equalBytes } from "./bytes.ts";
import { type Certificate, fingerprintOf, parseCertificate } from "./certificate.ts";
import { isOnPath, type LeafClaims, type ProvenPath, provePath, readRoot } from "./path.ts";
import type { CryptoPort } from "./ports.ts";

/** What stands above leaves. */
export interface Above {
  /** Fingerprints of the certificates that were presented above the leaf. */
  readonly name: string;
  readonly path: ProvenPath;
  /** What the path was built from; with others it may be another one. */
  readonly anchors: Anchors;
}

/** Roots and intermediates of one bundle, and the paths that were proven with them. */
export class Anchors {
  /** By fingerprint. */
  readonly roots: ReadonlyMap<string, Certificate>;
  readonly #crypto: CryptoPort;
  readonly #intermediates: readonly Certificate[];
  /** By name. */
  readonly #above = new BoundedMap<Above>(aboveMax);

  /** Throws for a certificate that is malformed or no root. */
  constructor(crypto: CryptoPort, { roots, intermediates }: Pick<aca.TrustBundle, "roots" | "intermediates">) {
    this.#crypto = crypto;
    this.roots = new Map(roots.map((der) => [fingerprintOf(crypto, der), readRoot(crypto, der)]));
    this.#intermediates = intermediates.map(parseCertificate);
  }

  /** True when the bundle has the same certificates in the same order. */
  isOf({ roots, intermediates }: Pick<aca.TrustBundle, "roots" | "intermediates">): boolean {
    return hasSame([...this.roots.values()], roots) && hasSame(this.#intermediates, intermediates);
  }

  /**
   * Proves a leaf and what is above it. `name` are the fingerprints of `presented`. Throws
   * `CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED` or `…_MALFORMED`.
   */
  prove(leaf: LeafClaims, presented: readonly Uint8Array[], name: string): Above {
    const known = this.#above.get(name);
    if (known !== undefined && isOnPath(this.#crypto, leaf, known.path)) return known;
    const certificates = presented.map(parseCertificate);
    const path = provePath(this.#crypto, leaf, certificates, [...this.roots.values()], this.#intermediates);
    const above = { name, path, anchors: this };
    this.#above.set(name, above);
    return above;
  }
}

function hasSame(certificates: readonly Certificate[], ders: readonly Uint8Array[]): boolean {
  return (
    certificates.length === ders.length &&
    certificates.every(({ der }, i) => equalBytes(der, ders[i] ?? new Uint8Array()))
  );
}

/** Most of what stands above leaves that is remembered of a domain; the oldest is forgotten first. */
const aboveMax = 256;
