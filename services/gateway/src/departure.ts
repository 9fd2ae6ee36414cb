import { later, type Now, type Scheduler } from "@causeway/core-base";
import { encodeFrame } from "@causeway/core-wire";
import type { AttachmentDriver } from "./attachment-driver.ts";
import type { Links } from "./links.ts";
import type { MailboxDriver } from "./mailbox-driver.ts";

/** Time between two looks at whether the last agent has gone. */
const lookMs = 50;

/**
 * Tells agents and neighbours that the gateway goes out of service; resolves when no agent is left and nothing is on its
 * way to those that moved, or at the deadline.
 */
export async function askToMove(
  attachments: AttachmentDriver,
  links: Links,
  scheduler: Scheduler,
  deadlineMs: number,
  mailboxes: Pick<MailboxDriver, "holdsFor" | "sweep">,
): Promise<void> {
  const now = scheduler.now();
  const reason = "the gateway goes out of service";
  const deadline = (now.unix + deadlineMs) as Now["unix"];
  const movers = new Set(attachments.attachments().map(({ agentId }) => agentId));
  attachments.startDraining(deadline, reason);
  const frame = encodeFrame({ case: "drain", value: { deadlineUnixMs: BigInt(Math.round(deadline)), reason } });
  for (const entry of links.peers()) entry.link.send(frame);
  const end = later(now.instant, deadlineMs);
  while ((attachments.attachments().length > 0 || mailboxes.holdsFor(movers)) && scheduler.now().instant < end) {
    const next = Math.min(end, later(scheduler.now().instant, lookMs)) as Now["instant"];
    await new Promise<void>((resolve) => scheduler.at(next, resolve));
    mailboxes.sweep();
  }
}
