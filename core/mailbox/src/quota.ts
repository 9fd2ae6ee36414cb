import type { ErrorFacts } from "@causeway/core-base";
import type { IncomingMail } from "./effects.ts";
import type { Lane, SourceBox } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";

/**
 * What another gateway of the domain hands over was admitted there, and what is stored here may wait for it: it has as
 * much room again, or two full mailboxes would wait for each other.
 */
const handedOverShare = 2;

/** Why a message does not fit; undefined when it does. The answer names the limit and says when to try again. */
export function overQuota(
  mail: Pick<IncomingMail, "agentId" | "bytes">,
  lane: Lane | undefined,
  box: SourceBox | undefined,
  totals: { readonly messages: number; readonly bytes: number },
  limits: MailboxLimits,
  isHandedOver = false,
): ErrorFacts | undefined {
  const share = isHandedOver ? handedOverShare : 1;
  const { bytes } = mail;
  let limit: keyof MailboxLimits;
  if ((box?.messages ?? 0) >= limits.mailboxSenderMessagesMax * share) limit = "mailboxSenderMessagesMax";
  else if ((box?.bytes ?? 0) + bytes > limits.mailboxSenderBytesMax * share) limit = "mailboxSenderBytesMax";
  else if ((lane?.messages ?? 0) >= limits.mailboxMessagesMax * share) limit = "mailboxMessagesMax";
  else if ((lane?.bytes ?? 0) + bytes > limits.mailboxBytesMax * share) limit = "mailboxBytesMax";
  else if (totals.messages >= limits.mailboxTotalMessagesMax * share) limit = "mailboxTotalMessagesMax";
  else if (totals.bytes + bytes > limits.mailboxTotalBytesMax * share) limit = "mailboxTotalBytesMax";
  else return undefined;
  return {
    code: "CAUSEWAY_MAILBOX_FULL",
    message: `${mail.agentId} cannot take the message now and its mailbox is full: ${limit} is ${limits[limit]}; retry when it was there`,
    details: { limit, agentId: mail.agentId },
    retryAfterMs: lane !== undefined && lane.links.length > 0 ? 1_000 : 60_000,
  };
}
