import { type AgentId, parseAgentId, refuse } from "@causeway/core-base";
import { type KeyKind, type Purpose, parseCsr, purposes } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { hashHex } from "./bytes.ts";
import type { AuthorityContext } from "./context.ts";

/** A key that is to be certified: its CSR was parsed, the key judged and its possession proved. */
export interface RequestedKey {
  readonly purpose: Purpose;
  readonly spki: Uint8Array;
  readonly hosts: readonly string[];
}

/** The CSRs of one request. */
export interface ParsedRequests {
  readonly spiffeId: AgentId;
  readonly keys: readonly RequestedKey[];
}

/** The wire's number of each purpose. */
export const wirePurposes: Readonly<Record<Purpose, aca.KeyPurpose>> = {
  tls: aca.KeyPurpose.TLS,
  mls: aca.KeyPurpose.MLS,
  record: aca.KeyPurpose.RECORD,
};

/** Parses the CSRs: each purpose once, tls among them, each over its own key, all for `spiffeId` (AGP-30, ANA-61, ANA-65). */
export function parseRequests(
  context: AuthorityContext,
  spiffeId: string,
  requests: readonly aca.CertificateRequest[],
): ParsedRequests {
  const name = parseAgentId(spiffeId);
  const keys = requests.slice(0, purposes.length + 1).map((request) => parseRequest(context, name, request));
  const seen = new Set(keys.map((key) => key.purpose));
  if (seen.size !== keys.length || !seen.has("tls")) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CSR_INVALID",
      `expected one request for each purpose and one for tls, got ${keys.map((k) => k.purpose).join(", ") || "none"}`,
    );
  }
  if (new Set(keys.map((key) => hashHex(context.crypto, key.spki))).size !== keys.length) {
    throw refuse("CAUSEWAY_IDENTITY_KEY_REFUSED", "two purposes share one key; make a key for each");
  }
  return { spiffeId: name, keys };
}

function parseRequest(context: AuthorityContext, name: AgentId, request: aca.CertificateRequest): RequestedKey {
  const purpose = purposes.find((p) => wirePurposes[p] === request.purpose);
  if (!purpose)
    throw refuse(
      "CAUSEWAY_IDENTITY_CSR_INVALID",
      `expected the purpose tls, mls or record, got number ${request.purpose}`,
    );
  const csr = parseCsr(context.crypto, request.csr);
  if (csr.spiffeId !== name) {
    throw refuse(
      "CAUSEWAY_IDENTITY_MISMATCH",
      `the ${purpose} request names ${csr.spiffeId}, the enrolment ${name}; every request has to name the same identity`,
    );
  }
  if (csr.keyKind !== keyKinds[purpose]) {
    throw refuse(
      "CAUSEWAY_IDENTITY_KEY_REFUSED",
      `expected a ${keyKinds[purpose]} key for ${purpose}, got ${csr.keyKind}`,
    );
  }
  return { purpose, spki: csr.spki, hosts: csr.hosts };
}

const keyKinds: Readonly<Record<Purpose, KeyKind>> = { tls: "P-256", mls: "Ed25519", record: "Ed25519" };
