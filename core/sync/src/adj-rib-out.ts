/**
 * What we told one peer (Adj-RIB-Out) and what is still to be told. Pending changes are a set of keys, not a queue of
 * messages: however often a record changes while the peer is slow, one entry waits, and its latest state is sent
 * (AMSP-102). At most `unacknowledgedMax` messages are out without acknowledgement.
 */
import type { Version } from "@causeway/core-records";
import type { SlotKey } from "./loc-rib.ts";
import { SetDigest } from "./set-digest.ts";

/** The state of one record in the peer's view, as far as we know. */
export interface SentEntry {
  /** Hash of what was sent; undefined after a Withdraw, and when it is not known whether the last message arrived. */
  readonly hash: Uint8Array | undefined;
  /** The peer holds it as usable way. */
  readonly isLive: boolean;
  /** Digest of the body that the peer has, hex; a status change need not repeat it. */
  readonly bodyDigest: string | undefined;
  /** Why the peer refused exactly this, if it did. */
  readonly refused: string | undefined;
}

export class AdjRibOut {
  readonly #entries = new Map<SlotKey, SentEntry>();
  readonly #pending = new Set<SlotKey>();
  readonly #unacknowledged = new Map<bigint, SlotKey>();
  readonly #digest = new SetDigest();
  #liveCount = 0;
  #lastNumber = 0n;
  /** Names the view; random, so that the views of two runs are not taken for one. */
  token: Uint8Array = new Uint8Array();
  /** A first snapshot was begun under the token. */
  isBegun = false;
  /** What the peer said it holds, by origin; valid for the current token. */
  have: ReadonlyMap<string, Version> = new Map();
  /** A snapshot was begun and not ended. */
  isSnapshotOpen = false;
  /** Something was sent since the last audit. */
  isAuditDue = false;

  get liveCount(): number {
    return this.#liveCount;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  get unacknowledgedCount(): number {
    return this.#unacknowledged.size;
  }

  entry(key: SlotKey): SentEntry | undefined {
    return this.#entries.get(key);
  }

  markPending(key: SlotKey): void {
    this.#pending.add(key);
  }

  /** The key that waits longest, removed; undefined when none waits. */
  takePending(): SlotKey | undefined {
    for (const key of this.#pending) {
      this.#pending.delete(key);
      return key;
    }
    return undefined;
  }

  /** Gives a message its number and remembers what it leaves at the peer. */
  sent(key: SlotKey, entry: SentEntry): bigint {
    this.#lastNumber += 1n;
    this.#unacknowledged.set(this.#lastNumber, key);
    this.#put(key, entry);
    this.isAuditDue = true;
    return this.#lastNumber;
  }

  /** Everything up to `number` is processed there. False when no such number was sent. */
  acknowledge(number: bigint): boolean {
    if (number > this.#lastNumber) return false;
    for (const [n, key] of this.#unacknowledged) {
      if (n > number) break;
      this.#unacknowledged.delete(n);
      const entry = this.#entries.get(key);
      // A way that was taken back, of a record whose body the peer never had: nothing to remember once it knows.
      if (entry !== undefined && !entry.isLive && entry.hash === undefined && entry.bodyDigest === undefined) {
        this.#entries.delete(key);
      }
    }
    return true;
  }

  /** The peer refused the message of this number. Returns the key, undefined when it is not known any more. */
  refused(number: bigint, reason: string): SlotKey | undefined {
    const key = this.#unacknowledged.get(number);
    const entry = key === undefined ? undefined : this.#entries.get(key);
    if (key === undefined || entry === undefined) return undefined;
    this.#put(key, { ...entry, isLive: false, bodyDigest: undefined, refused: reason });
    return key;
  }

  /** The peer may have thrown away what was sent of it: whatever it should hold is sent in full. */
  sendAgain(key: SlotKey): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#put(key, { ...entry, hash: undefined, bodyDigest: undefined, refused: undefined });
    this.#pending.add(key);
  }

  /** The peer lacks the body of the message of this number: send it again with the body. */
  bodyMissing(number: bigint): void {
    const key = this.#unacknowledged.get(number);
    if (key === undefined) return;
    this.have = new Map();
    this.#put(key, { hash: undefined, isLive: false, bodyDigest: undefined, refused: undefined });
    this.#pending.add(key);
  }

  /**
   * Goes on after `number` under the same token. What was sent later may or may not have arrived and is sent again in
   * its present state. False when the number is not in the range that can be resumed.
   */
  resumeAfter(number: bigint): boolean {
    const firstUnacknowledged = this.#unacknowledged.keys().next().value ?? this.#lastNumber + 1n;
    if (number > this.#lastNumber || number + 1n < firstUnacknowledged) return false;
    this.acknowledge(number);
    for (const key of this.#unacknowledged.values()) {
      this.#put(key, { hash: undefined, isLive: true, bodyDigest: undefined, refused: undefined });
      this.#pending.add(key);
    }
    this.#unacknowledged.clear();
    this.#lastNumber = number;
    return true;
  }

  /** Starts an empty view under a new token. */
  restart(token: Uint8Array): void {
    this.#entries.clear();
    this.#pending.clear();
    this.#unacknowledged.clear();
    this.#digest.reset();
    this.#liveCount = 0;
    this.#lastNumber = 0n;
    this.token = token;
    this.have = new Map();
  }

  /** The record is gone for good here; what the peer may remember of it does not matter any more. */
  forget(key: SlotKey): void {
    if (this.#entries.get(key)?.isLive === false && !this.#pending.has(key)) this.#entries.delete(key);
  }

  digest(): Uint8Array {
    return this.#digest.value();
  }

  #put(key: SlotKey, entry: SentEntry): void {
    const before = this.#entries.get(key);
    if (before?.isLive) {
      this.#liveCount -= 1;
      if (before.hash !== undefined) this.#digest.toggle(before.hash);
    }
    if (entry.isLive) {
      this.#liveCount += 1;
      if (entry.hash !== undefined) this.#digest.toggle(entry.hash);
    }
    this.#entries.set(key, entry);
  }
}
