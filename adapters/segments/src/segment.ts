/** One segment file: written at its end only, read anywhere, deleted as a whole. */
import * as fs from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { CausewayError, refuse } from "@causeway/core-base";
import { batchHeaderBytes, fileHeader, formatAt, type Record, readRecords } from "./format.ts";

/** Read at once when a frame is wanted, since those behind it are likely wanted next. */
const readAheadBytes = 262_144;

/** Takes a record; `at` is where in the file the body of its batch begins. */
export type TakeRecord = (record: Record, at: number, body: Buffer) => void;

export class Segment {
  readonly number: number;
  readonly path: string;
  /** Bytes that count. */
  bytes: number;
  #fd: number | undefined;
  #ahead: { readonly from: number; readonly buffer: Buffer } | undefined;

  private constructor(directory: string, number: number, bytes: number) {
    this.number = number;
    this.path = pathOf(directory, number);
    this.bytes = bytes;
  }

  /** Makes a new file. When it throws, there is none. */
  static create(directory: string, number: number, isSynced: boolean): Segment {
    const segment = new Segment(directory, number, fileHeader.length);
    segment.#guard(() => {
      segment.#fd = fs.openSync(segment.path, "wx+", 0o600);
      try {
        writeAll(segment.#fd, [fileHeader], 0);
        if (isSynced) syncFolder(directory);
      } catch (error) {
        segment.#abandon();
        throw error;
      }
    });
    return segment;
  }

  /** Reads an existing one. Of the last file, what is not whole at the end is cut off: nobody was told of it. */
  static open(directory: string, number: number, isLast: boolean, take: TakeRecord): Segment {
    const segment = new Segment(directory, number, 0);
    segment.#guard(() => segment.#read(isLast, take));
    return segment;
  }

  /** Appends a batch in pieces; answers where it begins. When it throws, the file is as it was. */
  append(pieces: readonly Buffer[], isSynced: boolean): number {
    const at = this.bytes;
    this.#guard(() => {
      const fd = this.#open();
      try {
        writeAll(fd, pieces, at);
        if (isSynced) fs.fdatasyncSync(fd);
      } catch (error) {
        cutOff(fd, at);
        throw error;
      }
    });
    for (const { length } of pieces) this.bytes += length;
    return at;
  }

  /** Bytes `start` to `end` of the file; may be part of a larger buffer. */
  read(start: number, end: number): { readonly buffer: Buffer; readonly start: number; readonly end: number } {
    let ahead = this.#ahead;
    if (ahead === undefined || start < ahead.from || end > ahead.from + ahead.buffer.length) {
      const until = Math.min(this.bytes, Math.max(end, start + readAheadBytes));
      const buffer = Buffer.allocUnsafeSlow(until - start);
      const got = this.#guard(() => fs.readSync(this.#open(), buffer, 0, buffer.length, start));
      if (got < end - start) throw damaged(this.path, start);
      ahead = { from: start, buffer };
      this.#ahead = ahead;
    }
    return { buffer: ahead.buffer, start: start - ahead.from, end: end - ahead.from };
  }

  /**
   * Every record of the file; `at` is where the body that it is in begins. Throws when there are fewer than were written,
   * after those that can be read.
   */
  readAll(take: TakeRecord): void {
    this.#guard(() => {
      const end = this.#records(fs.readFileSync(this.path).subarray(0, this.bytes), take);
      if (end < this.bytes) throw damaged(this.path, end);
    });
  }

  /** Gives back what was read ahead, and the file descriptor. */
  rest(): void {
    this.#ahead = undefined;
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd === undefined) return;
    try {
      fs.closeSync(fd);
    } catch {
      // Linux frees it all the same, and what had to be on the disk was waited for when it was written.
    }
  }

  delete(): void {
    this.rest();
    this.#guard(() => fs.rmSync(this.path, { force: true }));
  }

  /** The next attempt makes a file of the same name. */
  #abandon(): void {
    this.rest();
    try {
      fs.rmSync(this.path, { force: true });
    } catch {
      // What is told is why the file could not be made.
    }
  }

  #open(): number {
    this.#fd ??= fs.openSync(this.path, "r+");
    return this.#fd;
  }

  #read(isLast: boolean, take: TakeRecord): void {
    const content = fs.readFileSync(this.path);
    if (!content.subarray(0, fileHeader.length).equals(fileHeader)) {
      const isOurs = content.subarray(0, formatAt).equals(fileHeader.subarray(0, formatAt));
      const format = content[formatAt] ?? 0;
      if (isOurs && content.length >= fileHeader.length && format !== fileHeader[formatAt])
        throw otherFormat(this.path, format);
      if (!isLast || content.length >= fileHeader.length) throw damaged(this.path, 0);
      // The process died while it made the file.
      fs.writeFileSync(this.path, fileHeader);
      this.bytes = fileHeader.length;
      return;
    }
    const at = this.#records(content, take);
    if (at < content.length) {
      // Nothing is written after a write that was cut off: with a whole batch behind it, it is damage.
      if (!isLast || bodyAt(content, endOfBatch(content, at)) !== undefined) throw damaged(this.path, at);
      fs.truncateSync(this.path, at);
    }
    this.bytes = at;
  }

  /** The records of whole batches; answers where these end. */
  #records(content: Buffer, take: TakeRecord): number {
    let at = fileHeader.length;
    for (let body = bodyAt(content, at); body !== undefined; body = bodyAt(content, at)) {
      for (const record of records(body, this.path, at)) take(record, at + batchHeaderBytes, body);
      at += batchHeaderBytes + body.length;
    }
    return at;
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw named(error, this.path);
    }
  }
}

/** Numbers of the segments in a folder, in order. */
export function segmentsIn(directory: string): readonly number[] {
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    return fs
      .readdirSync(directory)
      .flatMap((name) => (namePattern.test(name) ? [Number.parseInt(name, 10)] : []))
      .sort((a, b) => a - b);
  } catch (error) {
    throw named(error, directory);
  }
}

/** The body of the batch at `at`; undefined when there is no whole one. */
function bodyAt(content: Buffer, at: number): Buffer | undefined {
  if (at + batchHeaderBytes > content.length) return undefined;
  const length = content.readUInt32LE(at);
  const body = content.subarray(at + batchHeaderBytes, at + batchHeaderBytes + length);
  return length > 0 && body.length === length && crc32(body) === content.readUInt32LE(at + 4) ? body : undefined;
}

/** Where the batch at `at` says that it ends. */
function endOfBatch(content: Buffer, at: number): number {
  if (at + batchHeaderBytes > content.length) return content.length;
  return at + batchHeaderBytes + content.readUInt32LE(at);
}

function* records(body: Buffer, path: string, at: number): Generator<Record> {
  try {
    yield* readRecords(body);
  } catch (cause) {
    if (cause instanceof CausewayError) throw cause;
    throw damaged(path, at, cause);
  }
}

function writeAll(fd: number, pieces: readonly Buffer[], at: number): void {
  let position = at;
  for (const piece of pieces) {
    for (let from = 0; from < piece.length; ) {
      const written = fs.writeSync(fd, piece, from, Math.min(writeBytesMax, piece.length - from), position);
      from += written;
      position += written;
    }
  }
}

function cutOff(fd: number, at: number): void {
  try {
    fs.ftruncateSync(fd, at);
  } catch {
    // The next batch overwrites it, and a reader stops at what is not whole.
  }
}

/** A new file is in its folder for sure only when the folder is synced. */
function syncFolder(directory: string): void {
  const fd = fs.openSync(directory, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function named(error: unknown, path: string): unknown {
  if (error instanceof CausewayError || !(error instanceof Error)) return error;
  const code = "code" in error ? error.code : undefined;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return refuse("CAUSEWAY_STORE_FULL", `${path} has no space left; nothing was stored. Free space and retry`, {
      cause: error,
    });
  }
  return refuse("CAUSEWAY_STORE_FAILED", `the mailbox file ${path} cannot be used: ${error.message}`, { cause: error });
}

const damaged = (path: string, at: number, cause?: unknown): CausewayError =>
  refuse(
    "CAUSEWAY_STORE_FAILED",
    `the mailbox file ${path} is damaged at byte ${at}. Restore it from a copy, or move it away to start without the messages in it`,
    { cause },
  );

const otherFormat = (path: string, format: number): CausewayError =>
  refuse(
    "CAUSEWAY_STORE_FAILED",
    `the mailbox file ${path} is of format ${format}, expected ${fileHeader[formatAt]}. Use the version of the gateway that wrote it, or move it away to start without the messages in it`,
  );

const pathOf = (directory: string, number: number): string =>
  join(directory, `${String(number).padStart(10, "0")}.mail`);
/** Of one call. For a larger one Linux takes larger pages, which a virtual machine may have to get from its host first. */
const writeBytesMax = 131_072;
const namePattern = /^\d{10}\.mail$/;
