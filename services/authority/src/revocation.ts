/** Taking certificates back, at once and for everybody: store, CRL and trust state change in one transaction. */
import { create } from "@bufbuild/protobuf";
import { parseAgentId, refuse, type StoredCertificate } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { requireMember, requirePeer } from "./access.ts";
import { fromHex, toHex } from "./bytes.ts";
import type { Caller } from "./caller.ts";
import { type AuthorityContext, audit } from "./context.ts";
import { holdCode, reasonCodeOf, reasonOf } from "./reasons.ts";
import { wirePurposes } from "./requests.ts";

/** Revokes, puts on hold or restores one certificate or all of an identity (ANA-70, ANA-74 to ANA-76). */
export function revoke(context: AuthorityContext, caller: Caller, request: aca.RevokeRequest): aca.RevokeResponse {
  const { store, hierarchy, feed } = context;
  const reason = reasonCodeOf(request.reason);
  const restores = request.reason === aca.RevocationReason.REMOVE_FROM_CRL;
  const revoked = store.transaction(() => {
    const peer = requireMember(context, caller);
    const targets = targetsOf(context, peer, request);
    requireRight(peer, targets, restores);
    const open = targets.filter((c) => (restores ? c.revokedReason === holdCode : isOpenTo(c, reason)));
    if (open.length === 0 && targets.some((c) => isFinal(c) && (restores || c.revokedReason !== reason))) {
      throw refuse(
        "CAUSEWAY_IDENTITY_REVOCATION_FINAL",
        "the certificate is revoked for good; only a hold can be taken back or changed, enrol again",
      );
    }
    for (const { serial } of open) {
      store.setRevocation(serial, restores ? undefined : { reason, atUnixMs: context.now() });
    }
    if (open.length === 0) return 0;
    hierarchy.reissueCrl();
    feed.bump();
    const subject = request.spiffeId || `certificate ${toHex(request.serial)}`;
    audit(
      context,
      restores ? "certificate.restored" : "certificate.revoked",
      peer.spiffeId,
      subject,
      `reason ${reason}; ${open.length} certificates`,
    );
    return open.length;
  });
  if (revoked > 0) feed.publish();
  return create(aca.RevokeResponseSchema, { revoked });
}

/** Good, expired, revoked or unknown (ANA-69). */
export function certificateStatus(
  context: AuthorityContext,
  caller: Caller,
  request: aca.CertificateStatusRequest,
): aca.CertificateStatusResponse {
  requirePeer(context, caller);
  const stored = context.store.certificate(toHex(request.serial));
  if (!stored) return create(aca.CertificateStatusResponseSchema, { status: "unknown" });
  return create(aca.CertificateStatusResponseSchema, {
    status: statusOf(context, stored),
    reason: reasonOf(stored.revokedReason),
    atUnixMs: BigInt(stored.revokedUnixMs ?? 0),
  });
}

/** Certificates of one identity; of all for an operator. */
export function listCertificates(
  context: AuthorityContext,
  caller: Caller,
  request: aca.ListCertificatesRequest,
): aca.ListCertificatesResponse {
  const peer = requireMember(context, caller);
  const spiffeId = request.spiffeId === "" ? "" : parseAgentId(request.spiffeId);
  if (peer.role !== "operator" && spiffeId !== peer.spiffeId) {
    throw refuse(
      "CAUSEWAY_IDENTITY_ROLE_WRONG",
      `${peer.spiffeId} may list its own certificates only; others need the role operator`,
    );
  }
  const certificates = context.store.certificates(spiffeId, listedMax).map((c) =>
    create(aca.CertificateInfoSchema, {
      serial: fromHex(c.serial),
      spiffeId: c.spiffeId,
      purpose: wirePurposes[c.purpose],
      notBeforeUnixMs: BigInt(c.notBeforeUnixMs),
      notAfterUnixMs: BigInt(c.notAfterUnixMs),
      status: statusOf(context, c),
      reason: reasonOf(c.revokedReason),
    }),
  );
  return create(aca.ListCertificatesResponseSchema, { certificates });
}

function targetsOf(
  context: AuthorityContext,
  peer: VerifiedPeer,
  request: aca.RevokeRequest,
): readonly StoredCertificate[] {
  if ((request.spiffeId === "") === (request.serial.length === 0)) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected either a SPIFFE ID or a serial number, got both or neither");
  }
  if (request.spiffeId !== "") {
    const spiffeId = parseAgentId(request.spiffeId);
    // Another identity's name is refused before the store is asked, so that nobody learns which names exist.
    if (peer.role !== "operator" && peer.spiffeId !== spiffeId) throw notYours(peer);
    const all = context.store.certificates(spiffeId, revokedMax);
    if (all.length === 0) {
      throw refuse("CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN", `no certificate was issued to ${spiffeId}; check the name`);
    }
    // Expired ones too: a lapsed identity may not come back after this.
    return all;
  }
  const stored = context.store.certificate(toHex(request.serial));
  if (stored) return [stored];
  if (peer.role !== "operator") throw notYours(peer);
  throw refuse(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN",
    `no certificate with the serial number ${toHex(request.serial)} was issued; check the number`,
  );
}

/** The identity itself or an operator may revoke; only an operator may restore (ANA-75). */
function requireRight(peer: VerifiedPeer, targets: readonly StoredCertificate[], restores: boolean): void {
  if (peer.role === "operator") return;
  if (restores || targets.some((c) => c.spiffeId !== peer.spiffeId)) throw notYours(peer);
}

function notYours(peer: VerifiedPeer): Error {
  return refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `${peer.spiffeId} may revoke its own certificates only; other identities and restoring need the role operator`,
  );
}

const isFinal = (c: StoredCertificate): boolean => c.revokedReason !== undefined && c.revokedReason !== holdCode;

/** Good ones can be revoked or held; those on hold can be revoked. */
const isOpenTo = (c: StoredCertificate, reason: number): boolean =>
  c.revokedReason === undefined || (c.revokedReason === holdCode && reason !== holdCode);

function statusOf(context: AuthorityContext, stored: StoredCertificate): string {
  if (stored.revokedReason !== undefined) return "revoked";
  return stored.notAfterUnixMs < context.now() ? "expired" : "good";
}

const listedMax = 1_000;
const revokedMax = 100_000;
