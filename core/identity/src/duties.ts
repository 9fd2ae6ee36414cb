/**
 * Who may do what an operator does, and who may only look. A monitoring system keeps its key in a plain file, where it
 * is stolen more easily than out of a vault: its role reads metrics and nothing else.
 */
import { type Domain, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "./verified-peer.ts";

/** Throws `CAUSEWAY_IDENTITY_ROLE_WRONG` unless the caller is an operator of `domain`. */
export function requireOperatorOf(domain: Domain, caller: VerifiedPeer): VerifiedPeer {
  if (caller.role === "operator" && caller.domain === domain) return caller;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `expected an operator of ${domain}, got the ${caller.role} ${caller.spiffeId}`,
  );
}

/** Throws `CAUSEWAY_IDENTITY_ROLE_WRONG` unless the caller is an operator or a monitor of `domain`. */
export function requireMetricsReaderOf(domain: Domain, caller: VerifiedPeer): VerifiedPeer {
  if ((caller.role === "operator" || caller.role === "monitor") && caller.domain === domain) return caller;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `expected an operator or a monitor of ${domain}, got the ${caller.role} ${caller.spiffeId}`,
  );
}
