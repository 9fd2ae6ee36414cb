/**
 * What stands in a segment file. A file is a header and batches; a batch is what one commit wrote: its length, a CRC-32
 * of its body, and records one after the other. A batch counts as a whole or not at all, so that a write that was cut
 * off leaves nothing behind. Numbers are little-endian; names are ASCII.
 */
import { type AgentId, asUnixMs, type ErrorFacts, isErrorCode, type StoredMail } from "@causeway/core-base";

/** "CWMB", version 2. */
export const fileHeader = Buffer.from([0x43, 0x57, 0x4d, 0x42, 2, 0, 0, 0]);
/** Where in it the version is. */
export const formatAt = 4;
export const batchHeaderBytes = 8;

/** Kinds of records; `next` is a message with the names of the one before it in the batch, which most have. */
const kinds = { mail: 1, gone: 2, dead: 3, alive: 4, next: 5 } as const;

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
export const mailHeadBytes = 1 + 1 + 8 + 8 + 8 + 16 + 4;
/** Bytes of the lengths of its names. */
const lengthsBytes = 2 + 2 + 1;

/** The names of a message with their lengths, which stand behind its head. The frame comes after them. */
export function namesOf({ agentId, source, instance }: StoredMail): Buffer {
  const names = Buffer.from(agentId + source + instance, "latin1");
  const lengths = Buffer.alloc(lengthsBytes);
  lengths.writeUInt16LE(agentId.length, 0);
  lengths.writeUInt16LE(source.length, 2);
  lengths[4] = instance.length;
  return Buffer.concat([lengths, names]);
}

/**
 * Writes the head of a message's record at `at`; `view` is of the same memory. `isNext` when its names are those of the
 * message before it in the batch, and are left out.
 */
export function writeMailHead(view: DataView, into: Buffer, at: number, mail: StoredMail, isNext: boolean): void {
  const { id } = mail;
  into[at] = isNext ? kinds.next : kinds.mail;
  into[at + 1] = mail.isTraced ? 1 : 0;
  view.setFloat64(at + 2, mail.sequence, true);
  view.setFloat64(at + 10, mail.storedAt, true);
  view.setFloat64(at + 18, mail.expiresAt, true);
  for (let i = 0; i < 16; i++) into[at + 26 + i] = id.charCodeAt(i);
  view.setUint32(at + 42, mail.bytes, true);
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
  let before: StoredMail | undefined;
  while (at < body.length) {
    const kind = body[at];
    if (kind === kinds.mail || kind === kinds.next) {
      if (kind === kinds.next && before === undefined) throw new RangeError("no names to take");
      const record = readMail(body, at, kind === kinds.next ? before : undefined);
      yield record;
      before = record.mail;
      at = record.end;
    } else if (kind === kinds.gone) {
      const count = body.readUInt32LE(at + 1);
      for (let i = 0; i < count; i++) yield { kind: "gone", sequence: readSequence(body, at + 5 + 8 * i) };
      at += 5 + 8 * count;
    } else if (kind === kinds.dead) {
      const length = body.readUInt32LE(at + 17);
      const error = errorOf(body.toString("utf8", at + 21, at + 21 + length));
      yield { kind: "dead", sequence: readSequence(body, at + 1), at: body.readDoubleLE(at + 9), error };
      at += 21 + length;
    } else if (kind === kinds.alive) {
      yield { kind: "alive", sequence: readSequence(body, at + 1), expiresAt: body.readDoubleLE(at + 9) };
      at += 17;
    } else throw new RangeError(`no kind of record: ${kind}`);
  }
}

/** `named` is the message whose names it has. */
function readMail(body: Buffer, at: number, named: StoredMail | undefined): MailRecord {
  const bytes = body.readUInt32LE(at + 42);
  const namesAt = at + mailHeadBytes;
  const { names, end: start } = named === undefined ? readNames(body, namesAt) : { names: named, end: namesAt };
  if (start + bytes > body.length) throw new RangeError("a record is longer than its batch");
  const mail: StoredMail = {
    sequence: readSequence(body, at + 2),
    agentId: names.agentId,
    source: names.source,
    instance: names.instance,
    id: body.toString("latin1", at + 26, at + 42),
    bytes,
    storedAt: asUnixMs(body.readDoubleLE(at + 10)),
    expiresAt: asUnixMs(body.readDoubleLE(at + 18)),
    isTraced: body[at + 1] === 1,
  };
  return { kind: "mail", mail, at, start, end: start + bytes };
}

/** Places are found by counting: another number would be taken for the place of another message. */
function readSequence(body: Buffer, at: number): number {
  const sequence = body.readDoubleLE(at);
  if (!Number.isSafeInteger(sequence) || sequence < 0) throw new RangeError(`no sequence: ${sequence}`);
  return sequence;
}

function readNames(body: Buffer, at: number) {
  const from = at + lengthsBytes;
  const agentEnd = from + body.readUInt16LE(at);
  const sourceEnd = agentEnd + body.readUInt16LE(at + 2);
  const end = sourceEnd + body.readUInt8(at + 4);
  const names = {
    agentId: body.toString("latin1", from, agentEnd) as AgentId,
    source: body.toString("latin1", agentEnd, sourceEnd),
    instance: body.toString("latin1", sourceEnd, end),
  };
  return { names, end };
}

/** A newer program may have written a code that this one does not know. */
function errorOf(text: string): ErrorFacts {
  const error = JSON.parse(text) as ErrorFacts;
  return isErrorCode(error.code) ? error : { ...error, code: "CAUSEWAY_INTERNAL" };
}
