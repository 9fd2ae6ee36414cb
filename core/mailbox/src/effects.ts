/** What the machine of mailboxes asks of its driver, and what it shows. */
import type { AgentId, DeadMail, ErrorFacts, StoredMail, UnixMs } from "@causeway/core-base";

/** One live attachment of an agent, as mailboxes see it. */
export interface MailLink {
  readonly link: number;
  readonly instance: string;
  /** True when the agent acknowledges what it gets; else a message leaves its mailbox when it is handed over. */
  readonly acknowledges: boolean;
}

/** One message that came in. */
export interface IncomingMail {
  readonly agentId: AgentId;
  /** The one instance that it is for; empty for any. */
  readonly instance: string;
  readonly source: string;
  /** Of the message, as `mailId` makes it. */
  readonly id: string;
  readonly bytes: number;
  /** From the header; 0 for none. */
  readonly expiresUnixMs: number;
  readonly isTraced: boolean;
  /** The sender asks for it to be stored whatever happens. */
  readonly wantsStored: boolean;
  /** The sender wants to hear when it is stored. */
  readonly wantsNotice: boolean;
  /** Where it would be delivered now. */
  readonly link: number | undefined;
  /** When another gateway stored it first; undefined for a message that comes from its sender. */
  readonly storedAt?: UnixMs;
}

/** What becomes of an incoming message. */
export type MailVerdict =
  /** No matter of the mailboxes: deliver it. */
  | "pass"
  /** It is stored, or was before; effects say the rest. */
  | "taken"
  /** It was handed to the agent before, and a copy of it is stored: deliver this one too. */
  | "repeat"
  /** Not stored and not to be delivered. */
  | ErrorFacts;

/** Why a message leaves its mailbox for good. */
export type RemovalReason = "acknowledged" | "delivered" | "handed-over" | "purged" | "dead-letter-ended";

/** In the order in which they have to be performed; `stored` and `deliver` only after what comes before is durable. */
export type MailboxEffect =
  /** Store the message that was the last input. */
  | { readonly kind: "store"; readonly mail: StoredMail }
  /** Tell the source that it is stored. */
  | { readonly kind: "stored"; readonly mail: StoredMail }
  | { readonly kind: "deliver"; readonly mail: StoredMail; readonly link: number }
  /** `link` of one that is delivered by having been handed over. */
  | { readonly kind: "remove"; readonly mail: StoredMail; readonly why: RemovalReason; readonly link?: number }
  /** Move it to the dead letters, and tell its source if `tells`. */
  | {
      readonly kind: "bury";
      readonly mail: StoredMail;
      readonly at: UnixMs;
      readonly error: ErrorFacts;
      readonly tells: boolean;
    }
  | { readonly kind: "revive"; readonly mail: StoredMail }
  /** Not stored after all: tell its source. */
  | { readonly kind: "refuse"; readonly mail: StoredMail; readonly error: ErrorFacts }
  /** Offer these to the gateway where the agent is attached; answer with `handleTransferred` and the same number. */
  | {
      readonly kind: "transfer";
      readonly transfer: number;
      readonly agentId: AgentId;
      readonly mails: readonly StoredMail[];
    };

/** One mailbox in plain data. */
export interface MailboxView {
  readonly agentId: AgentId;
  readonly messages: number;
  readonly bytes: number;
  readonly underWay: number;
  readonly sources: number;
  readonly oldestAt: UnixMs;
  readonly state: "attached" | "away" | "moved";
}

/** One stored message in plain data. */
export interface MailView {
  readonly mail: StoredMail;
  readonly attempts: number;
  readonly state: "waiting" | "under-way" | "dead";
  readonly dead?: DeadMail;
}

/** All mailboxes together. */
export interface MailboxTotals {
  readonly mailboxes: number;
  readonly messages: number;
  readonly bytes: number;
  readonly deadLetters: number;
  readonly deadLetterBytes: number;
}
