/**
 * Signatures of records, origin statements and receipts (AMSP-105, AMSP-108). The rules — who may sign what, which
 * digest belongs to which body, whose namespace a name is in — live here; the cryptography is a synchronous port, so
 * that a simulator can use keyed hashes. `VerifiedRecord`, `VerifiedOrigin` and `RegisteredRecord` are made in this
 * file only.
 */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  CausewayError,
  domainOf,
  type GatewayUri,
  isPrefixOf,
  pathOf,
  refuse,
  type UnixMs,
} from "@causeway/core-base";
import {
  type CryptoPort,
  type LabelledBytes,
  labelled,
  type PeerVerifier,
  type Role,
  type VerifiedPeer,
  verifySignature,
} from "@causeway/core-identity";
import { type common, record } from "@causeway/core-wire";
import { type AgentRecord, checkRecordSize, parseRecordBody } from "./record.ts";
import { type OriginStatement, parseOriginStatement, parseReceipt, type Receipt } from "./statements.ts";

declare const verified: unique symbol;

/** A record whose signature, owner, size and fields were checked. */
export interface VerifiedRecord {
  readonly [verified]: "record";
  readonly record: AgentRecord;
  /** SHA-256 of the body. */
  readonly digest: Uint8Array;
  readonly signed: record.SignedRecord;
  readonly signer: VerifiedPeer;
}

/** A statement that the origin gateway signed and had the authority to make. */
export interface VerifiedOrigin {
  readonly [verified]: "origin";
  readonly statement: OriginStatement;
  readonly signed: record.SignedOrigin;
  readonly signer: VerifiedPeer;
}

/** A verified record together with the receipt of its domain's registry: what a gateway may announce. */
export interface RegisteredRecord {
  readonly [verified]: "registered";
  readonly verified: VerifiedRecord;
  readonly receipt: Receipt;
}

/** Cryptography that the verifier needs. */
export interface SignaturePort {
  sha256(data: Uint8Array): Uint8Array;
  /** Verifies chain (purpose record, valid at `signedAt`, not revoked at `now`) and signature. Throws CAUSEWAY_IDENTITY_*. */
  verify(
    signature: common.Signature | undefined,
    message: LabelledBytes,
    options: { readonly now: UnixMs; readonly signedAt: UnixMs; readonly roles: readonly Role[] },
  ): VerifiedPeer;
}

/** Checks what other parties signed. Every method throws a CausewayError that says what is wrong. */
export interface RecordVerifier {
  /** The agent itself signed (CAUSEWAY_RECORD_NOT_OWNER otherwise), in the form and size that is allowed. */
  verifyRecord(signed: record.SignedRecord, now: UnixMs): VerifiedRecord;
  /** The gateway that the statement names signed, and the agent's name is under its domain and namespaces. */
  verifyOrigin(signed: record.SignedOrigin, now: UnixMs): VerifiedOrigin;
  /** The registry of the agent's domain accepted exactly this record (CAUSEWAY_RECORD_NOT_REGISTERED otherwise). */
  verifyReceipt(record: VerifiedRecord, signed: record.SignedReceipt | undefined, now: UnixMs): RegisteredRecord;
}

/** Production signatures: chains judged by the trust store. */
export function trustedSignatures(trust: PeerVerifier, crypto: CryptoPort): SignaturePort {
  return {
    sha256: (data) => crypto.sha256(data),
    verify: (signature, message, options) =>
      verifySignature(trust, crypto, signature, message, { ...options, purpose: "record" }),
  };
}

/** The one verifier of records. */
export function createRecordVerifier(signatures: SignaturePort): RecordVerifier {
  return {
    verifyRecord: (signed, now) => verifyRecord(signatures, signed, now),
    verifyOrigin: (signed, now) => verifyOrigin(signatures, signed, now),
    verifyReceipt: (verifiedRecord, signed, now) => verifyReceipt(signatures, verifiedRecord, signed, now),
  };
}

function verifyRecord(signatures: SignaturePort, signed: record.SignedRecord, now: UnixMs): VerifiedRecord {
  checkRecordSize(toBinary(record.SignedRecordSchema, signed).length);
  const parsed = parseRecordBody(signed.body);
  const signer = signatures.verify(signed.agentSignature, labelled("record", signed.body), {
    now,
    signedAt: signingTime("record", parsed.updatedAt, now),
    roles: ["agent"],
  });
  if (signer.spiffeId !== parsed.agentId) {
    throw refuse(
      "CAUSEWAY_RECORD_NOT_OWNER",
      `expected the signature of ${parsed.agentId}, got that of ${signer.spiffeId}; only the agent may sign its record`,
    );
  }
  return { record: parsed, digest: signatures.sha256(signed.body), signed, signer } as VerifiedRecord;
}

function verifyOrigin(signatures: SignaturePort, signed: record.SignedOrigin, now: UnixMs): VerifiedOrigin {
  const statement = parseOriginStatement(signed.statement);
  const signer = signatures.verify(signed.signature, labelled("origin", signed.statement), {
    now,
    signedAt: signingTime("origin statement", statement.at, now),
    roles: ["gateway"],
  });
  checkOriginAuthority(statement.agentId, statement.origin, signer);
  return { statement, signed, signer } as VerifiedOrigin;
}

/**
 * AMSP-108: a gateway announces only agents of its own domain and of the namespaces that its certificate names, and
 * only under its own certified URI. Throws CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED.
 */
export function checkOriginAuthority(agentId: AgentId, origin: GatewayUri, signer: VerifiedPeer): void {
  const gateway = signer.gateway;
  const deny = (problem: string): CausewayError =>
    refuse("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED", problem, { details: { agentId, origin, signer: signer.spiffeId } });
  if (gateway === undefined) throw deny(`expected a gateway as origin, got ${signer.spiffeId}`);
  if (gateway.uri !== origin) throw deny(`expected the origin ${gateway.uri} of the signer, got ${origin}`);
  if (domainOf(agentId) !== signer.domain) {
    throw deny(`expected an agent of ${signer.domain}, got ${agentId}; a gateway announces its own domain only`);
  }
  const path = pathOf(agentId);
  if (gateway.namespaces.length > 0 && !gateway.namespaces.some((prefix) => isPrefixOf(prefix, path))) {
    throw deny(`expected a name under ${gateway.namespaces.join(" or ")}, got ${path}`);
  }
}

function verifyReceipt(
  signatures: SignaturePort,
  verifiedRecord: VerifiedRecord,
  signed: record.SignedReceipt | undefined,
  now: UnixMs,
): RegisteredRecord {
  const deny = (problem: string): CausewayError =>
    refuse("CAUSEWAY_RECORD_NOT_REGISTERED", `${problem}; register the record at the registry of its domain`);
  if (signed === undefined) throw deny("expected a receipt, got none");
  const receipt = parseReceipt(signed.receipt);
  const signer = signatures.verify(signed.signature, labelled("receipt", signed.receipt), {
    now,
    signedAt: signingTime("receipt", receipt.issuedAt, now),
    roles: ["registry"],
  });
  const { agentId, domain, revision } = verifiedRecord.record;
  if (signer.domain !== domain) throw deny(`expected a receipt of ${domain}'s registry, got one of ${signer.spiffeId}`);
  if (receipt.agentId !== agentId) throw deny(`expected a receipt for ${agentId}, got one for ${receipt.agentId}`);
  if (receipt.revision !== revision || !equalBytes(receipt.bodyDigest, verifiedRecord.digest)) {
    throw deny(`expected a receipt for revision ${revision} of this body, got one for revision ${receipt.revision}`);
  }
  if (receipt.expiresAt <= now) throw deny(`expected a valid receipt, got one that expired at ${receipt.expiresAt}`);
  return { verified: verifiedRecord, receipt } as RegisteredRecord;
}

/**
 * A certificate lives for a day and a record for longer, so a chain is judged at the time of signing; revocation is
 * judged now, by the current lists. A claimed time in the future or far in the past is refused.
 */
function signingTime(what: string, claimed: UnixMs, now: UnixMs): UnixMs {
  if (claimed > now + clockSkewMsMax) {
    throw refuse(
      "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
      `expected a ${what} signed before ${now}, got one signed at ${claimed}; check the signer's clock`,
    );
  }
  if (claimed < now - signatureAgeMsMax) {
    throw refuse(
      "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
      `expected a ${what} signed in the last ${signatureAgeMsMax} ms, got one signed at ${claimed}; sign again`,
    );
  }
  return claimed < now ? claimed : now;
}

/** Parses a serialised SignedRecord that this process verified before it stored it; no signature check. */
export function parseStoredRecord(bytes: Uint8Array): {
  readonly signed: record.SignedRecord;
  readonly record: AgentRecord;
} {
  const signed = fromBinary(record.SignedRecordSchema, bytes);
  return { signed, record: parseRecordBody(signed.body) };
}

/** Parses a serialised SignedOrigin that this process verified before it stored it; no signature check. */
export function parseStoredOrigin(bytes: Uint8Array): {
  readonly signed: record.SignedOrigin;
  readonly statement: OriginStatement;
} {
  const signed = fromBinary(record.SignedOriginSchema, bytes);
  return { signed, statement: parseOriginStatement(signed.statement) };
}

/** Bytes compared by value. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Tolerated difference between a signer's clock and ours. */
export const clockSkewMsMax = 300_000;
/** Oldest signature that is still accepted: 90 days. A live agent signs anew with each certificate. */
export const signatureAgeMsMax = 7_776_000_000;
