/** What a gateway could not store yet, and what may not be sent before it is stored (AMSP-60). */
import type { CausewayError } from "@causeway/core-base";
import type { SyncChange, SyncEffect } from "@causeway/core-sync";

/** Changes and messages that wait together; more, and the record base is read again from the disk. */
export const backlogMax = 65_536;

/** Waits for a store that fails. */
export class Backlog {
  /** Why the store failed first. */
  readonly error: CausewayError;
  readonly changes: SyncChange[] = [];
  readonly sends: Extract<SyncEffect, { type: "send" }>[] = [];

  constructor(error: CausewayError) {
    this.error = error;
  }

  /** Keeps the effect; false when it depends on nothing that is stored, and is to be performed now. */
  take(effect: SyncEffect): boolean {
    if (effect.type === "persist") this.changes.push(effect.change);
    else if (effect.type === "send" && effect.message.body.case !== "keepAlive") this.sends.push(effect);
    else return false;
    return true;
  }

  get isFull(): boolean {
    return this.changes.length + this.sends.length > backlogMax;
  }
}
