/**
 * Records of this gateway's own agents: accepted from their owners with the registry's receipt, originated in AMSP, and
 * kept in step with presence (C-12, ANA-97 to ANA-105).
 */
import { create } from "@bufbuild/protobuf";
import type { Attachment } from "@causeway/core-attachment";
import { type AgentId, CausewayError, domainOf, type Instant, later, type Now, refuse } from "@causeway/core-base";
import { compareRevisions, equalBytes, type RecordVerifier } from "@causeway/core-records";
import { aap, toErrorDetail } from "@causeway/core-wire";
import type { BoundedLog } from "./bounded-log.ts";
import type { GatewayConfig, GatewayDeps, GatewayLimits } from "./ports.ts";
import type { LiveStatus, SyncDriver } from "./sync-driver.ts";

/** What adverts work with. */
export interface AdvertParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly verifier: RecordVerifier;
  readonly sync: SyncDriver;
  readonly security: BoundedLog;
  /** The agent is attached at another gateway. */
  readonly isElsewhere: (agentId: AgentId) => boolean;
  /** False from the begin of a drain on. */
  readonly isRunning: () => boolean;
  /** The agent took its record back and has left. */
  readonly onDeregistered: (agentId: AgentId) => void;
}

/** An agent that is registered here and not attached: since this gateway started, or because it is away. */
interface Awaited {
  readonly offlineAt: Instant;
  readonly removedAt: Instant;
  isOffline: boolean;
  /** Since when another gateway is taken to have it. */
  elsewhereSince?: Instant | undefined;
}

/** Announces, updates and withdraws. */
export class Adverts {
  readonly #parts: AdvertParts;
  readonly #awaited = new Map<AgentId, Awaited>();
  /** Attached agents that took their records back. */
  readonly #deregistered = new Set<AgentId>();

  constructor(parts: AdvertParts) {
    this.#parts = parts;
  }

  /**
   * After a restart: agents of the stored records have the time of a lost link to come back (AAP-82), and then the time
   * that they said they may be away.
   */
  start(now: Now): void {
    const { staleAfterMs, removeAfterStaleMs } = this.#parts.limits;
    for (const route of this.#parts.sync.machine.allRoutes()) {
      if (route.via !== "local") continue;
      const offlineAt = later(now.instant, staleAfterMs);
      this.#awaited.set(route.agentId, {
        offlineAt,
        removedAt: later(offlineAt, removeAfterStaleMs + this.#awayMs(route.agentId)),
        isOffline: false,
      });
    }
  }

  /** Agents that may have attached at another gateway meanwhile: this one has to hear of it, or it would shadow them. */
  get awaited(): readonly AgentId[] {
    return [...this.#awaited.keys()];
  }

  /** Agents of stored records that did not come back in time go offline, then out of the tables. */
  sweep(now: Now): void {
    for (const [agentId, awaited] of this.#awaited) {
      if (awaited.removedAt <= now.instant || this.#mayLeave(agentId, awaited, now)) this.#leaveTo(agentId);
      else if (awaited.offlineAt <= now.instant && !awaited.isOffline) {
        awaited.isOffline = true;
        this.#publish(agentId, "offline", undefined);
      }
    }
  }

  /** Of an agent that is awaited here something was heard from another gateway, which is being told of it just now. */
  handleRoute(agentId: AgentId): void {
    if (!this.#awaited.has(agentId)) return;
    const { scheduler, endOfTurn } = this.#parts.deps;
    endOfTurn(() => {
      if (this.#look(agentId) === "later") {
        scheduler.at(later(scheduler.now().instant, bothAwaitMs), () => this.#look(agentId));
      }
    });
  }

  /** Which of these agents are announced by this gateway alone, and may be away. */
  announcedHereOnly(agents: Iterable<AgentId>): readonly AgentId[] {
    return [...agents].filter(
      (each) =>
        this.#parts.sync.ownRoute(each) !== undefined && this.#awayMs(each) > 0 && !this.#parts.isElsewhere(each),
    );
  }

  /** Serves an Advertise frame. The answer goes out after the record is on the disk (AMSP-60). */
  handle(
    attachment: Attachment,
    attachments: readonly Attachment[],
    request: aap.Advertise,
    now: Now,
  ): aap.AdvertiseResult {
    try {
      if (request.withdraw) this.#withdrawFor(attachment.agentId);
      else this.#announce(attachment, attachments, request, now);
      const version = this.#parts.sync.ownRoute(attachment.agentId)?.version;
      return create(aap.AdvertiseResultSchema, {
        request: request.request,
        epoch: version?.epoch ?? 0n,
        sequence: version?.sequence ?? 0n,
      });
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      this.#parts.security.warn("records.advertisement_refused", {
        agentId: attachment.agentId,
        code: error.code,
        reason: error.message,
      });
      return create(aap.AdvertiseResultSchema, { request: request.request, error: toErrorDetail(error) });
    }
  }

  /** The agent's attachments are these now: its record follows. `hasEnded`: the last ended, and not by silence. */
  handlePresence(agentId: AgentId, attachments: readonly Attachment[], hasEnded: boolean): void {
    if (attachments.length === 0 && this.#deregistered.delete(agentId)) this.#parts.onDeregistered(agentId);
    const own = this.#parts.sync.ownRoute(agentId);
    if (own === undefined) return;
    if (attachments.length > 0) this.#awaited.delete(agentId);
    // Attached without the flag, an agent takes its consent back (ANA-97).
    const advertised = attachments.filter((each) => each.advertise);
    if (advertised.length === 0) {
      if (this.#awaited.has(agentId)) return;
      if (attachments.length > 0 || hasEnded || this.#awayMs(agentId) === 0) this.#withdraw(agentId);
      else this.#await(agentId);
      return;
    }
    const status = statusOf(advertised);
    const sequence = latest(advertised);
    if (own.status === status && own.attachmentSequence === sequence) return;
    this.#publish(agentId, status, sequence);
  }

  #announce(attachment: Attachment, attachments: readonly Attachment[], request: aap.Advertise, now: Now): void {
    const { verifier, sync, config } = this.#parts;
    if (request.record === undefined)
      throw refuse("CAUSEWAY_RECORD_MALFORMED", "expected a record to advertise, got none");
    const verified = verifier.verifyRecord(request.record, now.unix);
    if (verified.record.agentId !== attachment.agentId) {
      throw refuse(
        "CAUSEWAY_RECORD_NOT_OWNER",
        `expected the record of ${attachment.agentId}, got that of ${verified.record.agentId}`,
      );
    }
    if (domainOf(attachment.agentId) !== config.domain) {
      throw refuse(
        "CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED",
        `this gateway announces agents of ${config.domain} only; attach at a gateway of ${domainOf(attachment.agentId)}`,
      );
    }
    const registered = verifier.verifyReceipt(verified, request.receipt, now.unix);
    this.#deregistered.delete(attachment.agentId);
    const held = sync.ownRoute(attachment.agentId);
    const order = compareRevisions(held && this.#revisionOf(held), {
      revision: verified.record.revision,
      digest: verified.digest,
    });
    if (order === "older" || order === "conflict") {
      throw refuse(
        "CAUSEWAY_RECORD_OLDER",
        `expected revision ${held?.record.revision ?? 0n} of the record or a newer one, got ${verified.record.revision}`,
      );
    }
    const live = attachments.length > 0 ? attachments : [attachment];
    const status = statusOf(live);
    const sequence = latest(live);
    // An agent advertises again after each attachment; what is unchanged causes no traffic (ANA-116).
    const isKnown =
      held !== undefined &&
      order === "same" &&
      held.status === status &&
      held.attachmentSequence === sequence &&
      equalBytes(held.signed.body, verified.signed.body);
    if (!isKnown) sync.announce(registered, status, sequence);
    const awayMs = Math.min(Number(request.awayMs), this.#parts.limits.mailboxMsMax);
    if (awayMs !== this.#awayMs(attachment.agentId)) this.#parts.deps.store.setAway(attachment.agentId, awayMs);
  }

  /** How long the record stays announced while the agent is away. */
  #awayMs(agentId: AgentId): number {
    return this.#parts.deps.store.awayMs(agentId);
  }

  /** It is away: offline to everybody, and its messages are stored. */
  #await(agentId: AgentId): void {
    const now = this.#parts.deps.scheduler.now();
    const removedAt = later(now.instant, this.#awayMs(agentId));
    this.#awaited.set(agentId, { offlineAt: now.instant, removedAt, isOffline: true });
    this.#publish(agentId, "offline", undefined);
  }

  /** Leaves an awaited agent to another gateway that has it; "later" when that is to be seen. */
  #look(agentId: AgentId): "later" | undefined {
    const awaited = this.#awaited.get(agentId);
    if (awaited === undefined || !this.#parts.isRunning()) return undefined;
    if (!this.#mayLeave(agentId, awaited, this.#parts.deps.scheduler.now()))
      return awaited.elsewhereSince === undefined ? undefined : "later";
    this.#leaveTo(agentId);
    return undefined;
  }

  /**
   * Two gateways that both await it would both leave it to the other, and nobody would know it: the one that had it last
   * stays a moment longer, in which the other one's record goes.
   */
  #mayLeave(agentId: AgentId, awaited: Awaited, now: Now): boolean {
    const { sync, isElsewhere } = this.#parts;
    if (!isElsewhere(agentId)) {
      awaited.elsewhereSince = undefined;
      return false;
    }
    awaited.elsewhereSince ??= now.instant;
    const own = sync.ownRoute(agentId)?.attachmentSequence ?? 0n;
    const others = sync.machine.routes(agentId).filter(({ via }) => via !== "local");
    if (others.some(({ attachmentSequence }) => attachmentSequence > own)) return true;
    return now.instant - awaited.elsewhereSince >= bothAwaitMs;
  }

  /** Its record of another gateway is the one that counts (AAP-95), or it is gone. */
  #leaveTo(agentId: AgentId): void {
    this.#awaited.delete(agentId);
    this.#withdraw(agentId);
  }

  #revisionOf(route: NonNullable<ReturnType<SyncDriver["ownRoute"]>>): {
    readonly revision: bigint;
    readonly digest: Uint8Array;
  } {
    return { revision: route.record.revision, digest: this.#parts.deps.crypto.sha256(route.signed.body) };
  }

  /** Taking back what is not advertised is no error: the outcome is what was asked for. */
  #withdrawFor(agentId: AgentId): void {
    this.#deregistered.add(agentId);
    if (this.#parts.sync.ownRoute(agentId) !== undefined) this.#parts.sync.withdraw(agentId);
  }

  #publish(agentId: AgentId, status: LiveStatus, attachmentSequence: bigint | undefined): void {
    this.#guard(agentId, () => this.#parts.sync.setStatus(agentId, status, attachmentSequence));
  }

  #withdraw(agentId: AgentId): void {
    this.#guard(agentId, () => {
      this.#parts.sync.withdraw(agentId);
      this.#parts.deps.store.setAway(agentId, 0);
    });
  }

  /** Presence has nobody to answer to: a store that fails is logged, and takes the change when it can. */
  #guard(agentId: AgentId, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#parts.deps.log.error("records.presence_not_stored", { agentId }, error);
    }
  }
}

/** The best of an agent's attachments counts: one that answers makes it online. */
function statusOf(attachments: readonly Attachment[]): LiveStatus {
  const live = attachments.filter((each) => each.state !== "stale" && each.condition !== "offline");
  if (live.length === 0) return "offline";
  return live.some((each) => each.condition === "running") ? "online" : "degraded";
}

function latest(attachments: readonly Attachment[]): bigint {
  return attachments.reduce((most, each) => (each.attachmentSequence > most ? each.attachmentSequence : most), 0n);
}

/** How long a gateway waits for another one, which may await the agent as well, to take its record back. */
const bothAwaitMs = 500;
