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

  /** `now` is when it was asked for, from which every deadline counts. */
  constructor(parts: DepartureParts, deadlineMs: number, now: Now) {
    this.#parts = parts;
    this.#end = later(now.instant, deadlineMs);
    this.#look(now.instant);
  }

  /** How long it waits at most from now on. */
  leftMs(now: Instant): number {
    return Math.max(0, Math.round(this.#look(now) - now));
  }

  /** Makes the deadline sooner, and tells everybody so; one that is later changes nothing. */
  shorten(deadlineMs: number, now: Now): void {
    const end = later(now.instant, deadlineMs);
    if (end >= this.#end) return;
    this.#end = end;
    this.#announce(now);
  }

  /**
   * Tells agents and neighbours that the gateway goes out of service; resolves when no agent is left, those that moved
   * are known elsewhere and nothing is on its way to them, or at the deadline. Without another gateway to go to it waits
   * no longer than `aloneMs` at a time: an agent may know one that this gateway does not.
   */
  async run(now: Now): Promise<void> {
    const { attachments, scheduler, mailboxes, unknown, log } = this.#parts;
    const movers = new Set(attachments.attachments().map(({ agentId }) => agentId));
    if (this.#aloneSince !== undefined && movers.size > 0)
      log.warn("gateway.drain_alone", { agents: movers.size, waitMs: this.leftMs(now.instant) });
    this.#announce(now);
    // With the gateway its records go: one that moves would be unknown to everybody until its new one has come.
    const isLeft = (): boolean =>
      attachments.attachments().length > 0 || mailboxes.holdsFor(movers) || unknown().length > 0;
    for (;;) {
      const { instant } = scheduler.now();
      const end = this.#look(instant);
      if (!isLeft() || instant >= end) return;
      await new Promise<void>((resolve) => scheduler.at(Math.min(end, later(instant, lookMs)) as Instant, resolve));
      mailboxes.sweep(unknown());
    }
  }

  /** Looks whether there is another gateway to go to; answers when the wait ends by that. */
  #look(now: Instant): Instant {
    const { links, domain, aloneMs } = this.#parts;
    this.#aloneSince = isAlone(links, domain) ? (this.#aloneSince ?? now) : undefined;
    return this.#aloneSince === undefined
      ? this.#end
      : (Math.min(this.#end, later(this.#aloneSince, aloneMs)) as Instant);
  }

  #announce(now: Now): void {
    const { attachments, links } = this.#parts;
    const end = this.#look(now.instant);
    if (this.#announced !== undefined && end >= this.#announced) return;
    this.#announced = end;
    const reason =
      this.#aloneSince === undefined
        ? "the gateway goes out of service"
        : "the gateway goes out of service, and knows of no other that runs";
    const deadline = (now.unix + this.leftMs(now.instant)) as Now["unix"];
    attachments.startDraining(deadline, reason);
    const frame = encodeFrame({ case: "drain", value: { deadlineUnixMs: BigInt(Math.round(deadline)), reason } });
    for (const entry of links.peers()) entry.link.send(frame);
  }
}
