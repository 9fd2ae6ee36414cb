/**
 * What stands in a segment file. A file is a header and batches; a batch is what one commit wrote: its length, a CRC-32
 * of its body, and records one after the other. A batch counts as a whole or not at all, so that a write that was cut
 * off leaves nothing behind. Numbers are little-endian; names are ASCII.
 */
import { type AgentId, asUnixMs, type ErrorFacts, isErrorCode, type StoredMail } from "@causeway/core-base";

/** "CWMB", version 1. */
export const fileHeader = Buffer.from([0x43, 0x57, 0x4d, 0x42, 1, 0, 0, 0]);
export const batchHeaderBytes = 8;

/** Kinds of records. */
const kinds = { mail: 1, gone: 2, dead: 3, alive: 4 } as const;

/** What is noted of a message that is stored already. */
export type Mark =
  | { readonly kind: "dead"; readonly sequence: number; readonly at: number; readonly error: ErrorFacts }
  | { readonly kind: "alive"; readonly sequence: number; readonly expiresAt: number };

/** A message in a batch: its record begins at `at` of the body, its frame is from `start` to `end`. */
export interface MailRecord {
  readonly kind: "mail";
  readonly mail: StoredMail;
  readonly at: number;
  readonly start: number;
  readonly end: number;
}

/** One record of a batch. */
export type Record = MailRecord | Mark | { readonly kind: "gone"; readonly sequence: number };

/** Bytes of a message's record without the names and the frame. */
export const mailHeadBytes = 1 + 1 + 2 + 2 + 1 + 8 + 8 + 8 + 16 + 4;

/** The names in a message's record, which stand behind its head. The frame comes after them. */
export function namesOf({ agentId, source, instance }: StoredMail): Buffer {
  return Buffer.from(agentId + source + instance, "latin1");
}

/** Writes the head of a message's record at `at`; `view` is of the same memory. */
export function writeMailHead(view: DataView, into: Buffer, at: number, mail: StoredMail): void {
  into[at] = kinds.mail;
  into[at + 1] = mail.isTraced ? 1 : 0;
  view.setUint16(at + 2, mail.agentId.length, true);
  view.setUint16(at + 4, mail.source.length, true);
  into[at + 6] = mail.instance.length;
  view.setFloat64(at + 7, mail.sequence, true);
  view.setFloat64(at + 15, mail.storedAt, true);
  view.setFloat64(at + 23, mail.expiresAt, true);
  for (let i = 0; i < 16; i++) into[at + 31 + i] = mail.id.charCodeAt(i);
  view.setUint32(at + 47, mail.bytes, true);
}

/** The records of marks, and of messages that are gone, which come after. */
export function encodeMarks(marks: readonly Mark[], gone: readonly number[]): Buffer {
  const pieces = marks.map((mark) => (mark.kind === "dead" ? encodeDead(mark) : encodeAlive(mark)));
  if (gone.length > 0) pieces.push(encodeGone(gone));
  return Buffer.concat(pieces);
}

function encodeGone(gone: readonly number[]): Buffer {
  const piece = Buffer.alloc(5 + 8 * gone.length);
  piece[0] = kinds.gone;
  piece.writeUInt32LE(gone.length, 1);
  for (const [i, sequence] of gone.entries()) piece.writeDoubleLE(sequence, 5 + 8 * i);
  return piece;
}

function encodeDead(mark: Extract<Mark, { kind: "dead" }>): Buffer {
  const text = Buffer.from(JSON.stringify(mark.error));
  const piece = Buffer.alloc(21 + text.length);
  piece[0] = kinds.dead;
  piece.writeDoubleLE(mark.sequence, 1);
  piece.writeDoubleLE(mark.at, 9);
  piece.writeUInt32LE(text.length, 17);
  piece.set(text, 21);
  return piece;
}

function encodeAlive(mark: Extract<Mark, { kind: "alive" }>): Buffer {
  const piece = Buffer.alloc(17);
  piece[0] = kinds.alive;
  piece.writeDoubleLE(mark.sequence, 1);
  piece.writeDoubleLE(mark.expiresAt, 9);
  return piece;
}

/** The records of a body whose CRC is right. Throws a RangeError for one that is no body of ours. */
export function* readRecords(body: Buffer): Generator<Record> {
  let at = 0;
  while (at < body.length) {
    const kind = body[at];
    if (kind === kinds.mail) {
      const record = readMail(body, at);
      yield record;
      at = record.end;
    } else if (kind === kinds.gone) {
      const count = body.readUInt32LE(at + 1);
      for (let i = 0; i < count; i++) yield { kind: "gone", sequence: body.readDoubleLE(at + 5 + 8 * i) };
      at += 5 + 8 * count;
    } else if (kind === kinds.dead) {
      const length = body.readUInt32LE(at + 17);
      const error = errorOf(body.toString("utf8", at + 21, at + 21 + length));
      yield { kind: "dead", sequence: body.readDoubleLE(at + 1), at: body.readDoubleLE(at + 9), error };
      at += 21 + length;
    } else if (kind === kinds.alive) {
      yield { kind: "alive", sequence: body.readDoubleLE(at + 1), expiresAt: body.readDoubleLE(at + 9) };
      at += 17;
    } else throw new RangeError(`no kind of record: ${kind}`);
  }
}

function readMail(body: Buffer, at: number): MailRecord {
  const agentLength = body.readUInt16LE(at + 2);
  const sourceLength = body.readUInt16LE(at + 4);
  const instanceLength = body[at + 6] ?? 0;
  const bytes = body.readUInt32LE(at + 47);
  const names = at + mailHeadBytes;
  const text = (from: number, length: number): string => body.toString("latin1", from, from + length);
  const start = names + agentLength + sourceLength + instanceLength;
  if (start + bytes > body.length) throw new RangeError("a record is longer than its batch");
  const mail: StoredMail = {
    sequence: body.readDoubleLE(at + 7),
    agentId: text(names, agentLength) as AgentId,
    source: text(names + agentLength, sourceLength),
    instance: text(names + agentLength + sourceLength, instanceLength),
    id: text(at + 31, 16),
    bytes,
    storedAt: asUnixMs(body.readDoubleLE(at + 15)),
    expiresAt: asUnixMs(body.readDoubleLE(at + 23)),
    isTraced: body[at + 1] === 1,
  };
  return { kind: "mail", mail, at, start, end: start + bytes };
}

/** A newer program may have written a code that this one does not know. */
function errorOf(text: string): ErrorFacts {
  const error = JSON.parse(text) as ErrorFacts;
  return isErrorCode(error.code) ? error : { ...error, code: "CAUSEWAY_INTERNAL" };
}
