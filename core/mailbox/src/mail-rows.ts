/**
 * The metadata of stored messages as rows of numbers: sequence, times, id, whose and whom it is from, where it stands. A
 * row's number says which message; it is used again when that one has gone, so that whoever keeps it keeps the sequence
 * beside it and asks `holds`. The object `StoredMail` is made when somebody is told.
 */
import { RowIndex, Rows, type StoredMail, type UnixMs } from "@causeway/core-base";
import { IdTail } from "./id-tail.ts";
import type { SourceBox } from "./lane.ts";

/**
 * `waiting` in the order of the mailbox; `parked` for an instance that is not attached; `underWay` handed to the agent
 * and not acknowledged; `transferring` offered to another gateway.
 */
export const MailState = { gone: 0, waiting: 1, parked: 2, underWay: 3, transferring: 4 } as const;
export type MailState = (typeof MailState)[keyof typeof MailState];

export class MailRows {
  readonly #rows = new Rows(rowWords);
  /** By their ids those that are in no tail. */
  readonly #index = new RowIndex();
  readonly #boxes: (SourceBox | undefined)[] = [];
  /** For each box. */
  readonly #tails: (IdTail | undefined)[] = [];
  readonly #freeBoxes: number[] = [];
  /** Of the few messages that are for one instance, which. */
  readonly #instances = new Map<number, string>();
  readonly #seed: number;
  /** The words of the id that was read last. */
  readonly #id = new Int32Array(idWords);

  /** `seed` is what nobody who chooses message ids knows. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  /** A number for a box. */
  addBox(box: SourceBox): number {
    const number = this.#freeBoxes.pop() ?? this.#boxes.length;
    this.#boxes[number] = box;
    this.#tails[number] = new IdTail();
    return number;
  }

  removeBox(number: number): void {
    this.#boxes[number] = undefined;
    this.#tails[number] = undefined;
    this.#freeBoxes.push(number);
  }

  /** Notes a message that waits. */
  add(mail: StoredMail, box: number): number {
    const rows = this.#rows;
    const row = rows.take();
    this.#readId(mail.id);
    rows.setDouble(row, word.sequence, mail.sequence);
    rows.setDouble(row, word.storedAt, mail.storedAt);
    rows.setDouble(row, word.expiresAt, mail.expiresAt);
    for (let i = 0; i < idWords; i++) rows.setInt(row, word.id + i, this.#id[i] ?? 0);
    rows.setInt(row, word.box, box);
    rows.setInt(row, word.bytes, mail.bytes);
    rows.setInt(row, word.before, -1);
    rows.setInt(row, word.after, -1);
    rows.setInt(row, word.link, 0);
    rows.setInt(row, word.state, MailState.waiting);
    rows.setInt(row, word.attempts, 0);
    rows.setInt(row, word.flags, mail.isTraced ? flag.isTraced : 0);
    if (mail.instance !== "") this.#instances.set(row, mail.instance);
    const tail = this.#tails[box] as IdTail;
    if (tail.isAbove(this.#id)) tail.push(row, this.#id);
    else this.#addToIndex(row);
    return row;
  }

  remove(row: number): void {
    this.#removeId(row);
    this.#rows.setInt(row, word.state, MailState.gone);
    if (this.#instances.size > 0) this.#instances.delete(row);
    this.#rows.giveBack(row);
  }

  /** The message with that id in the box, -1 for none. */
  find(box: number, id: string): number {
    this.#readId(id);
    const words = this.#id;
    const tail = this.#tails[box] as IdTail;
    if (tail.isAbove(words)) return -1;
    const { front } = tail;
    if (front >= 0 && this.#isOf(front, words)) return front;
    this.#addTailToIndex(tail);
    const hash = this.#hashOf(words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0, box);
    for (let row = this.#index.first(hash); row >= 0; row = this.#index.next(hash)) {
      if (this.#rows.int(row, word.box) === box && this.#isOf(row, words)) return row;
    }
    return -1;
  }

  /** True when the row is still of the message with that sequence. */
  holds(row: number, sequence: number): boolean {
    return this.state(row) !== MailState.gone && this.sequence(row) === sequence;
  }

  /** Everything that is known of the message. */
  mail(row: number): StoredMail {
    const { source, lane } = this.box(row);
    return {
      sequence: this.sequence(row),
      agentId: lane.agentId,
      instance: this.instance(row),
      source,
      id: this.#idOf(row),
      bytes: this.bytes(row),
      storedAt: this.#rows.double(row, word.storedAt) as UnixMs,
      expiresAt: this.expiresAt(row),
      isTraced: (this.#rows.int(row, word.flags) & flag.isTraced) !== 0,
    };
  }

  box(row: number): SourceBox {
    return this.#boxes[this.#rows.int(row, word.box)] as SourceBox;
  }

  instance(row: number): string {
    return this.#instances.size === 0 ? "" : (this.#instances.get(row) ?? "");
  }

  sequence(row: number): number {
    return this.#rows.double(row, word.sequence);
  }

  expiresAt(row: number): UnixMs {
    return this.#rows.double(row, word.expiresAt) as UnixMs;
  }

  bytes(row: number): number {
    return this.#rows.int(row, word.bytes);
  }

  state(row: number): MailState {
    return this.#rows.int(row, word.state) as MailState;
  }

  setState(row: number, state: MailState): void {
    this.#rows.setInt(row, word.state, state);
  }

  /** Where it is under way. */
  link(row: number): number {
    return this.#rows.int(row, word.link);
  }

  setLink(row: number, link: number): void {
    this.#rows.setInt(row, word.link, link);
  }

  attempts(row: number): number {
    return this.#rows.int(row, word.attempts);
  }

  countAttempt(row: number): void {
    this.#rows.setInt(row, word.attempts, this.attempts(row) + 1);
  }

  /** The message before it in its mailbox, -1 for none. */
  before(row: number): number {
    return this.#rows.int(row, word.before);
  }

  /** The message after it in its mailbox, -1 for none. */
  after(row: number): number {
    return this.#rows.int(row, word.after);
  }

  setBefore(row: number, before: number): void {
    this.#rows.setInt(row, word.before, before);
  }

  setAfter(row: number, after: number): void {
    this.#rows.setInt(row, word.after, after);
  }

  #removeId(row: number): void {
    const rows = this.#rows;
    if ((rows.int(row, word.flags) & flag.isIndexed) === 0) {
      const tail = this.#tails[rows.int(row, word.box)] as IdTail;
      if (tail.front === row) {
        tail.shift();
        return;
      }
      this.#addTailToIndex(tail);
    }
    this.#index.remove(row, rows.int(row, word.hash));
  }

  #addTailToIndex(tail: IdTail): void {
    if (tail.front >= 0) tail.drain((row) => this.#addToIndex(row));
  }

  #addToIndex(row: number): void {
    const rows = this.#rows;
    const hash = this.#hashOf(
      rows.int(row, word.id),
      rows.int(row, word.id + 1),
      rows.int(row, word.id + 2),
      rows.int(row, word.id + 3),
      rows.int(row, word.box),
    );
    rows.setInt(row, word.hash, hash);
    rows.setInt(row, word.flags, rows.int(row, word.flags) | flag.isIndexed);
    this.#index.add(row, hash);
  }

  #isOf(row: number, id: Int32Array): boolean {
    const rows = this.#rows;
    return (
      rows.int(row, word.id + 3) === id[3] &&
      rows.int(row, word.id + 2) === id[2] &&
      rows.int(row, word.id + 1) === id[1] &&
      rows.int(row, word.id) === id[0]
    );
  }

  /** Reads the words of an id, so that they compare as the ids do. */
  #readId(id: string): void {
    for (let i = 0; i < idWords; i++) {
      const at = i * 4;
      this.#id[i] =
        (id.charCodeAt(at) << 24) |
        (id.charCodeAt(at + 1) << 16) |
        (id.charCodeAt(at + 2) << 8) |
        id.charCodeAt(at + 3);
    }
  }

  #hashOf(a: number, b: number, c: number, d: number, box: number): number {
    let hash = mixed(mixed(mixed(mixed(this.#seed ^ box, a), b), c), d);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }

  #idOf(row: number): string {
    const a = this.#rows.int(row, word.id);
    const b = this.#rows.int(row, word.id + 1);
    const c = this.#rows.int(row, word.id + 2);
    const d = this.#rows.int(row, word.id + 3);
    return String.fromCharCode(
      a >>> 24,
      (a >>> 16) & 0xff,
      (a >>> 8) & 0xff,
      a & 0xff,
      b >>> 24,
      (b >>> 16) & 0xff,
      (b >>> 8) & 0xff,
      b & 0xff,
      c >>> 24,
      (c >>> 16) & 0xff,
      (c >>> 8) & 0xff,
      c & 0xff,
      d >>> 24,
      (d >>> 16) & 0xff,
      (d >>> 8) & 0xff,
      d & 0xff,
    );
  }
}

/** A round of MurmurHash3: ids that differ in a few bits anywhere must not end alike. */
function mixed(hash: number, value: number): number {
  const part = Math.imul(value, 0xcc9e2d51);
  const next = hash ^ Math.imul((part << 15) | (part >>> 17), 0x1b873593);
  return (Math.imul((next << 13) | (next >>> 19), 5) + 0xe6546b64) | 0;
}

/** Where in a row what is. Numbers of two words are at even ones. */
const word = {
  sequence: 0,
  storedAt: 2,
  expiresAt: 4,
  id: 6,
  hash: 10,
  box: 11,
  bytes: 12,
  before: 13,
  after: 14,
  link: 15,
  state: 16,
  attempts: 17,
  flags: 18,
} as const;
const rowWords = 19;
const idWords = 4;
/** Bits of `flags`. `hash` is of those that are in the index. */
const flag = { isTraced: 1, isIndexed: 2 } as const;
