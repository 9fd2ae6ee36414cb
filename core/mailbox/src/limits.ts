import { defaults } from "@causeway/core-base";

/** Bounds of the mailboxes of one gateway. */
export interface MailboxLimits {
  /** Messages, and their bytes, in the mailbox of one agent. Beyond it: CAUSEWAY_MAILBOX_FULL. */
  readonly mailboxMessagesMax: number;
  readonly mailboxBytesMax: number;
  /** Messages, and their bytes, of one sender in the mailbox of one agent. */
  readonly mailboxSenderMessagesMax: number;
  readonly mailboxSenderBytesMax: number;
  /** Messages, and their bytes, in all mailboxes together. */
  readonly mailboxTotalMessagesMax: number;
  readonly mailboxTotalBytesMax: number;
  /** How long a message is stored whose sender does not say. */
  readonly mailboxMs: number;
  /** The longest that a message is stored, and that the record of an agent that is away stays announced. */
  readonly mailboxMsMax: number;
  /** Times that a message is handed to its agent before it is given up. */
  readonly mailboxAttemptsMax: number;
  /** Messages, and their bytes, that are handed to one agent and not acknowledged. More wait for an acknowledgement. */
  readonly mailboxWindowMessages: number;
  readonly mailboxWindowBytes: number;
  /** Dead letters that are kept, and their bytes. Beyond it the oldest go. */
  readonly deadLettersMax: number;
  readonly deadLetterBytesMax: number;
  /** How long a dead letter is kept. */
  readonly deadLetterMs: number;
  /** Messages, and their bytes, of one MailboxTransfer to another gateway. */
  readonly mailboxTransferMessages: number;
  readonly mailboxTransferBytes: number;
  /** Wait for the answer to a MailboxTransfer, and the first wait before the next attempt; it doubles, up to the second. */
  readonly mailboxTransferMs: number;
  readonly mailboxTransferMsMax: number;
}

/** Default bounds. */
export const mailboxLimits: MailboxLimits = {
  mailboxMessagesMax: 10_000,
  mailboxBytesMax: 67_108_864,
  mailboxSenderMessagesMax: 2_000,
  mailboxSenderBytesMax: 16_777_216,
  mailboxTotalMessagesMax: 250_000,
  mailboxTotalBytesMax: 1_073_741_824,
  mailboxMs: defaults.mailboxMs,
  mailboxMsMax: defaults.mailboxMsMax,
  mailboxAttemptsMax: 16,
  mailboxWindowMessages: 1_024,
  mailboxWindowBytes: 4_194_304,
  deadLettersMax: 10_000,
  deadLetterBytesMax: 67_108_864,
  deadLetterMs: 604_800_000,
  mailboxTransferMessages: 64,
  mailboxTransferBytes: 1_048_576,
  mailboxTransferMs: 5_000,
  mailboxTransferMsMax: 60_000,
};
