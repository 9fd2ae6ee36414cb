/**
 * Revocation state of one domain: for each CA the newest full list and a delta on top of it. A list counts only after
 * its signature was verified with the CA's key, and an older list never replaces a newer one, so that nobody can undo a
 * revocation by replaying. Without a usable list nothing of the CA is accepted (ANA-76: fails closed).
 */
import type { UnixMs } from "@causeway/core-base";
import { equalBytes, toHex } from "./bytes.ts";
import type { Certificate } from "./certificate.ts";
import { type Crl, isCrlIssuedBy, parseCrl, type RevocationReasonCode } from "./crl.ts";
import type { CryptoPort } from "./ports.ts";

/** How long after its `nextUpdate` a list is still used: 24 h. Then everything of its issuer is refused. */
export const crlGraceMs = 86_400_000;

/** How far ahead of our clock a list may be dated: 5 min. */
export const crlSkewMs = 300_000;

/** Why a certificate is revoked. */
export interface Revocation {
  readonly at: UnixMs;
  readonly reason: RevocationReasonCode;
}

/** The lists of one domain. */
export class Revocations {
  readonly #crypto: CryptoPort;
  readonly #crls: readonly Crl[];
  readonly #byCa = new Map<string, Effective>();
  /** The same, found without hashing: proven paths are shared, so the same objects ask. */
  readonly #byCertificate = new WeakMap<Certificate, Effective>();

  /** Takes over those lists of `before` that were in use, so that they cannot be rolled back. */
  constructor(crypto: CryptoPort, ders: readonly Uint8Array[], before?: Revocations) {
    this.#crypto = crypto;
    const parsed = ders.map(parseCrl);
    const held = before === undefined ? [] : [...before.#byCa.values()].flatMap(({ full, delta }) => [full, delta]);
    const kept = held
      .filter((crl) => crl !== undefined)
      .filter((crl) => !parsed.some((p) => equalBytes(p.signed.signature, crl.signed.signature)));
    this.#crls = [...parsed, ...kept];
  }

  /** The revocation of a certificate of `ca`, or undefined. */
  find(ca: Certificate, serial: Uint8Array): Revocation | undefined {
    const { full, delta } = this.#effective(ca);
    const key = toHex(serial);
    const change = delta?.revoked.get(key);
    if (change !== undefined) return change.reason === removeFromCrl ? undefined : change;
    return full?.revoked.get(key);
  }

  /** Why the lists of `ca` cannot be used at `now`; undefined when they can. */
  staleness(ca: Certificate, now: UnixMs): string | undefined {
    const { full, delta } = this.#effective(ca);
    const newest = delta ?? full;
    if (newest === undefined) return "there is no revocation list of the issuer";
    if (newest.thisUpdate > now + crlSkewMs) return "the revocation list is dated in the future; check the clock";
    if (now > newest.nextUpdate + crlGraceMs)
      return "the revocation list is older than its next update and the grace time";
    return undefined;
  }

  #effective(ca: Certificate): Effective {
    const same = this.#byCertificate.get(ca);
    if (same !== undefined) return same;
    const effective = this.#find(ca);
    this.#byCertificate.set(ca, effective);
    return effective;
  }

  #find(ca: Certificate): Effective {
    const key = toHex(this.#crypto.sha256(ca.der));
    const known = this.#byCa.get(key);
    if (known !== undefined) return known;
    const own = this.#crls.filter((crl) => isCrlIssuedBy(this.#crypto, crl, ca));
    const full = newestOf(own.filter((crl) => crl.baseNumber === undefined));
    const delta =
      full &&
      newestOf(
        own.filter((crl) => crl.baseNumber !== undefined && crl.baseNumber <= full.number && crl.number > full.number),
      );
    const effective: Effective = { ...(full && { full }), ...(delta && { delta }) };
    this.#byCa.set(key, effective);
    return effective;
  }
}

interface Effective {
  readonly full?: Crl;
  readonly delta?: Crl;
}

/** By date first: an authority that was restored from a backup may have lost count, and still has a clock. */
function newestOf(crls: readonly Crl[]): Crl | undefined {
  return crls.toSorted((a, b) => b.thisUpdate - a.thisUpdate || (b.number > a.number ? 1 : -1))[0];
}

/** CRLReason that takes an entry away again; only in delta lists. */
const removeFromCrl = 8;
