/** What a process of the world sees of it, and what the checkers see of the processes. */
import type { GatewayEffect } from "@causeway/core-attachment";
import type { AgentId, StoredMail } from "@causeway/core-base";
import type { Arrival, Verdict } from "@causeway/core-forwarding";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { IncomingMail, MailboxEffect, MailVerdict } from "@causeway/core-mailbox";
import type { SyncEffect } from "@causeway/core-sync";
import type { agp, amsp, FrameScan } from "@causeway/core-wire";
import type { Agent, AgentLife, Target } from "./agent.ts";
import type { Endpoint, EndpointEvent } from "./endpoint.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Fabric, Pipe } from "./fabric.ts";
import type { Gateway } from "./gateway.ts";
import type { OperatorDeed } from "./mail-side.ts";
import type { Packets } from "./packets.ts";

/** A message as its sender made it. */
export interface SentMessage {
  readonly id: string;
  readonly target: Target;
  readonly ttl: number;
  /** Under the name of another agent. */
  readonly isForged: boolean;
}

/** Hooks of a checker. Each is called after the thing has happened. */
export interface Watch {
  /** A gateway's machine let a message out, before anything on the way could change it. */
  syncSent?(from: Gateway, to: Gateway, message: amsp.Message): void;
  /** One effect, performed. */
  syncEffect?(at: Gateway, effect: SyncEffect): void;
  attachEffect?(at: Gateway, effect: GatewayEffect): void;
  /** Effects that followed from one input. */
  effects?(at: Gateway, machine: "sync" | "attach" | "topics", count: number): void;
  /** A frame of an agent's link arrived. */
  linkFrame?(at: Gateway, pipe: Pipe, bytes: Uint8Array, fromAgent: boolean): void;
  /** The transport told the gateway that an agent's link is gone. */
  linkLost?(at: Gateway, link: number): void;
  sent?(from: AgentLife, message: SentMessage): void;
  /** The data plane decided, before it acts. */
  verdict?(at: Gateway, scan: FrameScan, arrival: Arrival, verdict: Verdict): void;
  /** A message or control frame left for a neighbour. */
  relayed?(from: Gateway, to: string, scan: FrameScan, arrival: Arrival["kind"]): void;
  /** A message left for a local link. */
  delivered?(at: Gateway, link: number, scan: FrameScan, reason: "unicast" | "topic"): void;
  interestSent?(from: Gateway, to: string, interest: agp.TopicInterest): void;
  /** An attachment machine of an agent gave up for good. */
  agentFinal?(agent: Agent, instance: string, code: string): void;
  /** A message reached an agent's process. */
  agentReceived?(agent: Agent, instance: string, scan: FrameScan): void;
  /** A delivery report reached an agent's process. */
  agentTold?(agent: Agent, messageId: string, code: string): void;
  /** The mailboxes of a gateway judged a message, or one that another gateway hands over. */
  mailVerdict?(at: Gateway, mail: IncomingMail, verdict: MailVerdict): void;
  /** What a turn stored is on the disk. */
  mailCommitted?(at: Gateway): void;
  /** The disk took nothing of what a turn stored. */
  mailNotCommitted?(at: Gateway, lost: readonly StoredMail[]): void;
  /** An operator is about to do something with stored messages. */
  mailOperated?(at: Gateway, deed: OperatorDeed, agentId: AgentId): void;
  /** An effect of the mailboxes that is about to be carried out, after the commit. */
  mailEffect?(at: Gateway, effect: MailboxEffect): void;
  /** Something happened in an agent's process. */
  endpoint?(at: Endpoint, event: EndpointEvent): void;
  restarted?(at: Gateway, disk: "kept" | "older" | "lost"): void;
  /** After each event; `touched` are the gateways that had an input. */
  stepped?(touched: ReadonlySet<Gateway>): void;
}

/** A checker: a name and what it looks at. */
export type Checker = Watch & { readonly name: string };

/** The world as its processes use it. */
export interface Surroundings {
  readonly now: number;
  readonly queue: EventQueue;
  readonly fabric: Fabric;
  readonly packets: Packets;
  /** Calls every checker that has the hook. */
  tell<K extends keyof Watch>(hook: K, ...args: Parameters<NonNullable<Watch[K]>>): void;
  note(line: () => string): void;
  touch(gateway: Gateway): void;
  gateway(name: string): Gateway;
  /** The gateway of a URI, or of the SPIFFE ID of a reader. */
  gatewayOf(uri: string): Gateway | undefined;
  /** Ends the run. */
  fail(checker: string, what: string): never;
  /** What TLS proves of whoever dials under this name. */
  agentPeer(name: string): VerifiedPeer;
}
