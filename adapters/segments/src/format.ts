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
  | { readonly kind: "gone"; readonly sequence: number }
  | { readonly kind: "dead"; readonly sequence: number; readonly at: number; readonly error: ErrorFacts }
  | { readonly kind: "alive"; readonly sequence: number; readonly expiresAt: number };

/** One record of a batch. `start` and `end` are where the frame of a message is in the body. */
export type Record =
  | { readonly kind: "mail"; readonly mail: StoredMail; readonly start: number; readonly end: number }
  | Mark;

const mailHeadBytes = 1 + 1 + 2 + 2 + 1 + 8 + 8 + 8 + 16 + 4;

/** Bytes of a message's record. */
export function mailBytes(mail: StoredMail): number {
  return mailHeadBytes + mail.agentId.length + mail.source.length + mail.instance.length + mail.bytes;
}

/** Writes a message's record at `at` but for its frame; answers where the frame goes. */
export function writeMail(into: Buffer, at: number, mail: StoredMail): number {
  const { agentId, source, instance, id } = mail;
  into[at] = kinds.mail;
  into[at + 1] = mail.isTraced ? 1 : 0;
  into.writeUInt16LE(agentId.length, at + 2);
  into.writeUInt16LE(source.length, at + 4);
  into[at + 6] = instance.length;
  into.writeDoubleLE(mail.sequence, at + 7);
  into.writeDoubleLE(mail.storedAt, at + 15);
  into.writeDoubleLE(mail.expiresAt, at + 23);
  into.write(id, at + 31, 16, "latin1");
  into.writeUInt32LE(mail.bytes, at + 47);
  let end = at + mailHeadBytes;
  end += into.write(agentId, end, agentId.length, "latin1");
  end += into.write(source, end, source.length, "latin1");
  if (instance !== "") end += into.write(instance, end, instance.length, "latin1");
  return end;
}

/** The records of marks, those of one kind that follow each other together. */
export function encodeMarks(marks: readonly Mark[]): Buffer {
  const pieces: Buffer[] = [];
  let gone: number[] = [];
  const endGone = (): void => {
    if (gone.length === 0) return;
    const piece = Buffer.alloc(5 + 8 * gone.length);
    piece[0] = kinds.gone;
    piece.writeUInt32LE(gone.length, 1);
    for (const [i, sequence] of gone.entries()) piece.writeDoubleLE(sequence, 5 + 8 * i);
    pieces.push(piece);
    gone = [];
  };
  for (const mark of marks) {
    if (mark.kind === "gone") {
      gone.push(mark.sequence);
      continue;
    }
    endGone();
    pieces.push(mark.kind === "dead" ? encodeDead(mark) : encodeAlive(mark));
  }
  endGone();
  return Buffer.concat(pieces);
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

function readMail(body: Buffer, at: number): Extract<Record, { kind: "mail" }> {
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
  return { kind: "mail", mail, start, end: start + bytes };
}

/** A newer program may have written a code that this one does not know. */
function errorOf(text: string): ErrorFacts {
  const error = JSON.parse(text) as ErrorFacts;
  return isErrorCode(error.code) ? error : { ...error, code: "CAUSEWAY_INTERNAL" };
}
