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

/**
 * Tells agents and neighbours that the gateway goes out of service; resolves when no agent is left, those that moved are
 * known elsewhere and nothing is on its way to them, or at the deadline. Without another gateway to go to it waits no
 * longer than `aloneMs` at a time: an agent may know one that this gateway does not.
 */
export async function askToMove(parts: DepartureParts, deadlineMs: number): Promise<void> {
  const { domain, attachments, links, scheduler, log, mailboxes, unknown, aloneMs } = parts;
  const now = scheduler.now();
  const alone = isAlone(links, domain);
  const reason = alone
    ? "the gateway goes out of service, and knows of no other that runs"
    : "the gateway goes out of service";
  const waitMs = alone ? Math.min(deadlineMs, aloneMs) : deadlineMs;
  const deadline = (now.unix + waitMs) as Now["unix"];
  const movers = new Set(attachments.attachments().map(({ agentId }) => agentId));
  if (alone && movers.size > 0) log.warn("gateway.drain_alone", { agents: movers.size, waitMs });
  attachments.startDraining(deadline, reason);
  const frame = encodeFrame({ case: "drain", value: { deadlineUnixMs: BigInt(Math.round(deadline)), reason } });
  for (const entry of links.peers()) entry.link.send(frame);
  const end = later(now.instant, deadlineMs);
  let aloneSince: Instant | undefined = alone ? now.instant : undefined;
  const endNow = (): Instant =>
    aloneSince === undefined ? end : (Math.min(end, later(aloneSince, aloneMs)) as Instant);
  // With the gateway its records go: one that moves would be unknown to everybody until its new one has come.
  const isLeft = (): boolean =>
    attachments.attachments().length > 0 || mailboxes.holdsFor(movers) || unknown().length > 0;
  while (isLeft() && scheduler.now().instant < endNow()) {
    const next = Math.min(endNow(), later(scheduler.now().instant, lookMs)) as Instant;
    await new Promise<void>((resolve) => scheduler.at(next, resolve));
    mailboxes.sweep(unknown());
    aloneSince = isAlone(links, domain) ? (aloneSince ?? scheduler.now().instant) : undefined;
  }
}
