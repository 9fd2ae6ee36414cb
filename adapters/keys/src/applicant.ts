import { refuse } from "@causeway/core-base";
import type { TlsIdentity } from "./identity.ts";
import type { KeyPair } from "./key-pair.ts";

/** A self-signed certificate over the applicant's TLS key, valid for an hour: it proves possession during enrolment. */
export function applicantIdentity(_key: KeyPair, _nowUnixMs: number): TlsIdentity {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
