/** What is told and handed over of mailboxes, once the turn that it belongs to is on the disk. */
import {
  type AgentId,
  CausewayError,
  type ErrorFacts,
  mailIdBytes,
  type Now,
  type SpiffeId,
  type StoredFrame,
  type StoredMail,
} from "@causeway/core-base";
import type { MailFate } from "@causeway/core-forwarding";
import type { MailboxEffect, RemovalReason } from "@causeway/core-mailbox";
import { agp, FrameScan, hex, Lane, type LinkId, laneOf, scanFrame, toErrorDetail } from "@causeway/core-wire";
import type { MailTransfers } from "./mail-transfers.ts";
import type { MailboxParts } from "./mailbox-driver.ts";
import type { PositiveReports } from "./positive-reports.ts";
import type { Count, Tally } from "./tally.ts";

/** Carries effects out. */
export class MailEffects {
  /** Links that do not acknowledge and got something: the agent whose turn it is when there is room. */
  readonly bursts = new Map<LinkId, AgentId>();
  /** What was handed to such links and can be forgotten. */
  readonly delivered: number[] = [];
  readonly #parts: MailboxParts;
  readonly #transfers: MailTransfers;
  readonly #handedOver: Count;
  readonly #removals: Readonly<Record<RemovalReason, Removal>>;
  readonly #scan = new FrameScan();

  constructor(parts: MailboxParts, transfers: MailTransfers) {
    this.#parts = parts;
    this.#transfers = transfers;
    this.#handedOver = parts.tally.count("mailbox_delivered");
    this.#removals = removalsOf(parts.tally);
  }

  /** Carries one out; `link` is where the last message came over, when it is an agent's. */
  carryOut(effect: MailboxEffect, link: LinkId | undefined, now: Now): void {
    const { tally, reports } = this.#parts;
    switch (effect.kind) {
      case "store":
        this.#trace(effect.mail, "store", "", "stored on the disk of this gateway", now);
        return;
      case "stored":
        reportStored(reports, effect.mail, link);
        return;
      case "deliver":
        this.#deliver(effect.mail, effect.link as LinkId, now);
        return;
      case "remove":
        this.#remove(effect, now);
        return;
      case "bury":
        tally.add("mailbox_dead_letters");
        this.#trace(effect.mail, "dead-letter", "", effect.error.message, now);
        this.#parts.deps.log.info("mailbox.message_given_up", {
          agentId: effect.mail.agentId,
          source: effect.mail.source,
          messageId: hex(mailIdBytes(effect.mail.id)),
          code: effect.error.code,
        });
        if (effect.tells) this.#tell(effect.mail, effect.error, now);
        return;
      case "revive":
        this.#trace(effect.mail, "replay", effect.mail.agentId, "an operator put it back", now);
        return;
      case "refuse":
        // Its copy in the store went with the commit that failed.
        this.#tell(effect.mail, effect.error, now);
        return;
      case "transfer":
        this.#transfers.offer(effect, (sequence) => this.#frame(sequence), now);
        return;
    }
  }

  #deliver(mail: StoredMail, link: LinkId, now: Now): void {
    const out = this.#parts.links.get(link);
    // A link that is gone is told to the machine, which takes back what was on it.
    if (out === undefined || out.role.kind !== "agent") return;
    const frame = this.#frame(mail.sequence);
    if (frame === undefined) return;
    out.messagesOut++;
    const isRead = scanFrame(frame.buffer, frame.start, frame.end, this.#scan) === undefined;
    out.link.send(frame.buffer, frame.start, frame.end, isRead ? laneOf(this.#scan) : Lane.urgent);
    this.#handedOver.value++;
    this.#trace(mail, "deliver", mail.agentId, "handed to the agent, which has to acknowledge it", now);
  }

  #remove({ mail, why, link }: Extract<MailboxEffect, { kind: "remove" }>, now: Now): void {
    const { count, fate, reason } = this.#removals[why];
    count.value++;
    if (why === "delivered") {
      this.delivered.push(mail.sequence);
      if (link !== undefined) this.bursts.set(link as LinkId, mail.agentId);
    }
    if (fate !== undefined) this.#trace(mail, fate, mail.agentId, reason, now);
  }

  /** The frame of a stored message; undefined when it cannot be read, which is logged. */
  #frame(sequence: number): StoredFrame | undefined {
    try {
      return this.#parts.deps.mailboxes.frame(sequence);
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      this.#parts.deps.log.error("mailbox.frame_not_read", { sequence, code: error.code }, error);
      return undefined;
    }
  }

  #tell(mail: StoredMail, error: ErrorFacts, now: Now): void {
    const { answers, tally } = this.#parts;
    tally.add(`refused_${error.code.replace("CAUSEWAY_", "").toLowerCase()}`);
    const report = { messageId: mailIdBytes(mail.id), target: targetOf(mail), error: toErrorDetail(error) };
    answers.tell(mail.source as SpiffeId, report, undefined, now);
  }

  /** Dead letters are always noted, the rest when the sender asked for it. */
  #trace(mail: StoredMail, action: MailFate, to: string, reason: string, now: Now): void {
    if (!mail.isTraced && action !== "dead-letter") return;
    this.#parts.trace.noteFate({
      messageId: hex(mailIdBytes(mail.id)),
      source: mail.source,
      target: targetOf(mail),
      at: now.unix,
      from: this.#parts.config.gatewayUri,
      action,
      to,
      reason,
    });
  }
}

/** Tells the source at the end of the turn that its message is stored. */
export function reportStored(reports: PositiveReports, mail: StoredMail, link: LinkId | undefined): void {
  reports.add(mail.source as SpiffeId, targetOf(mail), mail.id, agp.Fate.STORED, link);
}

/** How a message leaves, for counting and for its trace. */
interface Removal {
  readonly count: Count;
  readonly fate: MailFate | undefined;
  readonly reason: string;
}

const removalsOf = (tally: Tally): Readonly<Record<RemovalReason, Removal>> => ({
  acknowledged: {
    count: tally.count("mailbox_acknowledged"),
    fate: "acknowledge",
    reason: "the agent has settled it",
  },
  delivered: {
    count: tally.count("mailbox_unacknowledged"),
    fate: "acknowledge",
    reason: "handed to an agent that does not acknowledge",
  },
  "handed-over": {
    count: tally.count("mailbox_handed_over"),
    fate: "hand-over",
    reason: "stored by the gateway where the agent is attached now",
  },
  purged: { count: tally.count("mailbox_purged"), fate: "purge", reason: "an operator deleted it" },
  "dead-letter-ended": { count: tally.count("mailbox_dead_letter_ended"), fate: undefined, reason: "" },
});

const targetOf = (mail: StoredMail): string =>
  mail.instance === "" ? mail.agentId : `${mail.agentId}/@${mail.instance}`;
