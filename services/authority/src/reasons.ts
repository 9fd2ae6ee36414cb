/** Revocation reasons: the numbers of our wire beside those of RFC 5280 section 5.3.1, which the store and CRLs use. */
import { refuse } from "@causeway/core-base";
import type { RevocationReasonCode } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";

/** certificateHold, the one reason that can be taken back. */
export const holdCode: RevocationReasonCode = 6;
/** keyCompromise: the key may not be certified again. */
export const compromiseCode: RevocationReasonCode = 1;

const wire = aca.RevocationReason;

/** RFC 5280 codes by wire number. */
const codes: ReadonlyMap<aca.RevocationReason, RevocationReasonCode> = new Map<
  aca.RevocationReason,
  RevocationReasonCode
>([
  [wire.UNSPECIFIED, 0],
  [wire.KEY_COMPROMISE, 1],
  [wire.AFFILIATION_CHANGED, 3],
  [wire.SUPERSEDED, 4],
  [wire.CESSATION_OF_OPERATION, 5],
  [wire.CERTIFICATE_HOLD, 6],
  [wire.REMOVE_FROM_CRL, 8],
  [wire.PRIVILEGE_WITHDRAWN, 9],
]);

/** The RFC 5280 code of a reason from the wire. Throws `CAUSEWAY_FRAME_MALFORMED` for an unknown number. */
export function reasonCodeOf(reason: aca.RevocationReason): RevocationReasonCode {
  const code = codes.get(reason);
  if (code === undefined)
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a revocation reason from 0 to 7, got ${reason}`);
  return code;
}

/** The wire's reason for an RFC 5280 code. */
export function reasonOf(code: number | undefined): aca.RevocationReason {
  for (const [reason, known] of codes) if (known === code) return reason;
  return wire.UNSPECIFIED;
}

/** A code from the store, as CRLs take it. */
export function asReasonCode(code: number | undefined): RevocationReasonCode {
  for (const known of codes.values()) if (known === code) return known;
  return 0;
}
