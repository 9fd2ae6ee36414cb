/**
 * What one peer told us (Adj-RIB-In): which records are in its view, by which hash, and up to which number it was
 * processed. The view changes only by numbered messages, so that both sides can compare digests (AMSP-74, AMSP-33) and a
 * new session can go on where the last one ended (AMSP-102).
 */
import type { SlotKey } from "./loc-rib.ts";
import { SetDigest } from "./set-digest.ts";

interface ViewEntry {
  hash: Uint8Array;
  /** Not named again since the last full snapshot began. */
  isStale: boolean;
}

export class AdjRibIn {
  readonly #entries = new Map<SlotKey, ViewEntry>();
  readonly #digest = new SetDigest();
  /** Token of the peer's view; undefined until its first snapshot begins. */
  token: Uint8Array | undefined;
  /** Last number that was processed under the token. */
  processed = 0n;
  /** Last number that was acknowledged. */
  acknowledged = 0n;
  /** After a gap or a mismatch: nothing counts until the next full snapshot begins. */
  isWaitingForSnapshot = false;
  /** A subscription was ended under this view, and the peer may not have heard: a new session begins anew. */
  isScopeDoubtful = false;
  /** Full views in a row that did not match. */
  mismatches = 0;

  get size(): number {
    return this.#entries.size;
  }

  has(key: SlotKey): boolean {
    return this.#entries.has(key);
  }

  keys(): readonly SlotKey[] {
    return [...this.#entries.keys()];
  }

  set(key: SlotKey, hash: Uint8Array): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#entries.set(key, { hash, isStale: false });
    } else {
      this.#digest.toggle(entry.hash);
      entry.hash = hash;
      entry.isStale = false;
    }
    this.#digest.toggle(hash);
  }

  delete(key: SlotKey): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#digest.toggle(entry.hash);
    return this.#entries.delete(key);
  }

  /** A snapshot begins. A full one marks everything until it is named again. */
  begin(token: Uint8Array, isFull: boolean): void {
    this.isWaitingForSnapshot = false;
    if (!isFull) return;
    this.isScopeDoubtful = false;
    this.token = token;
    this.processed = 0n;
    this.acknowledged = 0n;
    for (const entry of this.#entries.values()) entry.isStale = true;
  }

  /** Removes and returns what the full snapshot did not name. */
  takeStale(): readonly SlotKey[] {
    const stale: SlotKey[] = [];
    for (const [key, entry] of this.#entries) if (entry.isStale) stale.push(key);
    for (const key of stale) this.delete(key);
    return stale;
  }

  digest(): Uint8Array {
    return this.#digest.value();
  }
}
