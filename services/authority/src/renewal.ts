import { create } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
import { purposes } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { requireMember } from "./access.ts";
import { toHex } from "./bytes.ts";
import type { Caller } from "./caller.ts";
import { type AuthorityContext, audit } from "./context.ts";
import { issue } from "./issuance.ts";
import { passed } from "./material.ts";
import { parseRequests } from "./requests.ts";
import { grantOf } from "./tokens.ts";

/**
 * New certificates for the holder of a valid one: same identity, same attributes, no material (ANA-71, ANA-72). Keys may
 * change. Attributes come from the store and not from the request, so nothing can be gained by renewing.
 */
export function renew(context: AuthorityContext, caller: Caller, request: aca.RenewRequest): aca.RenewResponse {
  const { store } = context;
  return store.transaction(() => {
    const peer = requireMember(context, caller);
    const current = store.certificate(toHex(peer.serial));
    if (!current || current.purpose !== "tls") {
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN",
        `the connection's certificate is not a TLS certificate of this authority; renew with the one that expires`,
      );
    }
    refuseFlood(context, peer.spiffeId);
    const requests = parseRequests(context, peer.spiffeId, request.requests);
    const at = context.now();
    const checks = [
      passed("organisation", `certificate ${current.serial}`, at),
      passed("key", "authority", at),
      passed("scope", `certificate ${current.serial}`, at),
    ];
    const certificates = issue(context, { ...requests, grant: grantOf(current), checks });
    audit(context, "certificate.renewed", peer.spiffeId, peer.spiffeId, `from ${current.serial}`);
    return create(aca.RenewResponseSchema, {
      certificates: create(aca.CertificateSetSchema, { certificates, trust: context.feed.memberState }),
    });
  });
}

/** Each renewal stays in the store, and on the CRL should it be revoked, until it expires. */
function refuseFlood(context: AuthorityContext, spiffeId: string): void {
  const { store, settings } = context;
  const max = settings.certificatesPerIdentityMax;
  const now = context.now();
  const held = store
    .certificates(spiffeId, purposes.length * max)
    .filter((c) => c.purpose === "tls" && c.notAfterUnixMs > now);
  const oldest = held.at(-1);
  if (oldest === undefined || held.length < max) return;
  throw refuse(
    "CAUSEWAY_LIMIT_RATE",
    `${spiffeId} holds ${held.length} valid certificates, the most allowed; use the newest one`,
    { retryAfterMs: oldest.notAfterUnixMs - now, details: { limit: "certificatesPerIdentityMax", value: String(max) } },
  );
}
