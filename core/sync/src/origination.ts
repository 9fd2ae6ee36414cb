/**
 * Our own records (AMSP-60, AMSP-100): each change gets the next version of this gateway's one sequence, is persisted,
 * and only then told to anybody. When somebody holds a version that we never gave out, our store was set back; a greater
 * epoch makes everything that we say now newer than everything that we said before.
 */
import { type AgentId, domainOf, type GatewayUri, type Instant, later, type Now, refuse } from "@causeway/core-base";
import {
  compareVersions,
  equalBytes,
  type OriginStatement,
  type RegisteredRecord,
  type Status,
  type Version,
} from "@causeway/core-records";
import { type HeldBody, type Slot, slotKey } from "./loc-rib.ts";
import type { SlotChange, SyncState } from "./sync-state.ts";

/** What a gateway says of an agent that is attached here. */
export interface Announcement {
  readonly registered: RegisteredRecord;
  readonly status: Exclude<Status, "deregistered">;
  /** From the live attachment; orders several origins of one agent. */
  readonly attachmentSequence: bigint;
}

export class Origination {
  readonly #state: SyncState;
  #version: Version;
  /** What the last announcement replaced. */
  #replaced: { readonly agentId: AgentId; readonly held: Slot["held"] | undefined } | undefined;
  /** No further epoch before. */
  #nextEpochAt: Instant | undefined;

  constructor(state: SyncState) {
    this.#state = state;
    this.#version = state.options.own;
    this.#noteOwn();
  }

  announce(now: Now, { registered, status, attachmentSequence }: Announcement): void {
    const { record, signed, digest } = registered.verified;
    this.#mayOriginate(record.agentId);
    const held = this.#slot(record.agentId)?.held;
    const isSame =
      held?.body !== undefined &&
      equalBytes(held.statement.bodyDigest, digest) &&
      held.statement.status === status &&
      held.statement.attachmentSequence === attachmentSequence;
    this.#replaced = undefined;
    if (isSame) return;
    const body =
      held?.body !== undefined && equalBytes(held.statement.bodyDigest, digest) ? held.body : { record, signed };
    this.#replaced = { agentId: record.agentId, held };
    this.#originate(now, record.agentId, { status, attachmentSequence, body, bodyDigest: digest });
  }

  /** Says again, under a new version, what the last announcement replaced: nobody is to keep what was refused. */
  undoAnnounce(now: Now): void {
    if (this.#replaced === undefined) return;
    const { agentId, held } = this.#replaced;
    this.#replaced = undefined;
    if (held?.body === undefined) {
      this.withdraw(now, agentId);
      return;
    }
    const { status, attachmentSequence, bodyDigest } = held.statement;
    this.#originate(now, agentId, { status, attachmentSequence, body: held.body, bodyDigest });
  }

  /** False when no such record is originated here. */
  setStatus(now: Now, agentId: AgentId, status: Status, attachmentSequence: bigint | undefined): boolean {
    const held = this.#slot(agentId)?.held;
    if (held?.body === undefined) return false;
    if (status === "deregistered") return this.withdraw(now, agentId);
    const { statement, body } = held;
    const sequence = attachmentSequence ?? statement.attachmentSequence;
    if (statement.status === status && statement.attachmentSequence === sequence) return true;
    const { bodyDigest } = statement;
    this.#originate(now, agentId, { status, attachmentSequence: sequence, body, bodyDigest });
    return true;
  }

  /** False when no such record is originated here. */
  withdraw(now: Now, agentId: AgentId): boolean {
    const held = this.#slot(agentId)?.held;
    if (held?.body === undefined) return false;
    this.#tombstone(now, agentId, held.statement.attachmentSequence);
    return true;
  }

  /** A peer knows a version of ours: if we never gave it out, start a greater epoch and say everything again. */
  noticeClaim(now: Now, claimed: Version): void {
    if (this.#state.self.role === "reader" || compareVersions(claimed, this.#version) <= 0) return;
    // An epoch is a time or a small counter. A claim far beyond is a lie that would use up the number space.
    const epochMax = BigInt(Math.max(now.unix, Number(this.#version.epoch))) + epochLeadMax;
    if (claimed.epoch > epochMax) return;
    // Nobody proves a claim, and each epoch makes us say everything again. A true claim comes again with each audit.
    if (this.#nextEpochAt !== undefined && now.instant < this.#nextEpochAt) return;
    this.#nextEpochAt = later(now.instant, epochDistanceMs);
    this.#version = { epoch: claimed.epoch + 1n, sequence: 0n };
    const reason = `a peer holds version ${claimed.epoch}.${claimed.sequence}, which this store never gave out`;
    this.#state.event({ name: "sync.epoch_raised", epoch: this.#version.epoch, reason });
    for (const slot of [...this.#state.base.slots()]) {
      if (slot.origin !== this.#state.self.name) continue;
      const { statement, body } = slot.held;
      const { attachmentSequence, bodyDigest, status } = statement;
      if (body === undefined) this.#tombstone(now, slot.agentId, attachmentSequence);
      else this.#originate(now, slot.agentId, { status, attachmentSequence, body, bodyDigest });
    }
  }

  #originate(
    now: Now,
    agentId: AgentId,
    content: Pick<OriginStatement, "status" | "attachmentSequence" | "bodyDigest"> & { readonly body: HeldBody },
  ): void {
    const { body, ...rest } = content;
    const before = this.#slot(agentId)?.held;
    const slot = this.#sign(now, { ...rest, agentId, withdrawn: false }, body);
    slot.ways.set("local", { via: "local", version: slot.held.statement.version, path: [] });
    const isStatusOnly = before?.body === body && before.statement.status !== rest.status;
    this.#changed(now, slot, isStatusOnly ? "status" : "content");
  }

  #tombstone(now: Now, agentId: AgentId, attachmentSequence: bigint): void {
    const rest = {
      agentId,
      attachmentSequence,
      status: "deregistered",
      bodyDigest: new Uint8Array(),
      withdrawn: true,
    } as const;
    const slot = this.#sign(now, rest, undefined);
    slot.ways.delete("local");
    this.#changed(now, slot, "content");
  }

  /** Signs the next version and puts it into the base. */
  #sign(now: Now, rest: Omit<OriginStatement, "origin" | "version" | "at">, body: HeldBody | undefined): Slot {
    const version = { epoch: this.#version.epoch, sequence: this.#version.sequence + 1n };
    this.#version = version;
    const statement: OriginStatement = { ...rest, origin: this.#state.self.name as GatewayUri, version, at: now.unix };
    const signed = this.#state.options.sign(statement);
    return this.#state.base.take({ statement, signed, body }, { via: "local", version, path: [] });
  }

  #changed(now: Now, slot: Slot, change: SlotChange): void {
    this.#state.emit({ type: "persist", change: { kind: "version", own: this.#version } });
    this.#state.persistSlot(now, slot);
    this.#noteOwn();
    this.#state.slotChanged(now, slot, change);
  }

  #noteOwn(): void {
    if (this.#state.self.role === "reader" || this.#version.sequence === 0n) return;
    this.#state.vector.set(this.#state.self.name as GatewayUri, this.#version);
  }

  #slot(agentId: AgentId): Slot | undefined {
    return this.#state.base.slot(slotKey(agentId, this.#state.self.name));
  }

  #mayOriginate(agentId: AgentId): void {
    const { self } = this.#state;
    if (self.role === "reader")
      throw refuse("CAUSEWAY_MISUSE", "expected a gateway, got a reader; readers announce nothing");
    if (domainOf(agentId) !== self.domain) {
      throw refuse(
        "CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED",
        `expected an agent of ${self.domain}, got ${agentId}; a gateway announces its own domain only`,
      );
    }
  }
}

/** Shortest time between two epochs of one run: 10 minutes. */
const epochDistanceMs = 600_000;
/** How far a claimed epoch may lead ours and the clock: one day of milliseconds. */
const epochLeadMax = 86_400_000n;
