import { create } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
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
      certificates: create(aca.CertificateSetSchema, { certificates, trust: context.feed.state }),
    });
  });
}
