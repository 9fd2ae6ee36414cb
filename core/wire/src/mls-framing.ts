/**
 * MLS public framing (RFC 9420 section 6), without the MLS library and without keys: tells whether a payload is exactly
 * one MLSMessage of wire format private_message or welcome, with consistent lengths and nothing after it. Everything
 * else is refused (AGP-55), also public messages, key packages and group infos, which show content or members to
 * gateways. It decides admission only: forwarding depends on nothing that is found here (AAP-97).
 */
import { CausewayError, type ErrorFacts } from "@causeway/core-base";
import { wireLimits } from "./limits.ts";

/** Wire formats that a gateway carries. */
export const MlsWireFormat = { privateMessage: 2, welcome: 3 } as const;
/** Content types of a private message. */
export const MlsContentType = { application: 1, proposal: 2, commit: 3 } as const;

/** Result of one scan; reused. Offsets are absolute. */
export class MlsScan {
  buf: Uint8Array = new Uint8Array(0);
  wireFormat = 0;
  /** Private message only. */
  groupIdStart = 0;
  groupIdEnd = 0;
  epochHigh = 0;
  epochLow = 0;
  contentType = 0;
  senderDataStart = 0;
  senderDataEnd = 0;
  ciphertextStart = 0;

  /** Group id, copied. */
  groupId(): Uint8Array {
    // Not `slice`, which copies nothing of a Node buffer.
    return new Uint8Array(this.buf.subarray(this.groupIdStart, this.groupIdEnd));
  }

  epoch(): bigint {
    return (BigInt(this.epochHigh) << 32n) | BigInt(this.epochLow);
  }
}

/** What the public framing shows. */
export type MlsPayload =
  | {
      readonly wireFormat: "private_message";
      readonly groupId: Uint8Array;
      readonly epoch: bigint;
      readonly contentType: "application" | "proposal" | "commit";
    }
  | { readonly wireFormat: "welcome" };

/** Scans `[start, end)` without allocating. Returns undefined, or the `CAUSEWAY_PAYLOAD_NOT_MLS` that says why not. */
export function scanMls(buf: Uint8Array, start: number, end: number, into: MlsScan): ErrorFacts | undefined {
  if (into.buf !== buf) into.buf = buf;
  into.wireFormat = into.contentType = into.epochHigh = into.epochLow = 0;
  into.groupIdStart = into.groupIdEnd = end;
  if (start < 0 || end > buf.length || end - start < 4) return refusals.short;
  if (uint16(buf, start) !== 1) return refusals.version;
  const format = uint16(buf, start + 2);
  let at: number;
  if (format === MlsWireFormat.privateMessage) at = passPrivateMessage(buf, start + 4, end, into);
  else if (format === MlsWireFormat.welcome) at = passWelcome(buf, start + 4, end);
  else return refusals.wireFormat;
  if (at < 0) return at === bad.authenticatedData ? refusals.authenticatedData : refusals.lengths;
  if (at !== end) return refusals.trailing;
  into.wireFormat = format;
  return undefined;
}

/** Parses one payload. Throws `CAUSEWAY_PAYLOAD_NOT_MLS`. */
export function checkMlsPayload(payload: Uint8Array): MlsPayload {
  const scan = new MlsScan();
  const refusal = scanMls(payload, 0, payload.length, scan);
  if (refusal !== undefined) throw new CausewayError(refusal);
  if (scan.wireFormat === MlsWireFormat.welcome) return { wireFormat: "welcome" };
  return {
    wireFormat: "private_message",
    groupId: scan.groupId(),
    epoch: scan.epoch(),
    contentType: scan.contentType === 1 ? "application" : scan.contentType === 2 ? "proposal" : "commit",
  };
}

// struct { opaque group_id<V>; uint64 epoch; ContentType content_type; opaque authenticated_data<V>;
//          opaque encrypted_sender_data<V>; opaque ciphertext<V>; } PrivateMessage;
function passPrivateMessage(buf: Uint8Array, start: number, end: number, into: MlsScan): number {
  let at = passVector(buf, start, end);
  if (at < 0) return at;
  into.groupIdStart = vector.from;
  into.groupIdEnd = at;
  if (end - at < 9) return bad.lengths;
  into.epochHigh = uint16(buf, at) * 65_536 + uint16(buf, at + 2);
  into.epochLow = uint16(buf, at + 4) * 65_536 + uint16(buf, at + 6);
  const contentType = buf[at + 8] as number;
  if (contentType < MlsContentType.application || contentType > MlsContentType.commit) return bad.lengths;
  into.contentType = contentType;
  at = passVector(buf, at + 9, end);
  if (at < 0) return at;
  if (at - vector.from > wireLimits.mlsAuthenticatedDataBytesMax) return bad.authenticatedData;
  at = passSealed(buf, at, end);
  if (at < 0) return at;
  into.senderDataStart = vector.from;
  into.senderDataEnd = at;
  at = passSealed(buf, at, end);
  into.ciphertextStart = vector.from;
  return at;
}

// struct { CipherSuite cipher_suite; EncryptedGroupSecrets secrets<V>; opaque encrypted_group_info<V>; } Welcome;
// struct { opaque new_member<V>; struct { opaque kem_output<V>; opaque ciphertext<V>; } } EncryptedGroupSecrets;
function passWelcome(buf: Uint8Array, start: number, end: number): number {
  if (end - start < 2) return bad.lengths;
  const secretsEnd = passVector(buf, start + 2, end);
  if (secretsEnd < 0) return secretsEnd;
  let at = vector.from;
  if (at === secretsEnd) return bad.lengths;
  while (at < secretsEnd) {
    for (let part = 0; part < 3; part++) {
      at = part === 2 ? passSealed(buf, at, secretsEnd) : passVector(buf, at, secretsEnd);
      if (at < 0) return at;
    }
  }
  return passSealed(buf, at, end);
}

/** A vector that holds the output of an AEAD: never shorter than the tag of any suite of RFC 9420. */
function passSealed(buf: Uint8Array, start: number, end: number): number {
  const at = passVector(buf, start, end);
  return at >= 0 && at - vector.from < 16 ? bad.lengths : at;
}

/** RFC 9420 section 2.1.2: a variable-size length of 1, 2 or 4 bytes in its shortest form, then the content. */
function passVector(buf: Uint8Array, start: number, end: number): number {
  if (start >= end) return bad.lengths;
  const first = buf[start] as number;
  const size = 1 << (first >> 6);
  if (size === 8 || end - start < size) return bad.lengths;
  let length = first & 0x3f;
  for (let i = 1; i < size; i++) length = length * 256 + (buf[start + i] as number);
  if ((size === 2 && length < 64) || (size === 4 && length < 16_384)) return bad.lengths;
  const from = start + size;
  if (length > end - from) return bad.lengths;
  vector.from = from;
  return from + length;
}

function uint16(buf: Uint8Array, at: number): number {
  return (buf[at] as number) * 256 + (buf[at + 1] as number);
}

/** Where the content of the vector passed last begins. */
const vector = { from: 0 };
const bad = { lengths: -1, authenticatedData: -2 };

const notMls = (message: string): ErrorFacts => ({ code: "CAUSEWAY_PAYLOAD_NOT_MLS", message });
const refusals = {
  short: notMls("expected an MLSMessage, got fewer than 4 bytes"),
  version: notMls("expected an MLSMessage of version mls10, got something else; plaintext is never carried"),
  wireFormat: notMls("expected wire format private_message or welcome; gateways carry no other"),
  lengths: notMls("expected an MLSMessage with consistent fields, got lengths or types that do not fit"),
  authenticatedData: notMls(
    `expected at most ${wireLimits.mlsAuthenticatedDataBytesMax} bytes of clear authenticated_data`,
  ),
  trailing: notMls("expected one MLSMessage, got bytes after its end"),
} as const;
