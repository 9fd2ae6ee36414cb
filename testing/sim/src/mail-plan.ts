/** What a seed draws of mailboxes, reliable messages and streams, in the worlds that have them. */
import { type MailboxLimits, mailboxLimits } from "@causeway/core-mailbox";
import {
  initialCreditBytes,
  type SessionLimits,
  type StreamLimits,
  sessionLimits,
  streamLimits,
} from "@causeway/core-session";
import type { Wants } from "./endpoint.ts";
import { SeededRandom } from "./random.ts";

export interface MailPlan {
  readonly mailbox: MailboxLimits;
  readonly session: SessionLimits;
  readonly streams: StreamLimits;
  /** How long the record of an agent that is away stays announced. */
  readonly awayMs: number;
  /** Mean time between two sends; between two streams, if there are any; between two deeds with the life of an agent. */
  readonly sendMs: number;
  readonly streamMs: number | undefined;
  readonly lifeMs: number;
  /** Mean time of an absence. */
  readonly absenceMs: number;
  /** Longest time from the outcome to what is remembered of it, and again to its acknowledgement. */
  readonly storeMs: number;
  /** Mean time that the application takes for a message. */
  readonly handlingMs: number;
  /** After this time twice without anything in a lane, what is missing there is waited for no longer. */
  readonly gapMs: number;
  /** Of messages: how many the application refuses. */
  readonly refusals: number;
  /** Of transmissions: how many their sender acknowledges itself, which must not count. */
  readonly meddling: number;
  /** Of streams: how many are not read for a while. */
  readonly stalls: number;
  /** Processes of each agent. */
  readonly instances: readonly string[];
  /** What senders ask of gateways, as often as it is named. */
  readonly wants: readonly Wants[];
  /** Mean time between two deeds of an operator with stored messages and dead letters, if there are any. */
  readonly operatorMs: number | undefined;
  /** Longest time that a sender waits for the outcome. */
  readonly timeoutsMs: readonly number[];
  /** The same for some of the messages that have to be stored. */
  readonly storedMs: number;
}

/** The means that a directed world sets; the seed draws the bounds. */
export type MailMeans = Pick<MailPlan, "sendMs" | "streamMs" | "lifeMs" | "absenceMs"> &
  Partial<Pick<MailPlan, "instances" | "wants" | "operatorMs">>;

export function drawMail(seed: number, means: MailMeans): MailPlan {
  const random = new SeededRandom(seed, 7);
  return {
    mailbox: {
      ...mailboxLimits,
      mailboxMessagesMax: random.pick([6, 20, 200]),
      mailboxSenderMessagesMax: random.pick([4, 12, 100]),
      mailboxTotalMessagesMax: random.pick([12, 60, 1_000]),
      // Less than what waits behind a gap at the receiver would keep back what fills the gap.
      mailboxWindowMessages: random.pick([8, 64]),
      mailboxAttemptsMax: random.pick([3, 16]),
      mailboxMs: random.pick([6_000, 60_000]),
      mailboxMsMax: random.pick([10_000, 200_000]),
      mailboxTransferMessages: random.pick([1, 3, 64]),
      mailboxTransferMs: random.pick([300, 1_000]),
      mailboxTransferMsMax: 2_000,
    },
    session: {
      ...sessionLimits,
      peerWindow: random.pick([1, 3, 64]),
      retryMsFirst: random.pick([300, 1_000]),
      retryMsMax: 3_000,
      receivedRetryMsMin: random.pick([1_000, 4_000]),
      attemptsMax: random.pick([8, 64]),
      reorderPacketsMax: random.pick([1, 8]),
      ackRangesMax: random.pick([2, 256]),
    },
    streams: {
      ...streamLimits,
      windowBytes: initialCreditBytes * random.pick([1, 2]),
      queueBytes: initialCreditBytes,
      unconfirmedBytesMax: initialCreditBytes * random.pick([1, 8]),
      frameBytesMax: random.pick([8_192, 32_768]),
      probeMs: random.pick([1_500, 4_000]),
    },
    awayMs: 600_000,
    storeMs: random.pick([0, 40, 300]),
    handlingMs: random.pick([1, 40, 300]),
    storedMs: 180_000,
    gapMs: 20_000,
    refusals: random.pick([0, 0.1]),
    meddling: random.pick([0, 0.2]),
    stalls: 0.4,
    instances: ["main"],
    wants: ["nothing", "notice", "stored", "stored"],
    operatorMs: undefined,
    timeoutsMs: random.pick([[20_000], [2_000, 8_000, 20_000]]),
    ...means,
  };
}
