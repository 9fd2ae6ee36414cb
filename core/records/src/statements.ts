/**
 * What a gateway and a registry say of a record: origin statement (C-10, C-11) and registration receipt (C-13), parsed
 * from their signed bytes.
 */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type AgentId, type GatewayUri, parseAgentId, parseGatewayUri, type UnixMs } from "@causeway/core-base";
import { record } from "@causeway/core-wire";
import { malformed } from "./malformed.ts";

/** Liveness as the serving gateway reports it (C-12). */
export type Status = "online" | "degraded" | "offline" | "deregistered";

/** Version of a record at its origin. Epoch first, then sequence. */
export interface Version {
  readonly epoch: bigint;
  readonly sequence: bigint;
}

/** Checked content of an `OriginStatement`. */
export interface OriginStatement {
  readonly agentId: AgentId;
  readonly origin: GatewayUri;
  readonly version: Version;
  readonly status: Status;
  /** SHA-256 of the record body; empty exactly when withdrawn. */
  readonly bodyDigest: Uint8Array;
  readonly at: UnixMs;
  readonly withdrawn: boolean;
  readonly attachmentSequence: bigint;
}

/** Checked content of a `RegistrationReceipt`. */
export interface Receipt {
  readonly agentId: AgentId;
  readonly resourceId: string;
  readonly revision: bigint;
  readonly bodyDigest: Uint8Array;
  readonly issuedAt: UnixMs;
  readonly expiresAt: UnixMs;
}

/** Serialises a statement: the bytes that the gateway signs. */
export function encodeOriginStatement(statement: OriginStatement): Uint8Array {
  return toBinary(
    record.OriginStatementSchema,
    create(record.OriginStatementSchema, {
      agentId: statement.agentId,
      origin: statement.origin,
      epoch: statement.version.epoch,
      sequence: statement.version.sequence,
      status: statusCodes[statement.status],
      bodyDigest: statement.bodyDigest,
      atUnixMs: BigInt(statement.at),
      withdrawn: statement.withdrawn,
      attachmentSequence: statement.attachmentSequence,
    }),
  );
}

/** Parses an origin statement. Throws CAUSEWAY_RECORD_MALFORMED with the field. */
export function parseOriginStatement(bytes: Uint8Array): OriginStatement {
  const raw = decode("origin.statement", () => fromBinary(record.OriginStatementSchema, bytes));
  const digestBytes = raw.withdrawn ? 0 : 32;
  if (raw.bodyDigest.length !== digestBytes) {
    throw malformed("origin.body_digest", `expected ${digestBytes} bytes, got ${raw.bodyDigest.length}`);
  }
  if (raw.epoch < 1n || raw.sequence < 1n)
    throw malformed("origin.sequence", "expected an epoch and a sequence from 1");
  return {
    agentId: decode("origin.agent_id", () => parseAgentId(raw.agentId)),
    origin: decode("origin.origin", () => parseGatewayUri(raw.origin)),
    version: { epoch: raw.epoch, sequence: raw.sequence },
    status: raw.withdrawn ? "deregistered" : statusOf(raw.status),
    bodyDigest: raw.bodyDigest,
    at: Number(raw.atUnixMs) as UnixMs,
    withdrawn: raw.withdrawn,
    attachmentSequence: raw.attachmentSequence,
  };
}

/** Serialises a receipt: the bytes that the registry signs. */
export function encodeReceipt(receipt: Receipt): Uint8Array {
  return toBinary(
    record.RegistrationReceiptSchema,
    create(record.RegistrationReceiptSchema, {
      agentId: receipt.agentId,
      resourceId: receipt.resourceId,
      revision: receipt.revision,
      bodyDigest: receipt.bodyDigest,
      issuedUnixMs: BigInt(receipt.issuedAt),
      expiresUnixMs: BigInt(receipt.expiresAt),
    }),
  );
}

/** Parses a receipt. Throws CAUSEWAY_RECORD_MALFORMED with the field. */
export function parseReceipt(bytes: Uint8Array): Receipt {
  const raw = decode("receipt", () => fromBinary(record.RegistrationReceiptSchema, bytes));
  if (raw.bodyDigest.length !== 32)
    throw malformed("receipt.body_digest", `expected 32 bytes, got ${raw.bodyDigest.length}`);
  return {
    agentId: decode("receipt.agent_id", () => parseAgentId(raw.agentId)),
    resourceId: raw.resourceId,
    revision: raw.revision,
    bodyDigest: raw.bodyDigest,
    issuedAt: Number(raw.issuedUnixMs) as UnixMs,
    expiresAt: Number(raw.expiresUnixMs) as UnixMs,
  };
}

/** Negative when `a` is older than `b`, zero when they are the same version (C-11). */
export function compareVersions(a: Version, b: Version): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  if (a.sequence !== b.sequence) return a.sequence < b.sequence ? -1 : 1;
  return 0;
}

/** How an offered revision of a record relates to the one held. */
export type RevisionOrder = "newer" | "same" | "older" | "conflict";

/** Orders two revisions of an agent's own record; the same number for other bytes is a conflict. */
export function compareRevisions(
  held: { readonly revision: bigint; readonly digest: Uint8Array } | undefined,
  offered: { readonly revision: bigint; readonly digest: Uint8Array },
): RevisionOrder {
  if (held === undefined || offered.revision > held.revision) return "newer";
  if (offered.revision < held.revision) return "older";
  return offered.digest.every((byte, i) => byte === held.digest[i]) ? "same" : "conflict";
}

/** The wire value of a status. */
export function encodeStatus(status: Status): record.AgentStatus {
  return statusCodes[status];
}

function statusOf(code: record.AgentStatus): Status {
  switch (code) {
    case record.AgentStatus.ONLINE:
      return "online";
    case record.AgentStatus.DEGRADED:
      return "degraded";
    case record.AgentStatus.OFFLINE:
      return "offline";
    case record.AgentStatus.DEREGISTERED:
      return "deregistered";
    default:
      throw malformed("origin.status", `expected online, degraded, offline or deregistered, got ${code}`);
  }
}

function decode<T>(field: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw malformed(field, cause instanceof Error ? cause.message : "invalid");
  }
}

const statusCodes = {
  online: record.AgentStatus.ONLINE,
  degraded: record.AgentStatus.DEGRADED,
  offline: record.AgentStatus.OFFLINE,
  deregistered: record.AgentStatus.DEREGISTERED,
} as const satisfies Record<Status, record.AgentStatus>;
