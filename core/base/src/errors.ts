/**
 * The one table of errors (AGP-61) and the one error class. A code says what happened, its family whose fault it is,
 * its wire code how it travels on gRPC and HTTP. Codes are API: they are added, never changed.
 */

/** Whose fault an error is. */
export type ErrorFamily = "misuse" | "peer-fault" | "refused" | "environment" | "internal";

/** The gRPC status names that the table uses. */
export type StatusName =
  | "INVALID_ARGUMENT"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "UNAUTHENTICATED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DEADLINE_EXCEEDED"
  | "CANCELLED"
  | "UNKNOWN";

interface ErrorEntry {
  readonly family: ErrorFamily;
  readonly status: StatusName;
  readonly retryable: boolean;
  /** One sentence for the reference page: when it occurs and what to do. */
  readonly text: string;
}

const entry = (family: ErrorFamily, status: StatusName, retryable: boolean, text: string): ErrorEntry => ({
  family,
  status,
  retryable,
  text,
});

/** Every error code of the product. */
export const errorTable = {
  CAUSEWAY_NAME_INVALID: entry(
    "refused",
    "INVALID_ARGUMENT",
    false,
    "A name does not follow the grammar. Correct the name.",
  ),
  CAUSEWAY_CONFIG_INVALID: entry(
    "misuse",
    "INVALID_ARGUMENT",
    false,
    "The configuration does not follow its schema. The message has the path and the nearest known key.",
  ),
  CAUSEWAY_MISUSE: entry(
    "misuse",
    "FAILED_PRECONDITION",
    false,
    "The caller broke the contract of an interface, for example by using it after close.",
  ),
  CAUSEWAY_INTERNAL: entry(
    "internal",
    "INTERNAL",
    false,
    "A defect of Causeway. The log of the reporting process has the cause.",
  ),
  CAUSEWAY_UNSUPPORTED: entry("refused", "UNIMPLEMENTED", false, "The feature is not part of this version."),
  CAUSEWAY_TIMEOUT: entry("environment", "DEADLINE_EXCEEDED", true, "No answer came in time; the outcome is unknown."),
  CAUSEWAY_CANCELLED: entry("refused", "CANCELLED", false, "The caller cancelled the operation."),
  CAUSEWAY_UNREACHABLE: entry("environment", "UNAVAILABLE", true, "The other side cannot be reached over the network."),
  CAUSEWAY_PORT_IN_USE: entry(
    "environment",
    "FAILED_PRECONDITION",
    false,
    "Another process listens on the port. Choose another port or stop that process.",
  ),
  CAUSEWAY_STORE_FULL: entry(
    "environment",
    "RESOURCE_EXHAUSTED",
    true,
    "The disk is full. Nothing was stored; free space and retry.",
  ),
  CAUSEWAY_STORE_FAILED: entry(
    "environment",
    "INTERNAL",
    true,
    "The store could not read or write. The log has the cause.",
  ),
  CAUSEWAY_STORE_IN_USE: entry(
    "environment",
    "FAILED_PRECONDITION",
    false,
    "Another process uses the directory. Stop that process, or use a directory of its own.",
  ),

  CAUSEWAY_FRAME_MALFORMED: entry(
    "peer-fault",
    "INVALID_ARGUMENT",
    false,
    "The bytes are not a frame of this protocol.",
  ),
  CAUSEWAY_FRAME_TOO_LARGE: entry(
    "peer-fault",
    "RESOURCE_EXHAUSTED",
    false,
    "The frame is larger than the limit. Send larger content in chunks.",
  ),
  CAUSEWAY_FRAME_UNEXPECTED: entry(
    "peer-fault",
    "FAILED_PRECONDITION",
    false,
    "The frame does not fit the state of the link.",
  ),
  CAUSEWAY_FRAME_UNKNOWN: entry("peer-fault", "UNIMPLEMENTED", false, "The frame's type is not known to this version."),
  CAUSEWAY_HEADER_INVALID: entry(
    "peer-fault",
    "INVALID_ARGUMENT",
    false,
    "A field of the routing header is missing or out of range.",
  ),
  CAUSEWAY_PAYLOAD_NOT_MLS: entry(
    "peer-fault",
    "INVALID_ARGUMENT",
    false,
    "The payload is not an MLS private message or welcome. Gateways carry nothing else.",
  ),

  CAUSEWAY_IDENTITY_CERTIFICATE_MISSING: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The connection presented no certificate.",
  ),
  CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The certificate cannot be parsed or breaks the profile.",
  ),
  CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The certificate is expired or not yet valid. Renew it, or check the clock.",
  ),
  CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The certificate is revoked. Enrol again.",
  ),
  CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The certificate is self-signed. Enrol at the domain's authority.",
  ),
  CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The certificate does not chain to the trust bundle of its domain.",
  ),
  CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "No trust bundle is configured for the domain. An operator has to exchange bundles.",
  ),
  CAUSEWAY_IDENTITY_CRL_STALE: entry(
    "refused",
    "UNAVAILABLE",
    true,
    "The revocation list is older than the grace time. The authority has to be reachable again.",
  ),
  CAUSEWAY_IDENTITY_ROLE_WRONG: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The certificate does not certify the role that this operation needs.",
  ),
  CAUSEWAY_IDENTITY_MISMATCH: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The name does not belong to the authenticated identity.",
  ),
  CAUSEWAY_IDENTITY_SIGNATURE_INVALID: entry("refused", "UNAUTHENTICATED", false, "A signature does not verify."),
  CAUSEWAY_IDENTITY_KEY_REFUSED: entry(
    "refused",
    "INVALID_ARGUMENT",
    false,
    "The key's type or size is not accepted. Use P-256 or Ed25519.",
  ),
  CAUSEWAY_IDENTITY_CSR_INVALID: entry(
    "refused",
    "INVALID_ARGUMENT",
    false,
    "The certificate request is malformed or lacks proof of possession.",
  ),
  CAUSEWAY_IDENTITY_TOKEN_INVALID: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The join token is unknown, used, expired or for another name.",
  ),
  CAUSEWAY_IDENTITY_APPLICATION_PENDING: entry(
    "refused",
    "FAILED_PRECONDITION",
    true,
    "An operator has not decided on the application yet.",
  ),
  CAUSEWAY_IDENTITY_APPLICATION_REJECTED: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "An operator rejected the application.",
  ),
  CAUSEWAY_IDENTITY_APPLICATION_UNKNOWN: entry(
    "refused",
    "NOT_FOUND",
    false,
    "There is no such application, or it belongs to another key.",
  ),
  CAUSEWAY_IDENTITY_APPLICATION_DECIDED: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "The application has been decided already.",
  ),
  CAUSEWAY_IDENTITY_MATERIAL_MISSING: entry(
    "refused",
    "INVALID_ARGUMENT",
    false,
    "The application lacks supporting material. The message lists what is missing.",
  ),
  CAUSEWAY_IDENTITY_DOMAIN_FOREIGN: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The name is outside the domain that this authority serves. Ask the authority of its own domain.",
  ),
  CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN: entry(
    "refused",
    "NOT_FOUND",
    false,
    "The authority has issued no such certificate.",
  ),
  CAUSEWAY_IDENTITY_REVOCATION_FINAL: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "Only a certificate on hold can be restored. Enrol again.",
  ),
  CAUSEWAY_IDENTITY_NAME_TAKEN: entry(
    "refused",
    "ALREADY_EXISTS",
    false,
    "Another key holds a valid certificate for the name. Choose another name, or get a token for exactly this one.",
  ),
  CAUSEWAY_IDENTITY_BUNDLE_INVALID: entry(
    "refused",
    "INVALID_ARGUMENT",
    false,
    "The trust bundle is malformed, for another domain, or its parts do not verify.",
  ),
  CAUSEWAY_IDENTITY_NOT_ENROLLED: entry(
    "misuse",
    "FAILED_PRECONDITION",
    false,
    "There is no identity on disk and no join token. Get a token from an operator of the domain.",
  ),
  CAUSEWAY_KEYS_MASTER_MISSING: entry(
    "environment",
    "FAILED_PRECONDITION",
    false,
    "The master key file does not exist. Restore it, or remove the data directory and enrol again.",
  ),
  CAUSEWAY_KEYS_MASTER_UNSAFE: entry(
    "misuse",
    "FAILED_PRECONDITION",
    false,
    "The master key file may be read by others or lies inside the data directory. Set its mode to 0600 or move it.",
  ),
  CAUSEWAY_KEYS_MASTER_WRONG: entry(
    "environment",
    "FAILED_PRECONDITION",
    false,
    "The master key is not the one that wrapped the stored keys. Use the file that was made with the data directory.",
  ),
  CAUSEWAY_KEYS_FILE_TAMPERED: entry(
    "environment",
    "INTERNAL",
    false,
    "A stored key was changed, renamed or damaged. Restore it from a copy, or enrol again.",
  ),

  CAUSEWAY_ATTACHMENT_PROOF_INVALID: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The proof of the Agent ID is wrong, replayed or bound to another connection.",
  ),
  CAUSEWAY_ATTACHMENT_REQUIRED: entry("refused", "FAILED_PRECONDITION", false, "The link is not attached."),
  CAUSEWAY_ATTACHMENT_LEASE_EXPIRED: entry(
    "refused",
    "FAILED_PRECONDITION",
    true,
    "The attachment lease has expired. Attach again.",
  ),
  CAUSEWAY_ATTACHMENT_REPLACED: entry(
    "refused",
    "ABORTED",
    false,
    "A newer attachment of the same instance took over.",
  ),
  CAUSEWAY_ATTACHMENT_OUTDATED: entry(
    "refused",
    "ABORTED",
    true,
    "The attachment sequence is older than the one held. Attach again with a newer one.",
  ),
  CAUSEWAY_ATTACHMENT_DETACHED: entry("refused", "ABORTED", false, "An operator or a revocation ended the attachment."),
  CAUSEWAY_ATTACHMENT_FEATURE_MISSING: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "The other side lacks a feature that is needed.",
  ),

  CAUSEWAY_FORWARDING_NO_ROUTE: entry("refused", "NOT_FOUND", false, "No gateway on the way knows the target."),
  CAUSEWAY_FORWARDING_NOT_ATTACHED: entry("refused", "UNAVAILABLE", true, "The target is known and not attached now."),
  CAUSEWAY_FORWARDING_TTL_EXHAUSTED: entry(
    "refused",
    "OUT_OF_RANGE",
    false,
    "The message passed as many gateways as its hop TTL allows.",
  ),
  CAUSEWAY_FORWARDING_EXPIRED: entry("refused", "DEADLINE_EXCEEDED", false, "The message's expiry time has passed."),
  CAUSEWAY_FORWARDING_TOO_LARGE: entry(
    "refused",
    "RESOURCE_EXHAUSTED",
    false,
    "The message is larger than 4 MiB. Send it in chunks.",
  ),
  CAUSEWAY_FORWARDING_NOT_ALLOWED: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "Policy does not allow this source to reach this target.",
  ),
  CAUSEWAY_FORWARDING_OVERLOADED: entry(
    "refused",
    "RESOURCE_EXHAUSTED",
    true,
    "A queue on the way is full. Slow down and retry.",
  ),
  CAUSEWAY_FORWARDING_PEER_LOST: entry(
    "refused",
    "UNAVAILABLE",
    true,
    "The gateway that leads to the target is not connected now.",
  ),
  CAUSEWAY_MAILBOX_FULL: entry(
    "refused",
    "RESOURCE_EXHAUSTED",
    true,
    "The target is away and its mailbox, or the sender's share of it, is full. The detail names the limit.",
  ),
  CAUSEWAY_MAILBOX_ATTEMPTS: entry(
    "refused",
    "ABORTED",
    false,
    "The stored message was handed to the agent as often as allowed and never acknowledged.",
  ),
  CAUSEWAY_MAILBOX_CLOSED: entry(
    "refused",
    "NOT_FOUND",
    false,
    "The agent was deregistered or revoked while the message waited for it.",
  ),
  CAUSEWAY_GATEWAY_DRAINING: entry(
    "refused",
    "UNAVAILABLE",
    true,
    "The gateway is going out of service. Attach elsewhere.",
  ),
  CAUSEWAY_LIMIT_RATE: entry(
    "refused",
    "RESOURCE_EXHAUSTED",
    true,
    "The caller is over a rate limit. The detail names the limit and when to retry.",
  ),
  CAUSEWAY_LIMIT_COUNT: entry(
    "refused",
    "RESOURCE_EXHAUSTED",
    false,
    "The caller is over a count limit. The detail names the limit.",
  ),

  CAUSEWAY_TOPIC_NOT_FOUND: entry("refused", "NOT_FOUND", false, "The topic does not exist."),
  CAUSEWAY_TOPIC_EXISTS: entry("refused", "ALREADY_EXISTS", false, "The topic exists already."),
  CAUSEWAY_TOPIC_NOT_ALLOWED: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The topic's policy does not allow this to the caller.",
  ),

  CAUSEWAY_RECORD_MALFORMED: entry(
    "refused",
    "INVALID_ARGUMENT",
    false,
    "The record or its card does not follow the schema. The message has the field.",
  ),
  CAUSEWAY_RECORD_TOO_LARGE: entry("refused", "RESOURCE_EXHAUSTED", false, "The record is larger than 16 KiB."),
  CAUSEWAY_RECORD_OLDER: entry("refused", "ABORTED", false, "A newer version of the record is held."),
  CAUSEWAY_RECORD_NOT_OWNER: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "Only the agent itself may change its record.",
  ),
  CAUSEWAY_RECORD_NOT_FOUND: entry("refused", "NOT_FOUND", false, "No such record is visible to the caller."),
  CAUSEWAY_RECORD_NOT_REGISTERED: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "The record has no valid receipt of the domain's registry. Register first.",
  ),

  CAUSEWAY_SYNC_PATH_MISSING: entry("peer-fault", "INVALID_ARGUMENT", false, "The update has no PATH attribute."),
  CAUSEWAY_SYNC_PATH_INVALID: entry(
    "peer-fault",
    "INVALID_ARGUMENT",
    false,
    "The first element of PATH is not the sending gateway, or PATH repeats or is too long.",
  ),
  CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED: entry(
    "peer-fault",
    "PERMISSION_DENIED",
    false,
    "The origin gateway has no authority over the agent's name.",
  ),
  CAUSEWAY_SYNC_VERSION_UNSUPPORTED: entry(
    "peer-fault",
    "FAILED_PRECONDITION",
    false,
    "The peer speaks no common version of AMSP.",
  ),
  CAUSEWAY_SYNC_PEER_NOT_ALLOWED: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The gateway is not allowed as a peer, or claims a level that it is not certified for.",
  ),
  CAUSEWAY_SYNC_DUPLICATE_GATEWAY: entry(
    "refused",
    "ALREADY_EXISTS",
    false,
    "Another gateway with the same identity is connected.",
  ),
  CAUSEWAY_SYNC_BODY_MISSING: entry(
    "refused",
    "FAILED_PRECONDITION",
    true,
    "The update left out a record body that the receiver does not hold. The sender repeats it with the body.",
  ),
  CAUSEWAY_SYNC_OUT_OF_SCOPE: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "The record is outside the scope that the gateway keeps.",
  ),
  CAUSEWAY_SYNC_VIEW_MISMATCH: entry(
    "peer-fault",
    "ABORTED",
    true,
    "The views of the two gateways differ after repeated complete snapshots.",
  ),
  CAUSEWAY_SYNC_LIMIT_RECORDS: entry(
    "refused",
    "RESOURCE_EXHAUSTED",
    false,
    "The peer sent more records than allowed.",
  ),

  CAUSEWAY_E2EE_NO_KEY_PACKAGE: entry("refused", "NOT_FOUND", true, "The target has no key package left."),
  CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED: entry(
    "refused",
    "FAILED_PRECONDITION",
    true,
    "A key package is expired, was used before, or does not verify. The agent has to publish fresh ones.",
  ),
  CAUSEWAY_E2EE_SUITE_MISMATCH: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "The agent has key packages for another MLS suite only; the detail names it. Use that suite.",
  ),
  CAUSEWAY_E2EE_GROUP_UNKNOWN: entry(
    "misuse",
    "NOT_FOUND",
    false,
    "This agent is not a member of a group with that id.",
  ),
  CAUSEWAY_E2EE_CONTEXT_UNKNOWN: entry(
    "refused",
    "FAILED_PRECONDITION",
    true,
    "The receiver has no group for this security context. Establish a new one.",
  ),
  CAUSEWAY_E2EE_STALE_EPOCH: entry("refused", "ABORTED", true, "Another commit won this epoch."),
  CAUSEWAY_E2EE_DECRYPT_FAILED: entry(
    "peer-fault",
    "INVALID_ARGUMENT",
    false,
    "The message does not decrypt or was seen before.",
  ),
  CAUSEWAY_E2EE_SENDER_MISMATCH: entry(
    "peer-fault",
    "PERMISSION_DENIED",
    false,
    "The sender in the header is not the sender of the MLS message.",
  ),
  CAUSEWAY_E2EE_STATE_CORRUPT: entry(
    "environment",
    "INTERNAL",
    false,
    "The stored group state cannot be opened. Wipe it and join again.",
  ),
  CAUSEWAY_AGENT_HANDLER_FAILED: entry("refused", "UNKNOWN", false, "The remote agent's handler failed."),
  CAUSEWAY_STREAM_UNKNOWN: entry(
    "peer-fault",
    "UNAVAILABLE",
    true,
    "The other end of a stream has ended or was restarted. Open a new stream.",
  ),
  CAUSEWAY_AGENT_NO_HANDLER: entry("refused", "UNIMPLEMENTED", false, "The remote agent does not handle this."),
  CAUSEWAY_RECORD_INNER_URL: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "The card names addresses of an inner network, which everybody who finds the agent would read.",
  ),
  CAUSEWAY_BRIDGE_TOKEN_INVALID: entry(
    "refused",
    "UNAUTHENTICATED",
    false,
    "The endpoint of a bridge needs its token as Authorization: Bearer TOKEN.",
  ),
  CAUSEWAY_DIRECT_NOT_ALLOWED: entry(
    "refused",
    "PERMISSION_DENIED",
    false,
    "A direct link is not allowed: the other agent is of another domain, or a policy forbids it. Send through the gateway.",
  ),
  CAUSEWAY_DIRECT_NO_WAY: entry(
    "refused",
    "FAILED_PRECONDITION",
    false,
    "Messages of the domain go directly only, and no direct way to the agent is known. Name it in direct.peers, or let one of the two listen.",
  ),
} as const satisfies Record<string, ErrorEntry>;

/** A code of the table. */
export type ErrorCode = keyof typeof errorTable;

/** What crosses a wire of an error; mirrors `causeway.common.v1.ErrorDetail`. */
export interface ErrorFacts {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryAfterMs?: number;
  readonly details?: Readonly<Record<string, string>>;
}

const errorBrand = Symbol.for("causeway.error");

/** Any error of the product. `cause` stays in the process; the rest may cross a wire. */
export class CausewayError extends Error {
  override readonly name = "CausewayError";
  readonly code: ErrorCode;
  readonly retryAfterMs: number;
  readonly details: Readonly<Record<string, string>>;
  readonly [errorBrand] = true;

  constructor(facts: ErrorFacts, options?: { readonly cause?: unknown }) {
    super(facts.message, options);
    this.code = facts.code;
    this.retryAfterMs = facts.retryAfterMs ?? 0;
    this.details = facts.details ?? {};
  }

  get family(): ErrorFamily {
    return errorTable[this.code].family;
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }

  get status(): StatusName {
    return errorTable[this.code].status;
  }

  /**
   * The one conversion of anything thrown. An error that wraps one of ours as its cause (an RPC library's, for example)
   * is that one; what is not ours becomes CAUSEWAY_INTERNAL with the original as cause.
   */
  static from(thrown: unknown): CausewayError {
    if (isCausewayError(thrown)) return thrown;
    if (thrown instanceof Error && isCausewayError(thrown.cause)) return thrown.cause;
    return new CausewayError(
      { code: "CAUSEWAY_INTERNAL", message: "an internal error occurred; the log of this process has the cause" },
      { cause: thrown },
    );
  }
}

/** True for errors of this class, also from another copy of this package. */
export function isCausewayError(thrown: unknown): thrown is CausewayError {
  return typeof thrown === "object" && thrown !== null && errorBrand in thrown;
}

/** True when `text` is a code of the table. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorTable, text);
}

/** Makes an error of the table: what was expected, what came, what to do. */
export function refuse(
  code: ErrorCode,
  message: string,
  more?: {
    readonly details?: Readonly<Record<string, string>>;
    readonly retryAfterMs?: number;
    readonly cause?: unknown;
  },
): CausewayError {
  return new CausewayError(
    {
      code,
      message,
      ...(more?.details && { details: more.details }),
      ...(more?.retryAfterMs !== undefined && { retryAfterMs: more.retryAfterMs }),
    },
    more?.cause === undefined ? undefined : { cause: more.cause },
  );
}
