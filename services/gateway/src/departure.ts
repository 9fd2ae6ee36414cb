import { type AgentId, later, type Now, type Scheduler } from "@causeway/core-base";
import { encodeFrame } from "@causeway/core-wire";
import type { AttachmentDriver } from "./attachment-driver.ts";
import type { Links } from "./links.ts";
import type { MailboxDriver } from "./mailbox-driver.ts";

/** Time between two looks at whether the last agent has gone. */
const lookMs = 50;

/**
 * Tells agents and neighbours that the gateway goes out of service; resolves when no agent is left, those that moved are
 * known elsewhere and nothing is on its way to them, or at the deadline. `unknown`: those that have left for another
 * gateway, and are not known there yet.
 */
export async function askToMove(
  attachments: AttachmentDriver,
  links: Links,
  scheduler: Scheduler,
  deadlineMs: number,
  mailboxes: Pick<MailboxDriver, "holdsFor" | "sweep">,
  unknown: () => readonly AgentId[],
): Promise<void> {
  const now = scheduler.now();
  const reason = "the gateway goes out of service";
  const deadline = (now.unix + deadlineMs) as Now["unix"];
  const movers = new Set(attachments.attachments().map(({ agentId }) => agentId));
  attachments.startDraining(deadline, reason);
  const frame = encodeFrame({ case: "drain", value: { deadlineUnixMs: BigInt(Math.round(deadline)), reason } });
  for (const entry of links.peers()) entry.link.send(frame);
  const end = later(now.instant, deadlineMs);
  // With the gateway its records go: one that moves would be unknown to everybody until its new one has come.
  const isLeft = (): boolean =>
    attachments.attachments().length > 0 || mailboxes.holdsFor(movers) || unknown().length > 0;
  while (isLeft() && scheduler.now().instant < end) {
    const next = Math.min(end, later(scheduler.now().instant, lookMs)) as Now["instant"];
    await new Promise<void>((resolve) => scheduler.at(next, resolve));
    mailboxes.sweep(unknown());
  }
}
