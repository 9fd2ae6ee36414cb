/**
 * The metadata of stored messages as rows of numbers: sequence, times, id, whose and whom it is from, where it stands. A
 * row's number says which message; it is used again when that one has gone, so that whoever keeps it keeps the sequence
 * beside it and asks `holds`. The object `StoredMail` is made when somebody is told.
 */
import { RowIndex, Rows, type StoredMail, type UnixMs } from "@causeway/core-base";
import type { SourceBox } from "./lane.ts";

/**
 * `waiting` in the order of the mailbox; `parked` for an instance that is not attached; `underWay` handed to the agent
 * and not acknowledged; `transferring` offered to another gateway.
 */
export const MailState = { gone: 0, waiting: 1, parked: 2, underWay: 3, transferring: 4 } as const;
export type MailState = (typeof MailState)[keyof typeof MailState];

export class MailRows {
  readonly #rows = new Rows(rowWords);
  readonly #index = new RowIndex();
  readonly #boxes: (SourceBox | undefined)[] = [];
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
    return number;
  }

  removeBox(number: number): void {
    this.#boxes[number] = undefined;
    this.#freeBoxes.push(number);
  }

  /** Notes a message that waits. */
  add(mail: StoredMail, box: number): number {
    const rows = this.#rows;
    const row = rows.take();
    const hash = this.#readId(mail.id, box);
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
    rows.setInt(row, word.isTraced, mail.isTraced ? 1 : 0);
    if (mail.instance !== "") this.#instances.set(row, mail.instance);
    rows.setInt(row, word.hash, hash);
    this.#index.add(row, hash);
    return row;
  }

  remove(row: number): void {
    this.#index.remove(row, this.#rows.int(row, word.hash));
    this.#rows.setInt(row, word.state, MailState.gone);
    if (this.#instances.size > 0) this.#instances.delete(row);
    this.#rows.giveBack(row);
  }

  /** The message with that id in the box, -1 for none. */
  find(box: number, id: string): number {
    const rows = this.#rows;
    const hash = this.#readId(id, box);
    const words = this.#id;
    for (let row = this.#index.first(hash); row >= 0; row = this.#index.next(hash)) {
      if (
        rows.int(row, word.box) === box &&
        rows.int(row, word.id + 3) === words[3] &&
        rows.int(row, word.id + 2) === words[2] &&
        rows.int(row, word.id + 1) === words[1] &&
        rows.int(row, word.id) === words[0]
      )
        return row;
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
      isTraced: this.#rows.int(row, word.isTraced) === 1,
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

  /** Reads the words of an id; answers its hash in the box. */
  #readId(id: string, box: number): number {
    const words = this.#id;
    let hash = this.#seed ^ box;
    for (let i = 0; i < idWords; i++) {
      const at = i * 4;
      const value =
        id.charCodeAt(at) |
        (id.charCodeAt(at + 1) << 8) |
        (id.charCodeAt(at + 2) << 16) |
        (id.charCodeAt(at + 3) << 24);
      words[i] = value;
      // As MurmurHash3 does it: ids that differ in a few bits anywhere must not end alike.
      const mixed = Math.imul(value, 0xcc9e2d51);
      hash ^= Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
    return hash;
  }

  #idOf(row: number): string {
    const a = this.#rows.int(row, word.id);
    const b = this.#rows.int(row, word.id + 1);
    const c = this.#rows.int(row, word.id + 2);
    const d = this.#rows.int(row, word.id + 3);
    return String.fromCharCode(
      a & 0xff,
      (a >>> 8) & 0xff,
      (a >>> 16) & 0xff,
      a >>> 24,
      b & 0xff,
      (b >>> 8) & 0xff,
      (b >>> 16) & 0xff,
      b >>> 24,
      c & 0xff,
      (c >>> 8) & 0xff,
      (c >>> 16) & 0xff,
      c >>> 24,
      d & 0xff,
      (d >>> 8) & 0xff,
      (d >>> 16) & 0xff,
      d >>> 24,
    );
  }
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
  isTraced: 18,
} as const;
const rowWords = 19;
const idWords = 4;
