import {
  type AgentId,
  type Domain,
  type Instant,
  type Log,
  later,
  type Now,
  type Scheduler,
} from "@causeway/core-base";
import { encodeFrame } from "@causeway/core-wire";
import type { AttachmentDriver } from "./attachment-driver.ts";
import type { Links } from "./links.ts";
import type { MailboxDriver } from "./mailbox-driver.ts";

/** Time between two looks at whether the last agent has gone. */
const lookMs = 50;

/** What going out of service works with. */
export interface DepartureParts {
  readonly domain: Domain;
  readonly attachments: AttachmentDriver;
  readonly links: Links;
  readonly scheduler: Scheduler;
  readonly log: Log;
  readonly mailboxes: Pick<MailboxDriver, "holdsFor" | "sweep">;
  /** Those that have left for another gateway, and are not known there yet. */
  readonly unknown: () => readonly AgentId[];
  /** How long to wait while no other gateway of the domain is known to run. */
  readonly aloneMs: number;
}

/** True when no other gateway of the domain, to which agents could go, is linked with this one. */
export function isAlone(links: Links, domain: Domain): boolean {
  return !links.peers().some((entry) => entry.peer.domain === domain && !entry.isLeaving);
}

/** A gateway on its way out of service, from the moment that it is made. */
export class Departure {
  readonly #parts: DepartureParts;
  #end: Instant;
  #aloneSince: Instant | undefined;
  /** What agents and neighbours were told last. */
  #announced: Instant | undefined;

  constructor(parts: DepartureParts, deadlineMs: number) {
    this.#parts = parts;
    this.#end = later(parts.scheduler.now().instant, deadlineMs);
  }

  /** How long it waits at most from now on. */
  get leftMs(): number {
    return Math.max(0, Math.round(this.#endNow() - this.#parts.scheduler.now().instant));
  }

  /** Makes the deadline sooner, and tells everybody so; one that is later changes nothing. */
  shorten(deadlineMs: number): void {
    const end = later(this.#parts.scheduler.now().instant, deadlineMs);
    if (end >= this.#end) return;
    this.#end = end;
    this.#announce();
  }

  /**
   * Tells agents and neighbours that the gateway goes out of service; resolves when no agent is left, those that moved
   * are known elsewhere and nothing is on its way to them, or at the deadline. Without another gateway to go to it waits
   * no longer than `aloneMs` at a time: an agent may know one that this gateway does not.
   */
  async run(): Promise<void> {
    const { attachments, scheduler, mailboxes, unknown } = this.#parts;
    const movers = new Set(attachments.attachments().map(({ agentId }) => agentId));
    this.#announce(movers.size);
    // With the gateway its records go: one that moves would be unknown to everybody until its new one has come.
    const isLeft = (): boolean =>
      attachments.attachments().length > 0 || mailboxes.holdsFor(movers) || unknown().length > 0;
    while (isLeft() && scheduler.now().instant < this.#endNow()) {
      const next = Math.min(this.#endNow(), later(scheduler.now().instant, lookMs)) as Instant;
      await new Promise<void>((resolve) => scheduler.at(next, resolve));
      mailboxes.sweep(unknown());
    }
  }

  #endNow(): Instant {
    const { links, domain, scheduler, aloneMs } = this.#parts;
    this.#aloneSince = isAlone(links, domain) ? (this.#aloneSince ?? scheduler.now().instant) : undefined;
    return this.#aloneSince === undefined
      ? this.#end
      : (Math.min(this.#end, later(this.#aloneSince, aloneMs)) as Instant);
  }

  #announce(agents = 0): void {
    const { attachments, links, scheduler, log } = this.#parts;
    const end = this.#endNow();
    if (this.#announced !== undefined && end >= this.#announced) return;
    this.#announced = end;
    const alone = this.#aloneSince !== undefined;
    const reason = alone
      ? "the gateway goes out of service, and knows of no other that runs"
      : "the gateway goes out of service";
    if (alone && agents > 0) log.warn("gateway.drain_alone", { agents, waitMs: this.leftMs });
    const deadline = (scheduler.now().unix + this.leftMs) as Now["unix"];
    attachments.startDraining(deadline, reason);
    const frame = encodeFrame({ case: "drain", value: { deadlineUnixMs: BigInt(Math.round(deadline)), reason } });
    for (const entry of links.peers()) entry.link.send(frame);
  }
}
