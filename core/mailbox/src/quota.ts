import type { ErrorFacts } from "@causeway/core-base";
import type { IncomingMail } from "./effects.ts";
import type { Lane } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";

/** Why a message does not fit; undefined when it does. The answer names the limit and says when to try again. */
export function overQuota(
  mail: Pick<IncomingMail, "agentId" | "source" | "bytes">,
  lane: Lane | undefined,
  totals: { readonly messages: number; readonly bytes: number },
  limits: MailboxLimits,
): ErrorFacts | undefined {
  const box = lane?.boxes.get(mail.source);
  const { bytes } = mail;
  const held: readonly (readonly [keyof MailboxLimits, number])[] = [
    ["mailboxSenderMessagesMax", (box?.items.size ?? 0) + 1],
    ["mailboxSenderBytesMax", (box?.bytes ?? 0) + bytes],
    ["mailboxMessagesMax", (lane?.messages ?? 0) + 1],
    ["mailboxBytesMax", (lane?.bytes ?? 0) + bytes],
    ["mailboxTotalMessagesMax", totals.messages + 1],
    ["mailboxTotalBytesMax", totals.bytes + bytes],
  ];
  const over = held.find(([limit, value]) => value > limits[limit]);
  if (over === undefined) return undefined;
  const [limit] = over;
  return {
    code: "CAUSEWAY_MAILBOX_FULL",
    message: `${mail.agentId} cannot take the message now and its mailbox is full: ${limit} is ${limits[limit]}; retry when it was there`,
    details: { limit, agentId: mail.agentId },
    retryAfterMs: lane !== undefined && lane.links.length > 0 ? 1_000 : 60_000,
  };
}
