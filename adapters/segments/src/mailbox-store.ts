/**
 * `MailboxStore` in segment files. Writing is appending; what was forgotten is reclaimed by deleting the oldest file
 * once nothing in it is held, after moving what little is left to the end. Metadata of everything held is in memory.
 */
import {
  asUnixMs,
  CausewayError,
  type DeadMail,
  type ErrorFacts,
  type Log,
  type MailboxContents,
  type MailboxStore,
  refuse,
  type StoredFrame,
  type StoredMail,
  silentLog,
  type UnixMs,
} from "@causeway/core-base";
import { Batch } from "./batch.ts";
import { encodeMarks, type MailRecord, type Mark, type Record } from "./format.ts";
import { notInFile, Places } from "./places.ts";
import { Segment, segmentsIn } from "./segment.ts";

/** How a store is opened. */
export interface MailboxStoreOptions {
  /** Folder of its own; made when it is not there. */
  readonly directory: string;
  /**
   * `os` (default): written to the operating system, which survives the death of the process. `always`: each commit waits
   * for the disk, which also survives the loss of power, and costs a disk's latency for each turn.
   */
  readonly sync?: "os" | "always";
  /** A file is closed beyond this size. Default 8 MiB. */
  readonly segmentBytes?: number;
  /** Hears of disk space that cannot be given back, which fails no commit. Default none. */
  readonly log?: Log;
}

/** Opens or makes the store. Throws `CAUSEWAY_STORE_FAILED` for files that are damaged. */
export function openMailboxStore(options: MailboxStoreOptions): MailboxStore {
  return new SegmentMailboxStore(options);
}

class SegmentMailboxStore implements MailboxStore {
  readonly #directory: string;
  readonly #isSynced: boolean;
  readonly #segmentBytes: number;
  readonly #log: Log;
  readonly #segments: Segment[] = [];
  readonly #byNumber = new Map<number, Segment>();
  /** Messages that are held in each file, by its number. */
  readonly #live = new Map<number, number>();
  readonly #places = new Places();
  readonly #batch = new Batch();
  /** Dead letters: since when, and why. */
  readonly #dead = new Map<number, Death>();
  /** Ends that are other than in the record of the message. */
  readonly #ends = new Map<number, UnixMs>();
  /** Places of what was appended since the last commit. */
  #fresh: number[] = [];
  /** What the last commit wrote, which is still in memory. */
  #written: Written[] = [];
  /** Forgotten since the last commit; their frames can be read until then. */
  #leaving: number[] = [];
  #marks: Mark[] = [];
  #liveBytes = 0;
  #bytes = 0;
  #lastSequence = 0;
  #reading: Segment | undefined;
  /** The newest file when space could last not be given back. */
  #stuckAt = 0;
  /** What the files held when they were opened, until somebody asks or it changes. */
  #found: Map<number, StoredMail> | undefined = new Map();

  constructor(options: MailboxStoreOptions) {
    this.#directory = options.directory;
    this.#isSynced = options.sync === "always";
    this.#segmentBytes = options.segmentBytes ?? segmentBytesDefault;
    this.#log = options.log ?? silentLog;
    const numbers = segmentsIn(this.#directory);
    for (const [index, number] of numbers.entries()) {
      const isLast = index === numbers.length - 1;
      this.#add(Segment.open(this.#directory, number, isLast, (record, at) => this.#restore(record, number, at)));
    }
    for (const segment of this.#segments) this.#bytes += segment.bytes;
    this.#reclaim(() => this.#deleteEmpty());
  }

  load(): MailboxContents {
    const waiting: StoredMail[] = [];
    const dead: DeadMail[] = [];
    for (const mail of this.#mails()) {
      const death = this.#dead.get(mail.sequence);
      if (death === undefined) waiting.push(mail);
      else dead.push({ mail, ...death });
    }
    return {
      waiting: waiting.sort((a, b) => a.sequence - b.sequence),
      dead: dead.sort((a, b) => a.at - b.at || a.mail.sequence - b.mail.sequence),
      lastSequence: this.#lastSequence,
    };
  }

  append(mail: StoredMail, buffer: Uint8Array, start: number, end: number): void {
    this.#found = undefined;
    const offset = this.#batch.add(mail, buffer, start, end);
    const { headBytes } = this.#batch;
    this.#fresh.push(this.#places.add(mail.sequence, offset, headBytes, end - start));
    this.#liveBytes += headBytes + end - start;
    if (mail.sequence > this.#lastSequence) this.#lastSequence = mail.sequence;
  }

  remove(sequence: number): void {
    if (this.#places.find(sequence) >= 0) this.#leaving.push(sequence);
  }

  bury(sequence: number, at: UnixMs, error: ErrorFacts): void {
    if (this.#places.find(sequence) < 0) return;
    this.#dead.set(sequence, { at, error });
    this.#marks.push({ kind: "dead", sequence, at, error });
  }

  revive(sequence: number, expiresAt: UnixMs): void {
    if (this.#places.find(sequence) < 0) return;
    this.#dead.delete(sequence);
    this.#ends.set(sequence, expiresAt);
    this.#marks.push({ kind: "alive", sequence, expiresAt });
  }

  commit(): void {
    if (this.#batch.isEmpty && this.#marks.length === 0 && this.#leaving.length === 0) return;
    this.#found = undefined;
    this.#written = [];
    this.#batch.turnOver();
    const leaving = this.#leaving;
    try {
      const { number, at } = this.#write(this.#marks, leaving);
      for (const place of this.#fresh)
        this.#places.settle(place, number, at + this.#places.offset(place), this.#places.headBytes(place));
      this.#count(number, this.#fresh.length);
      this.#fresh = [];
    } catch (error) {
      this.#undo();
      throw error;
    }
    this.#marks = [];
    this.#leaving = [];
    for (const sequence of leaving) this.#forget(sequence);
    this.#reclaim(() => {
      this.#deleteEmpty();
      // Once for each new file, since it reads a whole one.
      if (this.#newest() > this.#stuckAt) this.#clean();
    });
  }

  frame(sequence: number): StoredFrame | undefined {
    const place = this.#places.find(sequence);
    if (place < 0) return undefined;
    const number = this.#places.segment(place);
    const start = this.#places.frameStart(place);
    const end = start + this.#places.frameBytes(place);
    if (number === notInFile) return sliceOf(this.#batch.pieces(), start, end);
    for (const written of this.#written) {
      if (written.segment === number && start >= written.at && end <= written.end)
        return sliceOf(written.pieces, start - written.at, end - written.at);
    }
    const segment = this.#byNumber.get(number);
    if (segment === undefined) return undefined;
    if (this.#reading !== segment) {
      if (this.#reading !== this.#segments.at(-1)) this.#reading?.rest();
      this.#reading = segment;
    }
    return segment.read(start, end);
  }

  diskBytes(): number {
    return this.#bytes;
  }

  close(): void {
    this.commit();
    for (const segment of this.#segments) segment.rest();
  }

  /** Takes a record of a file that is being opened; its body begins at `at`. */
  #restore(record: Record, segment: number, at: number): void {
    const sequence = record.kind === "mail" ? record.mail.sequence : record.sequence;
    this.#lastSequence = Math.max(this.#lastSequence, sequence);
    const before = this.#places.find(sequence);
    if (record.kind === "mail") {
      // A copy that was moved holds the end of the message by itself.
      if (before >= 0) this.#drop(before);
      this.#ends.delete(sequence);
      const place = this.#places.add(sequence, 0, record.start - record.at, record.end - record.start);
      this.#places.settle(place, segment, at + record.at, record.start - record.at);
      this.#count(segment, 1);
      this.#liveBytes += record.end - record.at;
      this.#found?.set(sequence, record.mail);
    } else if (before < 0) return;
    else if (record.kind === "gone") this.#forget(sequence);
    else if (record.kind === "dead") this.#dead.set(sequence, { at: asUnixMs(record.at), error: record.error });
    else {
      this.#dead.delete(sequence);
      this.#ends.set(sequence, asUnixMs(record.expiresAt));
    }
  }

  /** One batch: what was appended, then the marks. Answers where it is. */
  #write(marks: readonly Mark[], gone: readonly number[]): { readonly number: number; readonly at: number } {
    const segment = this.#current();
    if (marks.length + gone.length > 0) this.#batch.addBytes(encodeMarks(marks, gone));
    const before = segment.bytes;
    const pieces = this.#batch.pieces();
    const at = segment.append(pieces, this.#isSynced);
    this.#bytes += segment.bytes - before;
    this.#written.push({ segment: segment.number, at, end: segment.bytes, pieces });
    this.#batch.next();
    return { number: segment.number, at };
  }

  /** Nothing of what was appended is kept; the marks are written with the next commit. */
  #undo(): void {
    for (const place of this.#fresh) this.#drop(place);
    this.#fresh = [];
    this.#batch.next();
    this.#marks = this.#marks.filter(({ sequence }) => this.#places.find(sequence) >= 0);
    this.#leaving = this.#leaving.filter((sequence) => this.#places.find(sequence) >= 0);
  }

  /** The file that is written to. */
  #current(): Segment {
    const last = this.#segments.at(-1);
    if (last !== undefined && last.bytes < this.#segmentBytes) return last;
    const next = Segment.create(this.#directory, (last?.number ?? 0) + 1, this.#isSynced);
    if (last !== this.#reading) last?.rest();
    this.#add(next);
    this.#bytes += next.bytes;
    return next;
  }

  #forget(sequence: number): void {
    const place = this.#places.find(sequence);
    if (place < 0) return;
    this.#drop(place);
    this.#found?.delete(sequence);
    if (this.#dead.size > 0) this.#dead.delete(sequence);
    if (this.#ends.size > 0) this.#ends.delete(sequence);
  }

  /** Takes a place out of the books. */
  #drop(place: number): void {
    this.#liveBytes -= this.#places.bytes(place);
    const segment = this.#places.segment(place);
    if (segment !== notInFile) this.#count(segment, -1);
    this.#places.remove(place);
  }

  #count(segment: number, more: number): void {
    this.#live.set(segment, (this.#live.get(segment) ?? 0) + more);
  }

  #add(segment: Segment): void {
    this.#segments.push(segment);
    this.#byNumber.set(segment.number, segment);
  }

  /** Every message that is in a file. */
  #mails(): readonly StoredMail[] {
    const found = this.#found;
    this.#found = undefined;
    const mails: StoredMail[] = [];
    if (found !== undefined) for (const mail of found.values()) mails.push(this.#currentOf(mail));
    else for (const segment of this.#segments) this.#eachHeld(segment, (_place, { mail }) => mails.push(mail));
    return mails;
  }

  /** Reads a file for the messages that are held in it. */
  #eachHeld(segment: Segment, take: (place: number, record: MailRecord, body: Buffer) => void): void {
    segment.readAll((record, at, body) => {
      if (record.kind !== "mail") return;
      const place = this.#places.find(record.mail.sequence);
      const isHere = place >= 0 && this.#places.segment(place) === segment.number;
      if (!isHere || this.#places.offset(place) !== at + record.at) return;
      take(place, { ...record, mail: this.#currentOf(record.mail) }, body);
    });
  }

  /** The message with the end that it was given last. */
  #currentOf(mail: StoredMail): StoredMail {
    const expiresAt = this.#ends.get(mail.sequence);
    return expiresAt === undefined ? mail : { ...mail, expiresAt };
  }

  /** What was committed stays so whatever happens here: it is told, once for each new file, and tried again. */
  #reclaim(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#batch.next();
      const newest = this.#newest();
      if (newest <= this.#stuckAt) return;
      this.#stuckAt = newest;
      const { code, message } = CausewayError.from(thrown);
      this.#log.warn("mailbox.reclaim_failed", { code, reason: message });
    }
  }

  #newest(): number {
    return this.#segments.at(-1)?.number ?? 0;
  }

  /**
   * From the oldest on and never the newest. Only in this order: a file also holds what is noted of messages in older
   * files.
   */
  #deleteEmpty(): void {
    for (let [oldest] = this.#segments; oldest !== undefined && this.#segments.length > 1; [oldest] = this.#segments) {
      if ((this.#live.get(oldest.number) ?? 0) > 0) return;
      this.#deleteOldest(oldest);
    }
  }

  /** Out of the books only when it is off the disk: what is forgotten would come back with it at the next start. */
  #deleteOldest(oldest: Segment): void {
    oldest.delete();
    this.#segments.shift();
    this.#byNumber.delete(oldest.number);
    this.#live.delete(oldest.number);
    if (oldest === this.#reading) this.#reading = undefined;
    this.#bytes -= oldest.bytes;
  }

  /**
   * Moves what is held in the oldest file to the end when less than half of the disk space is in use. One file for each
   * commit, so that nothing waits long.
   */
  #clean(): void {
    const [oldest] = this.#segments;
    const allowed = 2 * this.#liveBytes + cleanAfterSegments * this.#segmentBytes;
    if (oldest === undefined || this.#segments.length < 2 || this.#bytes <= allowed) return;
    const marks: Mark[] = [];
    const moved: { readonly place: number; readonly offset: number; readonly headBytes: number }[] = [];
    this.#eachHeld(oldest, (place, { mail, start, end }, body) => {
      const offset = this.#batch.add(mail, body, start, end);
      moved.push({ place, offset, headBytes: this.#batch.headBytes });
      const death = this.#dead.get(mail.sequence);
      if (death !== undefined) marks.push({ kind: "dead", sequence: mail.sequence, ...death });
    });
    const expected = this.#live.get(oldest.number) ?? 0;
    if (moved.length !== expected) {
      throw refuse(
        "CAUSEWAY_STORE_FAILED",
        `the mailbox file ${oldest.path} is damaged: expected ${expected} messages that are held, got ${moved.length}. It is kept; restore it from a copy`,
      );
    }
    const { number, at } = this.#write(marks, []);
    for (const { place, offset, headBytes } of moved) {
      this.#liveBytes += headBytes - this.#places.headBytes(place);
      this.#places.settle(place, number, at + offset, headBytes);
      this.#ends.delete(this.#places.sequence(place));
    }
    this.#count(number, moved.length);
    this.#count(oldest.number, -moved.length);
    this.#deleteEmpty();
  }
}

/** A batch that was just written. */
interface Written {
  readonly segment: number;
  readonly at: number;
  readonly end: number;
  readonly pieces: readonly Buffer[];
}

interface Death {
  readonly at: UnixMs;
  readonly error: ErrorFacts;
}

/** Bytes `start` to `end` of a batch in pieces, of which one holds them all. */
function sliceOf(pieces: readonly Buffer[], start: number, end: number): StoredFrame | undefined {
  let before = 0;
  for (const buffer of pieces) {
    if (end <= before + buffer.length) return { buffer, start: start - before, end: end - before };
    before += buffer.length;
  }
  return undefined;
}

const segmentBytesDefault = 8_388_608;
/** Files that may be there beside twice what is held, before space is reclaimed by moving. */
const cleanAfterSegments = 4;
