import type { Domain, UnixMs } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import type { CryptoPort, Purpose, Role } from "./ports.ts";
import type { VerifiedPeer } from "./verified-peer.ts";

export interface VerifyOptions {
  readonly now: UnixMs;
  readonly purpose: Purpose;
  /** Accepted roles; any when left out. */
  readonly roles?: readonly Role[];
}
/** What can judge a chain: a `TrustStore`, or `pinnedTrust` during enrolment. */
export interface PeerVerifier {
  verifyChain(chain: readonly Uint8Array[], options: VerifyOptions): VerifiedPeer;
  /** DER roots of every trusted domain. */
  roots(): readonly Uint8Array[];
}
/** A part of a trust state that could not be used. The domain concerned fails closed. */
export interface TrustProblem {
  readonly domain: string;
  readonly message: string;
}
export class TrustStore implements PeerVerifier {
  constructor(_crypto: CryptoPort) {}
  get sequence(): bigint {
    throw new Error("not yet");
  }
  /** Takes over a new state. Bundles that cannot be used are left out (fail closed) and returned. */
  replace(_state: aca.TrustState): readonly TrustProblem[] {
    throw new Error("not yet");
  }
  domains(): readonly Domain[] {
    throw new Error("not yet");
  }
  roots(): readonly Uint8Array[] {
    throw new Error("not yet");
  }
  verifyChain(_chain: readonly Uint8Array[], _options: VerifyOptions): VerifiedPeer {
    throw new Error("not yet");
  }
  /** True when the peer's certificate or one above it is revoked, or its domain's root is no longer trusted. */
  isRevoked(_peer: VerifiedPeer): boolean {
    throw new Error("not yet");
  }
}
/** Judges by one root that is known by fingerprint (join token): everything but revocation, for the enrolment only. */
export function pinnedTrust(_crypto: CryptoPort, _root: Uint8Array): PeerVerifier {
  throw new Error("not yet");
}
