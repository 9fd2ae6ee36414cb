/**
 * Records of a gateway's own agents, kept in step with presence (C-12): announced when the agent advertises, its status
 * after its attachments, withdrawn when the last of them is gone. Small, and to the letter of what gateways do.
 */
import type { Attachment } from "@causeway/core-attachment";
import { type AgentId, type Instant, isCausewayError, later } from "@causeway/core-base";
import type { aap } from "@causeway/core-wire";
import type { Gateway } from "./gateway.ts";
import { signatures } from "./identities.ts";

type LiveStatus = "online" | "degraded" | "offline";

export class Presence {
  readonly #gateway: Gateway;
  /** Agents of announced records that are not attached, each with the number of its absence. */
  readonly #awaited = new Map<AgentId, number>();
  readonly #awayMs: number;
  #absences = 0;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.#awayMs = gateway.limits.mail?.awayMs ?? 0;
  }

  /** After a restart agents have the time of a lost link to come back (AAP-82). */
  start(): void {
    const { sync, limits } = this.#gateway;
    const { instant } = this.#gateway.now();
    // Where gateways announce by themselves nobody is waited for.
    if (!this.#gateway.plan.hasAgents) return;
    for (const route of sync?.machine.allRoutes() ?? []) {
      if (route.via !== "local") continue;
      const absence = this.#noteAbsence(route.agentId);
      const offlineAt = later(instant, limits.attachment.staleAfterMs);
      this.#at(offlineAt, () => {
        if (this.#awaited.get(route.agentId) === absence) this.#publish(route.agentId, "offline", undefined);
      });
      this.#removeAt(later(offlineAt, limits.attachment.removeAfterStaleMs + this.#awayMs), route.agentId, absence);
    }
    if (limits.mail !== undefined) this.#sweepLater();
  }

  /** An Advertise frame of an attached agent. */
  advertise(attachment: Attachment, attachments: readonly Attachment[], request: aap.Advertise): void {
    const gateway = this.#gateway;
    const now = gateway.now();
    if (request.withdraw) return this.#withdraw(attachment.agentId);
    if (request.record === undefined) return;
    try {
      const verifier = signatures.verifier();
      const verified = verifier.verifyRecord(request.record, now.unix);
      const registered = verifier.verifyReceipt(verified, request.receipt, now.unix);
      if (verified.record.agentId !== attachment.agentId) return;
      const held = this.#own(attachment.agentId);
      if (held !== undefined && held.record.revision > verified.record.revision) return;
      const live = attachments.length > 0 ? attachments : [attachment];
      gateway.sync?.input((machine) =>
        machine.announce(now, { registered, status: statusOf(live), attachmentSequence: latest(live) }),
      );
    } catch (thrown) {
      // An agent that may not advertise here is refused and goes on without a record.
      if (!isCausewayError(thrown)) throw thrown;
      gateway.world.note(() => `${gateway.name} refuses a record of ${attachment.agentId}: ${thrown.message}`);
    }
  }

  /** The agent's attachments are these now. */
  follow(agentId: AgentId, attachments: readonly Attachment[]): void {
    const own = this.#own(agentId);
    if (own === undefined) return;
    if (attachments.length > 0) this.#awaited.delete(agentId);
    const advertised = attachments.filter((each) => each.advertise);
    if (advertised.length === 0) {
      if (this.#awaited.has(agentId)) return;
      if (attachments.length > 0 || this.#awayMs === 0) return this.#withdraw(agentId);
      const absence = this.#noteAbsence(agentId);
      this.#removeAt(later(this.#gateway.now().instant, this.#awayMs), agentId, absence);
      this.#publish(agentId, "offline", undefined);
      return;
    }
    const [status, sequence] = [statusOf(advertised), latest(advertised)];
    if (own.status !== status || own.attachmentSequence !== sequence) this.#publish(agentId, status, sequence);
  }

  #noteAbsence(agentId: AgentId): number {
    this.#awaited.set(agentId, ++this.#absences);
    return this.#absences;
  }

  #removeAt(at: Instant, agentId: AgentId, absence: number): void {
    this.#at(at, () => {
      if (this.#awaited.get(agentId) !== absence) return;
      this.#awaited.delete(agentId);
      this.#withdraw(agentId);
    });
  }

  /** The record of an agent that is attached elsewhere by now is the one that counts (AAP-95). */
  #sweepLater(): void {
    this.#at(later(this.#gateway.now().instant, sweepMs), () => {
      for (const agentId of [...this.#awaited.keys()]) {
        if (!this.#gateway.isElsewhere(agentId)) continue;
        this.#awaited.delete(agentId);
        this.#withdraw(agentId);
      }
      this.#sweepLater();
    });
  }

  #own(agentId: AgentId) {
    return this.#gateway.sync?.machine.routes(agentId).find((route) => route.via === "local");
  }

  #publish(agentId: AgentId, status: LiveStatus, sequence: bigint | undefined): void {
    if (this.#own(agentId) === undefined) return;
    this.#gateway.sync?.input((machine) => machine.setStatus(this.#gateway.now(), agentId, status, sequence));
  }

  #withdraw(agentId: AgentId): void {
    if (this.#own(agentId) === undefined) return;
    this.#gateway.sync?.input((machine) => machine.withdraw(this.#gateway.now(), agentId));
  }

  #at(at: Instant, work: () => void): void {
    const gateway = this.#gateway;
    const { life } = gateway;
    gateway.world.queue.push(gateway.timeOf(at), `${gateway.name} presence timer`, () => {
      if (gateway.life === life && gateway.sync !== undefined) work();
    });
  }
}

/** The best of an agent's attachments counts. */
function statusOf(attachments: readonly Attachment[]): LiveStatus {
  const live = attachments.filter((each) => each.state !== "stale" && each.condition !== "offline");
  if (live.length === 0) return "offline";
  return live.some((each) => each.condition === "running") ? "online" : "degraded";
}

function latest(attachments: readonly Attachment[]): bigint {
  return attachments.reduce((most, each) => (each.attachmentSequence > most ? each.attachmentSequence : most), 0n);
}

const sweepMs = 500;
