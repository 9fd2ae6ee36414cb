/**
 * What was stored before a restart. Own records are usable at once; those of others wait, without a way, for the peers
 * that lead to them, so that only statements and no bodies have to be sent again.
 */
import { later, type Now, type UnixMs } from "@causeway/core-base";
import { parseStoredOrigin, parseStoredRecord } from "@causeway/core-records";
import type { SlotKey } from "./loc-rib.ts";
import type { SyncState } from "./sync-state.ts";

export class Restored {
  readonly #state: SyncState;
  /** When each slot was stored; empty once the clocks run. */
  readonly #storedAt = new Map<SlotKey, UnixMs>();

  constructor(state: SyncState) {
    this.#state = state;
    for (const stored of state.options.records ?? []) {
      const { signed, statement } = parseStoredOrigin(stored.statement);
      const body = stored.record === undefined ? undefined : parseStoredRecord(stored.record);
      const isOwn = statement.origin === state.self.name;
      const way = { via: isOwn ? "local" : statement.origin, version: statement.version, path: [] } as const;
      const slot = state.base.take({ statement, signed, body }, way);
      if (isOwn && body !== undefined) slot.ways.set("local", way);
      this.#storedAt.set(slot.key, stored.storedAt);
    }
  }

  /** Records are here and no clock was read yet. */
  get isWaiting(): boolean {
    return this.#storedAt.size > 0;
  }

  /** At the first input: the routes of own records, and the remaining time of each tombstone. */
  start(now: Now): void {
    for (const [key, storedAt] of this.#storedAt) {
      const slot = this.#state.base.slot(key);
      if (slot === undefined) continue;
      this.#state.slotChanged(now, slot, "ways");
      if (!slot.held.statement.withdrawn) continue;
      const age = Math.max(0, now.unix - storedAt);
      const until = later(now.instant, Math.max(0, this.#state.limits.tombstoneMs - age));
      this.#state.base.expireAt(slot, until);
      this.#state.wakeAt("expire", until);
    }
    this.#storedAt.clear();
  }
}
