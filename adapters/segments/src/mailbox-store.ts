/**
 * `MailboxStore` in segment files. Writing is appending; what was forgotten is reclaimed by deleting the oldest file
 * once nothing in it is held, after moving what little is left to the end. Metadata of everything held is in memory.
 */
import {
  asUnixMs,
  type DeadMail,
  type ErrorFacts,
  type MailboxContents,
  type MailboxStore,
  type StoredFrame,
  type StoredMail,
  type UnixMs,
} from "@causeway/core-base";
import { Batch } from "./batch.ts";
import { encodeMarks, type Mark, mailBytes, type Record } from "./format.ts";
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
}

/** Where a message is. */
interface Place {
  mail: StoredMail;
  segment: Segment | undefined;
  /** Of the frame in its file; in the batch while `segment` is undefined. */
  offset: number;
  /** While it is in memory. */
  frame: StoredFrame | undefined;
  dead: { readonly at: UnixMs; readonly error: ErrorFacts } | undefined;
}

/** Opens or makes the store. Throws `CAUSEWAY_STORE_FAILED` for files that are damaged. */
export function openMailboxStore(options: MailboxStoreOptions): MailboxStore {
  return new SegmentMailboxStore(options);
}

class SegmentMailboxStore implements MailboxStore {
  readonly #directory: string;
  readonly #isSynced: boolean;
  readonly #segmentBytes: number;
  readonly #segments: Segment[] = [];
  readonly #places = new Map<number, Place>();
  readonly #batch = new Batch();
  /** Appended since the last commit. */
  #fresh: Place[] = [];
  /** Appended by the last commit, and still in memory. */
  #recent: Place[] = [];
  /** Forgotten since the last commit; their frames can be read until then. */
  #leaving: number[] = [];
  #marks: Mark[] = [];
  #liveBytes = 0;
  #bytes = 0;
  #lastSequence = 0;
  #reading: Segment | undefined;

  constructor(options: MailboxStoreOptions) {
    this.#directory = options.directory;
    this.#isSynced = options.sync === "always";
    this.#segmentBytes = options.segmentBytes ?? segmentBytesDefault;
    const numbers = segmentsIn(this.#directory);
    for (const [index, number] of numbers.entries()) {
      const placed: Place[] = [];
      const segment = Segment.open(this.#directory, number, index === numbers.length - 1, (record, offset) =>
        this.#restore(record, offset, placed),
      );
      for (const place of placed) place.segment = segment;
      this.#segments.push(segment);
      this.#bytes += segment.bytes;
    }
    for (const { segment, mail } of this.#places.values()) {
      if (segment !== undefined) segment.live++;
      this.#liveBytes += mailBytes(mail);
    }
    this.#deleteEmpty();
  }

  load(): MailboxContents {
    const places = [...this.#places.values()];
    const dead = places.flatMap(({ mail, dead }): DeadMail[] => (dead === undefined ? [] : [{ mail, ...dead }]));
    return {
      waiting: places
        .filter((place) => place.dead === undefined)
        .map((place) => place.mail)
        .sort((a, b) => a.sequence - b.sequence),
      dead: dead.sort((a, b) => a.at - b.at || a.mail.sequence - b.mail.sequence),
      lastSequence: this.#lastSequence,
    };
  }

  append(mail: StoredMail, buffer: Uint8Array, start: number, end: number): StoredFrame {
    const frame = this.#batch.add(mail, buffer, start, end);
    const place: Place = { mail, segment: undefined, offset: frame.offset, frame, dead: undefined };
    this.#places.set(mail.sequence, place);
    this.#fresh.push(place);
    this.#liveBytes += mailBytes(mail);
    if (mail.sequence > this.#lastSequence) this.#lastSequence = mail.sequence;
    return frame;
  }

  remove(sequence: number): void {
    if (!this.#places.has(sequence)) return;
    this.#leaving.push(sequence);
    this.#marks.push({ kind: "gone", sequence });
  }

  bury(sequence: number, at: UnixMs, error: ErrorFacts): void {
    const place = this.#places.get(sequence);
    if (place === undefined) return;
    place.dead = { at, error };
    this.#marks.push({ kind: "dead", sequence, at, error });
  }

  revive(sequence: number, expiresAt: UnixMs): void {
    const place = this.#places.get(sequence);
    if (place === undefined) return;
    place.dead = undefined;
    place.mail = { ...place.mail, expiresAt };
    this.#marks.push({ kind: "alive", sequence, expiresAt });
  }

  commit(): void {
    if (this.#batch.isEmpty && this.#marks.length === 0) return;
    for (const place of this.#recent) place.frame = undefined;
    this.#recent = [];
    const marks = this.#marks;
    const leaving = this.#leaving;
    try {
      this.#write(marks);
    } catch (error) {
      this.#undo();
      throw error;
    }
    this.#marks = [];
    this.#leaving = [];
    for (const sequence of leaving) this.#forget(sequence);
    this.#deleteEmpty();
    this.#clean();
  }

  frame(sequence: number): StoredFrame | undefined {
    const place = this.#places.get(sequence);
    if (place?.segment === undefined) return place?.frame;
    if (place.frame !== undefined) return place.frame;
    const { segment, offset, mail } = place;
    if (this.#reading !== segment) {
      if (this.#reading !== this.#segments.at(-1)) this.#reading?.rest();
      this.#reading = segment;
    }
    return segment.read(offset, offset + mail.bytes);
  }

  diskBytes(): number {
    return this.#bytes;
  }

  close(): void {
    this.commit();
    for (const segment of this.#segments) segment.rest();
  }

  #restore(record: Record, offset: number, placed: Place[]): void {
    if (record.kind === "mail") {
      const { mail, start } = record;
      const before = this.#places.get(mail.sequence);
      const place: Place = { mail, segment: undefined, offset: offset + start, frame: undefined, dead: before?.dead };
      this.#places.set(mail.sequence, place);
      placed.push(place);
      this.#lastSequence = Math.max(this.#lastSequence, mail.sequence);
      return;
    }
    this.#lastSequence = Math.max(this.#lastSequence, record.sequence);
    const place = this.#places.get(record.sequence);
    if (record.kind === "gone") this.#places.delete(record.sequence);
    else if (place === undefined) return;
    else if (record.kind === "dead") place.dead = { at: asUnixMs(record.at), error: record.error };
    else {
      place.dead = undefined;
      place.mail = { ...place.mail, expiresAt: asUnixMs(record.expiresAt) };
    }
  }

  /** One batch: what was appended, then the marks. */
  #write(marks: readonly Mark[]): void {
    const segment = this.#current();
    if (marks.length > 0) this.#batch.addBytes(encodeMarks(marks));
    const before = segment.bytes;
    const at = segment.append(this.#batch.pieces(), this.#isSynced);
    this.#bytes += segment.bytes - before;
    this.#batch.next();
    for (const place of this.#fresh) {
      place.segment = segment;
      place.offset += at;
      segment.live++;
    }
    this.#recent = this.#fresh;
    this.#fresh = [];
  }

  /** Nothing of what was appended is kept; the marks are written with the next commit. */
  #undo(): void {
    for (const { mail } of this.#fresh) {
      this.#places.delete(mail.sequence);
      this.#liveBytes -= mailBytes(mail);
    }
    this.#fresh = [];
    this.#batch.next();
    this.#marks = this.#marks.filter((mark) => this.#places.has(mark.sequence));
    this.#leaving = this.#leaving.filter((sequence) => this.#places.has(sequence));
  }

  /** The file that is written to. */
  #current(): Segment {
    const last = this.#segments.at(-1);
    if (last !== undefined && last.bytes < this.#segmentBytes) return last;
    const next = Segment.create(this.#directory, (last?.number ?? 0) + 1, this.#isSynced);
    if (last !== this.#reading) last?.rest();
    this.#segments.push(next);
    this.#bytes += next.bytes;
    return next;
  }

  #forget(sequence: number): void {
    const place = this.#places.get(sequence);
    if (place === undefined) return;
    this.#places.delete(sequence);
    this.#liveBytes -= mailBytes(place.mail);
    if (place.segment !== undefined) place.segment.live--;
  }

  /**
   * From the oldest on and never the newest. Only in this order: a file also holds what is noted of messages in older
   * files.
   */
  #deleteEmpty(): void {
    while (this.#segments.length > 1 && this.#segments[0]?.live === 0) this.#deleteOldest();
  }

  #deleteOldest(): void {
    const [oldest] = this.#segments.splice(0, 1);
    if (oldest === undefined) return;
    if (oldest === this.#reading) this.#reading = undefined;
    this.#bytes -= oldest.bytes;
    oldest.delete();
  }

  /**
   * Moves what is held in the oldest file to the end when less than half of the disk space is in use. One file for each
   * commit, so that nothing waits long.
   */
  #clean(): void {
    const [oldest] = this.#segments;
    const allowed = 2 * this.#liveBytes + cleanAfterSegments * this.#segmentBytes;
    if (oldest === undefined || this.#segments.length < 2 || this.#bytes <= allowed) return;
    const moved = [...this.#places.values()].filter((place) => place.segment === oldest);
    const marks: Mark[] = [];
    const copies: Place[] = [];
    for (const place of moved) {
      const { buffer, start, end } = oldest.read(place.offset, place.offset + place.mail.bytes);
      const frame = this.#batch.add(place.mail, buffer, start, end);
      copies.push({ ...place, segment: undefined, offset: frame.offset, frame });
      if (place.dead !== undefined) marks.push({ kind: "dead", sequence: place.mail.sequence, ...place.dead });
    }
    const recent = this.#recent;
    this.#fresh = copies;
    try {
      this.#write(marks);
    } catch {
      // No space to move it: what is held stays where it is, and the next commit tries again.
      this.#fresh = [];
      this.#batch.next();
      this.#recent = recent;
      return;
    }
    for (const place of this.#recent) this.#places.set(place.mail.sequence, place);
    this.#recent = [...recent, ...this.#recent];
    this.#deleteOldest();
  }
}

const segmentBytesDefault = 8_388_608;
/** Files that may be there beside twice what is held, before space is reclaimed by moving. */
const cleanAfterSegments = 4;
