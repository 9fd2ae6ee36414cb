import type { VerifiedPeer } from "@causeway/core-identity";
import type { HandlerContext } from "@connectrpc/connect";

/** A connection that presented a self-signed certificate: nothing is known but that it holds this key. */
export interface Applicant {
  readonly applicant: true;
  /** SubjectPublicKeyInfo (DER) of the connection's certificate. */
  readonly spki: Uint8Array;
}

/** Who is at the other end of the TLS connection. */
export type Caller = VerifiedPeer | Applicant;

/** Tells who calls; injected, because only the adapters see the connection. Throws when nothing was presented. */
export type CallerOf = (context: HandlerContext) => Caller;

/** Tells the two kinds of caller apart. */
export function isApplicant(caller: Caller): caller is Applicant {
  return "applicant" in caller;
}
