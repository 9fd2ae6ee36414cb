/** Who may call what. Every check looks into the store, so that a connection that outlives a revocation gets nothing. */
import { refuse } from "@causeway/core-base";
import type { Role, VerifiedPeer } from "@causeway/core-identity";
import { hashHex, toHex } from "./bytes.ts";
import { type Caller, isApplicant } from "./caller.ts";
import type { AuthorityContext } from "./context.ts";

/** A verified peer of any trusted domain. */
export function requirePeer(context: AuthorityContext, caller: Caller): VerifiedPeer {
  if (isApplicant(caller)) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
      "expected a certificate of a trusted domain, got a self-signed one; enrol first",
    );
  }
  // A connection may outlive the certificate that it was opened with.
  if (caller.notAfter < context.now()) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
      `the certificate of ${caller.spiffeId} has expired since the connection was opened; connect anew`,
    );
  }
  if (caller.domain === context.settings.domain) requireGood(context, caller);
  return caller;
}

/** A verified peer of this domain whose certificate is neither revoked nor unknown. */
export function requireMember(context: AuthorityContext, caller: Caller): VerifiedPeer {
  const peer = requirePeer(context, caller);
  if (peer.domain === context.settings.domain) return peer;
  throw refuse(
    "CAUSEWAY_IDENTITY_DOMAIN_FOREIGN",
    `this is the authority of ${context.settings.domain}, the caller belongs to ${peer.domain}; ask the authority of that domain`,
  );
}

/** An operator of this domain. */
export function requireOperator(context: AuthorityContext, caller: Caller): VerifiedPeer {
  const peer = requireMember(context, caller);
  if (peer.role === "operator") return peer;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `this needs the role operator, ${peer.spiffeId} has the role ${peer.role}`,
  );
}

/** How the audit log names a caller. */
export function actorOf(context: AuthorityContext, caller: Caller): string {
  return isApplicant(caller) ? `key ${hashHex(context.crypto, caller.spki)}` : caller.spiffeId;
}

/** The role of a text from the wire; agent when empty. */
export function roleOf(text: string): Role {
  switch (text) {
    case "":
    case "agent":
      return "agent";
    case "gateway":
    case "registry":
    case "operator":
    case "monitor":
      return text;
    default:
      throw refuse(
        "CAUSEWAY_IDENTITY_ROLE_WRONG",
        `expected the role agent, gateway, registry, operator or monitor, got ${JSON.stringify(text.slice(0, 30))}`,
      );
  }
}

function requireGood(context: AuthorityContext, peer: VerifiedPeer): void {
  const stored = context.store.certificate(toHex(peer.serial));
  if (!stored) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN",
      `this authority has no record of the certificate of ${peer.spiffeId}; enrol again`,
    );
  }
  if (stored.revokedReason !== undefined) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
      `the certificate of ${peer.spiffeId} is revoked; enrol again, or ask an operator when it is on hold`,
    );
  }
}
