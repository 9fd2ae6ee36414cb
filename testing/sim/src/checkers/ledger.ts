/** What really became of each reliable message, kept outside every machine: the account that checkers hold against. */
import { type AgentId, mailIdBytes, type StoredMail } from "@causeway/core-base";
import type { MailboxEffect } from "@causeway/core-mailbox";
import type { ChannelState } from "@causeway/core-session";
import { hex } from "@causeway/core-wire";
import type { Endpoint, EndpointEvent } from "../endpoint.ts";
import type { Gateway } from "../gateway.ts";
import type { OperatorDeed } from "../mail-side.ts";
import type { Checker } from "../surroundings.ts";

export interface Entry {
  readonly id: string;
  readonly sender: string;
  readonly to: string;
  /** Runs of the receiver that handed it to the application. */
  readonly handedIn: Set<string>;
  /** What the application said. */
  outcome: "taken" | "refused" | undefined;
  /** Its sender was told end to end what the application said. */
  isReported: boolean;
  /** The receiver's gateway was told that it is settled. */
  isAcked: boolean;
  /** What its sender believes in the end. */
  settled: { readonly code: string | undefined } | undefined;
  /** A gateway has said that it is stored. */
  isPromised: boolean;
  /** Gateways that have it on their disks now, as a message or a dead letter. */
  readonly holders: Set<string>;
  /** Gateways that ever had it on their disks. */
  readonly everHolders: Set<string>;
  /** It is a dead letter at some gateway, as of its last commit. */
  isDead: boolean;
  /** An operator deleted it. */
  isPurged: boolean;
}

export class Ledger implements Checker {
  readonly name = "ledger";
  readonly entries = new Map<string, Entry>();
  /** Ids by sender, channel and number. */
  readonly #numbers = new Map<string, string>();
  readonly #disks = new Map<string, ReadonlySet<string>>();

  entry(id: string): Entry | undefined {
    return this.entries.get(id);
  }

  /** The messages that a report calls taken or refused. */
  reported({ channel, taken, refused }: ChannelState): readonly { entry: Entry; outcome: Entry["outcome"] }[] {
    const outcomes = new Map<number, Entry["outcome"]>();
    for (const [first, last] of taken) for (let number = first; number <= last; number++) outcomes.set(number, "taken");
    for (const number of refused.keys()) outcomes.set(number, "refused");
    return [...outcomes].flatMap(([number, outcome]) => {
      const entry = this.entries.get(this.#numbers.get(`${channel} ${number}`) ?? "");
      return entry === undefined ? [] : [{ entry, outcome }];
    });
  }

  endpoint(at: Endpoint, event: EndpointEvent): void {
    if (event.kind === "sent") this.#open(event.id, at.agent.agentId, event.to);
    if (event.kind === "transmitted") this.#numbers.set(`${event.channel} ${event.number}`, event.id);
    if (event.kind === "mailbox-ack") for (const id of event.ids) this.#change(id, (entry) => (entry.isAcked = true));
    if (event.kind === "outcome")
      this.#change(event.id, (entry) => (entry.outcome = event.isRefused ? "refused" : "taken"));
    if (event.kind === "handed") this.#change(event.id, (entry) => entry.handedIn.add(at.name));
    if (event.kind === "reported") for (const { entry } of this.reported(event.state)) entry.isReported = true;
    if (event.kind === "settled") this.#change(event.id, (entry) => (entry.settled = { code: event.error?.code }));
  }

  mailCommitted(at: Gateway): void {
    const { waiting, dead } = at.mailStore.load();
    const ids = new Set([...waiting, ...dead.map(({ mail }) => mail)].map(idOf));
    for (const id of this.#disks.get(at.name) ?? [])
      if (!ids.has(id)) this.#change(id, (entry) => entry.holders.delete(at.name));
    for (const id of ids) this.#change(id, (entry) => entry.holders.add(at.name) && entry.everHolders.add(at.name));
    for (const { mail } of dead) this.#change(idOf(mail), (entry) => (entry.isDead = true));
    // An operator put it back.
    for (const mail of waiting) this.#change(idOf(mail), (entry) => (entry.isDead = false));
    this.#disks.set(at.name, ids);
  }

  mailOperated(at: Gateway, deed: OperatorDeed, agentId: AgentId): void {
    const machine = at.mail?.machine;
    if (machine === undefined || deed === "replay") return;
    const purged = [...machine.deadLetters({ agentId }), ...(deed === "purge all" ? machine.stored({ agentId }) : [])];
    for (const { mail } of purged) this.#change(idOf(mail), (entry) => (entry.isPurged = true));
  }

  mailEffect(_at: Gateway, effect: MailboxEffect): void {
    if (effect.kind === "stored") this.#change(idOf(effect.mail), (entry) => (entry.isPromised = true));
  }

  #open(id: string, sender: string, to: string): void {
    this.entries.set(id, {
      id,
      sender,
      to,
      handedIn: new Set(),
      outcome: undefined,
      isReported: false,
      isAcked: false,
      settled: undefined,
      isPromised: false,
      holders: new Set(),
      everHolders: new Set(),
      isDead: false,
      isPurged: false,
    });
  }

  #change(id: string, change: (entry: Entry) => void): void {
    const entry = this.entries.get(id);
    if (entry !== undefined) change(entry);
  }
}

/** Hexadecimal, as senders know it. */
export function idOf(mail: Pick<StoredMail, "id">): string {
  return hex(mailIdBytes(mail.id));
}
