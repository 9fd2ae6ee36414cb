/** Frames that a gateway writes itself: delivery reports and answers to control requests, and their way back. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type AgentId, agentOf, CausewayError, type ErrorFacts, type Now, type SpiffeId } from "@causeway/core-base";
import { asksForAnswer, type ForwardingTable, forward } from "@causeway/core-forwarding";
import {
  agp,
  decrementTtl,
  encodeFateReport,
  encodeFrame,
  FrameKind,
  FrameScan,
  type HeaderInit,
  newMessageId,
  scanFrame,
  TargetKind,
  toErrorDetail,
} from "@causeway/core-wire";
import type { EventFeed } from "./event-feed.ts";
import type { LinkEntry, Links } from "./links.ts";
import type { LivePolicy } from "./live-policy.ts";
import type { GatewayDeps } from "./ports.ts";
import type { Tally } from "./tally.ts";

/** What answers work with. */
export interface AnswerParts {
  readonly deps: GatewayDeps;
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly policy: LivePolicy;
  readonly tally: Tally;
  readonly events: EventFeed;
}

/** Writes back to sources. */
export class Answers {
  readonly #parts: AnswerParts;
  readonly #scan = new FrameScan();

  constructor(parts: AnswerParts) {
    this.#parts = parts;
  }

  /** Answers a control request that came in over `entry`. */
  answer(to: SpiffeId, requestId: Uint8Array, body: agp.Control["body"], entry: LinkEntry | undefined, now: Now): void {
    this.#reply({ header: this.#headerTo(to, now), requestId, body }, entry, now);
  }

  /** Tells the source why its message goes no further. Answers and reports are never answered themselves. */
  refuse(scan: FrameScan, entry: LinkEntry | undefined, error: ErrorFacts, now: Now): void {
    this.#report(scan, scan.source() as SpiffeId, entry, error, now);
  }

  /**
   * Refuses a message whose source cannot be believed. Only an agent's own link hears of it: a forged source must not
   * cause mail to its owner.
   */
  refuseSender(scan: FrameScan, entry: LinkEntry | undefined, error: ErrorFacts, now: Now): void {
    if (entry?.role.kind === "agent") this.#report(scan, entry.peer.spiffeId, entry, error, now);
    else this.#count(error);
  }

  /** Tells a source what has become of messages that are not at hand. */
  tell(to: SpiffeId, report: ReportInit, entry: LinkEntry | undefined, now: Now): void {
    const value = { ...report, reporter: this.#parts.deps.identity.spiffeId };
    const body = { case: "deliveryReport", value } as const;
    this.#reply({ header: this.#headerTo(to, now), requestId: new Uint8Array(), body }, entry, now);
  }

  /** Tells a source of messages to one target that they have this fate; `ids` are 16 bytes each. */
  tellFate(
    to: SpiffeId,
    target: string,
    fate: agp.Fate,
    ids: Uint8Array,
    entry: LinkEntry | undefined,
    now: Now,
  ): void {
    const reporter = this.#parts.deps.identity.spiffeId;
    this.#send(encodeFateReport(this.#headerTo(to, now), { reporter, target, fate }, ids), entry, now);
  }

  /** Asks the gateway that serves `target`. The answer comes as a control frame for this gateway. */
  ask(target: AgentId, requestId: Uint8Array, body: NonNullable<ControlInit["body"]>, now: Now): void {
    this.#reply({ header: this.#headerTo(target, now), requestId, body }, undefined, now);
  }

  #tell(scan: FrameScan, source: AgentId, error: ErrorFacts): void {
    this.#parts.events.publish({
      type: "delivery.failed",
      subject: scan.messageId(),
      cause: `${error.code}: ${error.message}`,
      concerns: (agentId) => agentId === source,
    });
  }

  #report(scan: FrameScan, to: SpiffeId, entry: LinkEntry | undefined, error: ErrorFacts, now: Now): void {
    this.#count(error);
    if (!asksForAnswer(scan)) return;
    if (this.#parts.events.isWatched) this.#tell(scan, agentOf(to), error);
    const value = {
      messageId: scan.buf.slice(scan.messageIdStart, scan.messageIdEnd),
      error: toErrorDetail(error),
      reporter: this.#parts.deps.identity.spiffeId,
      target: scan.target(),
    };
    const requestId =
      scan.kind === FrameKind.control ? scan.buf.slice(scan.requestIdStart, scan.requestIdEnd) : new Uint8Array();
    this.#reply({ header: this.#headerTo(to, now), requestId, body: { case: "deliveryReport", value } }, entry, now);
  }

  #reply(control: ControlInit, entry: LinkEntry | undefined, now: Now): void {
    this.#send(encodeFrame({ case: "control", value: control }), entry, now);
  }

  /** Back over the agent's own link, or by the table, or over the link that it came from. */
  #send(frame: Uint8Array, entry: LinkEntry | undefined, now: Now): void {
    if (entry?.role.kind === "agent") {
      entry.link.send(frame);
      return;
    }
    const { table, policy, links, tally } = this.#parts;
    const scan = this.#scan;
    const fault = scanFrame(frame, 0, frame.length, scan);
    if (fault !== undefined) throw new CausewayError(fault);
    const verdict = forward(scan, table, policy.current, { kind: "own" }, now.unix);
    let out: LinkEntry | undefined;
    if (verdict.action === "deliver") out = links.get(verdict.link);
    else if (verdict.action === "relay") out = links.peer(verdict.peer);
    if (out === undefined && entry === undefined) {
      tally.add("answers_undeliverable");
      return;
    }
    if (verdict.action === "relay") decrementTtl(scan);
    (out ?? entry)?.link.send(frame);
  }

  #count(error: ErrorFacts): void {
    this.#parts.tally.add(`refused_${error.code.replace("CAUSEWAY_", "").toLowerCase()}`);
  }

  #headerTo(target: SpiffeId, now: Now): HeaderInit {
    return {
      version: 1,
      targetKind: TargetKind.agent,
      target,
      source: this.#parts.deps.identity.spiffeId,
      messageId: newMessageId(this.#parts.deps.random, now.unix),
      hopTtl: 16,
      trafficClass: agp.TrafficClass.CONTROL,
    };
  }
}

type ControlInit = MessageInitShape<typeof agp.ControlSchema>;
type ReportInit = Omit<MessageInitShape<typeof agp.DeliveryReportSchema>, "$typeName" | "$unknown" | "reporter">;
