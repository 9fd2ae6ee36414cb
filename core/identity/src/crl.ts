import type { UnixMs } from "@causeway/core-base";
import type { Issuer } from "./issue.ts";

/** Numbers of RFC 5280 section 5.3.1 as in `aca.RevocationReason` (8 is removeFromCRL there, 6 on our wire). */
export type RevocationReasonCode = 0 | 1 | 3 | 4 | 5 | 6 | 8 | 9;
export interface RevokedEntry {
  readonly serial: Uint8Array;
  readonly at: UnixMs;
  /** RFC 5280 CRLReason: 0 unspecified, 1 keyCompromise, 3 affiliationChanged, 4 superseded, 5 cessationOfOperation, 6 certificateHold, 8 removeFromCRL (delta only), 9 privilegeWithdrawn. */
  readonly reason: RevocationReasonCode;
}
export interface CrlContent {
  readonly number: bigint;
  readonly thisUpdate: UnixMs;
  readonly nextUpdate: UnixMs;
  readonly revoked: readonly RevokedEntry[];
  /** Present on a delta CRL: the number of the full CRL that it builds on. */
  readonly baseNumber?: bigint;
}
/** Signs a CRL, DER. */
export function createCrl(_issuer: Issuer, _content: CrlContent): Uint8Array {
  throw new Error("not yet");
}
