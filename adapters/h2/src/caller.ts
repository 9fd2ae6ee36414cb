import { refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { type ContextKey, createContextKey, type HandlerContext } from "@connectrpc/connect";

/** A connection that presented a self-signed certificate: nothing is known but that it holds this key. */
export interface Applicant {
  readonly applicant: true;
  /** SubjectPublicKeyInfo (DER) of the connection's certificate. */
  readonly spki: Uint8Array;
}

/** Who is at the other end of a TLS connection. */
export type Caller = VerifiedPeer | Applicant;

/** Context key of whoever called; set by the port for every Connect handler. */
export const callerKey: ContextKey<Caller | undefined> = createContextKey<Caller | undefined>(undefined, {
  description: "authenticated end of the TLS connection",
});

/** Who called a Connect handler. Throws CAUSEWAY_IDENTITY_CERTIFICATE_MISSING outside a port. */
export function callerOf(context: Pick<HandlerContext, "values">): Caller {
  const caller = context.values.get(callerKey);
  if (caller === undefined) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
      "expected an authenticated connection, got none; present a certificate",
    );
  }
  return caller;
}

/** The verified peer that called a Connect handler. Throws CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED for an applicant. */
export function peerOf(context: Pick<HandlerContext, "values">): VerifiedPeer {
  const caller = callerOf(context);
  if (isApplicant(caller)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
      "expected a certificate of the domain's authority, got a self-signed one; enrol first",
    );
  }
  return caller;
}

/** The caller in a log line. */
export const nameOf = (caller: Caller): string => (isApplicant(caller) ? "applicant" : caller.spiffeId);

/** Tells the two kinds of caller apart. */
export function isApplicant(caller: Caller): caller is Applicant {
  return "applicant" in caller;
}
