import { defaults } from "@causeway/core-base";

/** Bounds of the mailboxes of one gateway. */
export interface MailboxLimits {
  /** Messages in the mailbox of one agent. Beyond it: CAUSEWAY_MAILBOX_FULL. */
  readonly mailboxMessagesMax: number;
  /** Bytes in the mailbox of one agent. Beyond it: CAUSEWAY_MAILBOX_FULL. */
  readonly mailboxBytesMax: number;
  /** Messages of one sender in the mailbox of one agent. */
  readonly mailboxSenderMessagesMax: number;
  /** Bytes of one sender in the mailbox of one agent. */
  readonly mailboxSenderBytesMax: number;
  /** Messages in all mailboxes together. */
  readonly mailboxTotalMessagesMax: number;
  /** Bytes in all mailboxes together. */
  readonly mailboxTotalBytesMax: number;
  /** How long a message is stored whose sender does not say. */
  readonly mailboxMs: number;
  /** The longest that a message is stored, and that the record of an agent that is away stays announced. */
  readonly mailboxMsMax: number;
  /** Times that a message is handed to its agent before it is given up. */
  readonly mailboxAttemptsMax: number;
  /** Messages that are handed to one agent and not acknowledged. More wait for an acknowledgement. */
  readonly mailboxWindowMessages: number;
  /** Bytes that are handed to one agent and not acknowledged. More wait for an acknowledgement. */
  readonly mailboxWindowBytes: number;
  /** Dead letters that are kept. Beyond it the oldest go. */
  readonly deadLettersMax: number;
  /** Bytes of the dead letters that are kept. Beyond it the oldest go. */
  readonly deadLetterBytesMax: number;
  /** How long a dead letter is kept. */
  readonly deadLetterMs: number;
  /** Messages of one MailboxTransfer to another gateway. */
  readonly mailboxTransferMessages: number;
  /** Bytes of one MailboxTransfer to another gateway. */
  readonly mailboxTransferBytes: number;
  /** First wait for the answer to a MailboxTransfer, and first pause before the next; both double with each failure. */
  readonly mailboxTransferMs: number;
  /** The longest wait for the answer to a MailboxTransfer, and the longest pause between two for one agent. */
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
