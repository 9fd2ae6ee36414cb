/** Bringing back an identity whose certificates have expired: it proves its keys and gets what it had. */
import type { CryptoPort } from "@causeway/core-identity";
import { type Enrolled, type Enrolment, type EnrolOptions, enrol } from "./enrolment.ts";

/** Enrols again with the keys that are held. Refused when the identity was revoked, or lapsed too long ago. */
export function restoreLapsed(
  options: Omit<EnrolOptions, "enrolment" | "keys" | "replaced">,
  held: Enrolled,
): Promise<Enrolled> {
  return enrol({ ...options, enrolment: enrolmentOf(options.crypto, held), keys: held.identity.keys() });
}

/** Without material: the certificates that have expired vouch for it. */
function enrolmentOf(crypto: CryptoPort, { identity, trust }: Enrolled): Enrolment {
  const root = trust.bundles[0]?.roots[0] ?? new Uint8Array();
  return {
    authorityUrl: identity.authorityUrl,
    rootFingerprint: Buffer.from(crypto.sha256(root)).toString("hex"),
    spiffeId: identity.spiffeId,
    material: { organisation: "", developer: "", functionType: "", scopes: [] },
  };
}
