/**
 * The data path: one scanned message or control frame in, the same bytes out to whoever the forwarding table names, or
 * a negative answer with code and reason to the source. Payloads are checked for MLS public framing and never read
 * (AAP-97); the hop TTL is the only byte that changes.
 */

import { type AgentId, agentOf, domainOf, type ErrorFacts, type Now, type SpiffeId } from "@causeway/core-base";
import {
  type Arrival,
  asksForAnswer,
  type DecidingRule,
  type ForwardingTable,
  forward,
  type HopTrace,
  isFromGateway,
  type Verdict,
} from "@causeway/core-forwarding";
import type { TopicArrival, Topics } from "@causeway/core-topics";
import {
  addressCopy,
  agp,
  decrementTtl,
  FrameKind,
  FrameScan,
  HeaderFlag,
  hex,
  Lane,
  type LinkId,
  laneOf,
  MlsScan,
  scanFrame,
  scanMls,
  TargetKind,
} from "@causeway/core-wire";
import { Answers } from "./answers.ts";
import { BackPressure, wholeLink } from "./back-pressure.ts";
import type { BoundedLog } from "./bounded-log.ts";
import { BulkFlow } from "./bulk-flow.ts";
import { decodeBody } from "./decode-body.ts";
import type { EventFeed } from "./event-feed.ts";
import type { FollowedAgents } from "./followed-agents.ts";
import { HoldQueue } from "./hold-queue.ts";
import type { LinkEntry, Links } from "./links.ts";
import type { LivePolicy } from "./live-policy.ts";
import type { MailboxDriver } from "./mailbox-driver.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";
import { RateGuard } from "./rate-guard.ts";
import {
  controlToTopic,
  goingOut,
  justLeft,
  notAllowed,
  overloaded,
  peerLost,
  storedNotReliable,
  targetBusy,
} from "./refusals.ts";
import { Overflow, overflowOf, queuedIn, SlowSubscribers } from "./slow-subscribers.ts";
import type { Count, Tally } from "./tally.ts";

/** Whom a control request is about: an agent that is served here, and the instance of it that messages would go to. */
export interface ServedOwner {
  readonly agentId: AgentId;
  /** Undefined while none is attached. */
  readonly instance: string | undefined;
}

/** Answers control requests that the serving gateway of the target consumes. */
export type ControlService = (
  owner: ServedOwner,
  source: SpiffeId,
  body: agp.Control["body"],
  now: Now,
) => agp.Control["body"] | undefined;

/** What the data path works with. */
export interface RelayParts {
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly policy: LivePolicy;
  readonly trace: HopTrace;
  readonly topics: Topics;
  readonly tally: Tally;
  readonly events: EventFeed;
  readonly security: BoundedLog;
  readonly mailboxes: MailboxDriver;
  readonly followed: FollowedAgents;
  readonly serveControl: ControlService;
  /** Why a message of `source` cannot have an agent asked for that is not known here. */
  readonly checkQuery: (agentId: AgentId, source: AgentId) => ErrorFacts | undefined;
  /** Asks for the way to an agent that is not known here; `release` or `giveUp` follows. */
  readonly resolve: (agentId: AgentId, source: AgentId) => void;
  /** Domains that may contact an agent of this gateway; undefined for every trusted one (AMSP-19). */
  readonly allowedDomains: (agentId: AgentId) => ReadonlySet<string> | undefined;
}

/** Number of `Control.delivery_report`. */
const deliveryReportField = agp.ControlSchema.field.deliveryReport.number;
const { mailboxTransfer, mailboxTransferResult } = agp.ControlSchema.field;
const asksForStoring = HeaderFlag.stored | HeaderFlag.storedNotice;

/** Moves messages. */
export class Relay {
  readonly #parts: RelayParts;
  readonly #held: HoldQueue;
  readonly #in: Count;
  readonly #delivered: Count;
  readonly #relayed: Count;
  readonly #denied: Count;
  /** By what became of a publication. */
  readonly #topicCounts = new Map<string, Count>();
  readonly #mls = new MlsScan();
  readonly #answers: Answers;
  readonly #pressure: BackPressure;
  readonly #bulk: BulkFlow;
  readonly #slow: SlowSubscribers;
  readonly #rates: RateGuard;

  constructor(parts: RelayParts) {
    this.#parts = parts;
    this.#held = new HoldQueue(parts.limits);
    this.#answers = new Answers(parts);
    this.#pressure = new BackPressure(parts.deps, parts.limits, wholeLink);
    this.#bulk = new BulkFlow(parts);
    this.#slow = new SlowSubscribers(parts.limits);
    this.#rates = new RateGuard(parts.deps, parts.limits, parts.security);
    this.#in = parts.tally.count("messages_in");
    this.#delivered = parts.tally.count("delivered");
    this.#relayed = parts.tally.count("relayed");
    this.#denied = parts.tally.count("policy_denied");
  }

  /** Forwards one message or control frame of an attached agent or an accepted peer. */
  handle(entry: LinkEntry, arrival: Exclude<Arrival, { kind: "own" }>, scan: FrameScan, now: Now): void {
    entry.messagesIn++;
    this.#in.value++;
    const bytes = scan.end - scan.start;
    const isBulk = laneOf(scan) === Lane.bulk;
    if (isBulk) this.#bulk.count(entry, bytes, now);
    // In this order: bulk that is over its own rate uses up nothing of what the rest may have.
    const limited =
      (isBulk ? this.#bulk.check(entry, bytes, now) : undefined) ??
      this.#rates.check(entry, bytes, scan.kind === FrameKind.control, now);
    if (limited !== undefined) {
      if (limited === "closed") return;
      if (entry.role.kind === "agent") this.#answers.refuseSender(scan, entry, limited, now);
      else this.#answers.refuse(scan, entry, limited, now);
      return;
    }
    // A frame whose shape came before has the framing that it had then.
    if (scan.kind === FrameKind.message && scan.known === undefined) {
      const notMls = scanMls(scan.buf, scan.payloadStart, scan.payloadEnd, this.#mls);
      if (notMls !== undefined) {
        this.#parts.security.warn("forwarding.plaintext_refused", { from: entry.name, messageId: scan.messageId() });
        this.#answers.refuse(scan, entry, notMls, now);
        return;
      }
    }
    if ((scan.flags & asksForStoring) !== 0 && !canBeStored(scan)) {
      this.#answers.refuse(scan, entry, storedNotReliable, now);
      return;
    }
    if (scan.controlBody === mailboxTransferResult.number && this.#isForUs(scan)) {
      this.#takeTransferResult(scan);
      return;
    }
    this.#forward(scan, arrival, entry, now);
  }

  /** The agent is there again: what waited for it goes on. */
  release(agentId: AgentId, now: Now): void {
    for (const held of this.#held.take(agentId)) {
      const entry = held.link === undefined ? undefined : this.#parts.links.get(held.link);
      const scan = new FrameScan();
      if (scanFrame(held.frame, 0, held.frame.length, scan) !== undefined) continue;
      this.#forward(scan, { kind: "own" }, entry, now);
    }
  }

  /** The agent is gone for good: what waited for it is answered. */
  giveUp(agentId: AgentId, error: ErrorFacts, now: Now): void {
    for (const held of this.#held.take(agentId)) this.#refuseHeld(held.frame, held.link, error, now);
  }

  /** The gateway goes out of service: what is in memory only is answered. */
  giveUpAll(now: Now): void {
    for (const agentId of this.#held.agents()) this.giveUp(agentId, goingOut, now);
  }

  /** Answers what has waited too long. */
  expireHeld(now: Now): void {
    const oldest = now.unix - this.#parts.limits.heldMsMax;
    for (const agentId of this.#held.agents()) {
      for (const held of this.#held.take(agentId)) {
        const scan = new FrameScan();
        if (scanFrame(held.frame, 0, held.frame.length, scan) !== undefined) continue;
        const isExpired = scan.expiresUnixMs > 0 && scan.expiresUnixMs <= now.unix;
        if (held.at > oldest && !isExpired) {
          this.#held.hold(agentId, held);
          continue;
        }
        const error: ErrorFacts = isExpired
          ? { code: "CAUSEWAY_FORWARDING_EXPIRED", message: `the message expired while ${agentId} was away` }
          : {
              code: "CAUSEWAY_FORWARDING_NOT_ATTACHED",
              message: `${agentId} did not return in ${this.#parts.limits.heldMsMax} ms`,
            };
        this.#refuseHeld(held.frame, held.link, error, now);
      }
    }
  }

  /** What waits in memory. */
  status(): {
    readonly held: ReturnType<HoldQueue["status"]>;
    readonly slow: ReturnType<SlowSubscribers["status"]>;
  } {
    return { held: this.#held.status(), slow: this.#slow.status() };
  }

  /** A link is gone: nobody waits for it any more. */
  forgetLink(id: LinkId): void {
    const entry = this.#parts.links.get(id);
    if (entry !== undefined) this.#slow.forget(entry);
    this.#pressure.letGo(id);
    this.#bulk.letGo(id);
  }

  /** A frame of an agent or a peer was refused as soon as it was read: bulk is not on its way any more. */
  handleRefused(entry: LinkEntry, scan: FrameScan, now: Now): void {
    if (laneOf(scan) === Lane.bulk) this.#bulk.count(entry, scan.end - scan.start, now);
  }

  /** Every frame of a read was handled. */
  handleReadEnd(entry: LinkEntry): void {
    this.#bulk.acknowledge(entry);
  }

  /** A lane of a link has room again. */
  handleWritable(id: LinkId, lane: Lane): void {
    const entry = this.#parts.links.get(id);
    if (entry !== undefined) this.#slow.handleWritable(entry);
    (lane === Lane.bulk ? this.#bulk : this.#pressure).letGo(id);
  }

  #forward(scan: FrameScan, arrival: Arrival, entry: LinkEntry | undefined, now: Now): void {
    const { table, policy, links } = this.#parts;
    const verdict = forward(scan, table, policy.current, arrival, now.unix);
    this.#note(scan, arrival, verdict, now);
    if (scan.kind === FrameKind.control && this.#serve(scan, verdict, entry, now)) return;
    switch (verdict.action) {
      case "deliver":
        this.#deliver(scan, verdict.agentId, links.get(verdict.link), entry, now);
        return;
      case "relay": {
        const out = links.peer(verdict.peer);
        if (out === undefined) {
          this.#answers.refuse(scan, entry, peerLost(verdict.peer), now);
          return;
        }
        decrementTtl(scan);
        this.#relayed.value++;
        if (this.#send(out, scan, entry, now)) this.#accept(scan, entry);
        return;
      }
      case "hold":
        this.#hold(scan, verdict, arrival, entry, now);
        return;
      case "topic":
        this.#fanOut(scan, arrival, entry, now);
        return;
      case "resolve":
        this.#resolve(scan, arrival, entry, now);
        return;
      case "drop":
        this.#drop(scan, verdict, entry, now);
    }
  }

  /** A hop record for what asked for it or is dropped, and a log line for the former (ANA-123). */
  #note(scan: FrameScan, arrival: Arrival, verdict: Verdict, now: Now): void {
    const { trace, security } = this.#parts;
    const hop = trace.note(scan, arrival, verdict, now.unix);
    if (hop === undefined || !scan.isTraced) return;
    const { messageId, source, target, from, to, action, reason } = hop;
    security.info("forwarding.message_traced", { messageId, source, target, from, to, action, reason });
  }

  #deliver(
    scan: FrameScan,
    agentId: AgentId,
    out: LinkEntry | undefined,
    entry: LinkEntry | undefined,
    now: Now,
  ): void {
    if (!this.#isAllowed(scan, agentId)) {
      this.#answers.refuse(scan, entry, notAllowed(agentId), now);
      return;
    }
    const rate = out?.deliveryRate;
    if (rate !== undefined && scan.kind === FrameKind.message && !rate.take(1, now.instant)) {
      this.#answers.refuse(scan, entry, targetBusy(agentId, rate.waitMs(1)), now);
      return;
    }
    if (scan.isReliable && this.#parts.mailboxes.take(scan, agentId, out?.id, entry, now)) return;
    if (out === undefined) {
      this.#answers.refuse(scan, entry, justLeft(agentId), now);
      return;
    }
    this.#parts.mailboxes.handFirst(out.id);
    this.#delivered.value++;
    if (scan.kind === FrameKind.control && scan.controlBody === deliveryReportField && this.#parts.events.isWatched)
      this.#tellFailure(scan, agentId);
    if (this.#send(out, scan, entry, now)) this.#accept(scan, entry);
  }

  /** Tells an agent of this gateway that its message was passed on, if it asked. */
  #accept(scan: FrameScan, entry: LinkEntry | undefined): void {
    if ((scan.flags & HeaderFlag.accepted) !== 0) this.#parts.mailboxes.accepted(scan, entry);
  }

  /** Another gateway reports to an agent of ours that its message failed: an event for the agent (AGP-11). */
  #tellFailure(scan: FrameScan, agentId: AgentId): void {
    const { body } = decodeBody(agp.ControlSchema, scan);
    if (body.case !== "deliveryReport" || body.value.error === undefined) return;
    const { messageId, error } = body.value;
    const cause = `${error.code}: ${error.message}`;
    const concerns = (each: AgentId): boolean => each === agentId;
    this.#parts.events.publish({ type: "delivery.failed", subject: hex(messageId), cause, concerns });
  }

  /** What the target's record says of who may contact it (AMSP-19). */
  #isAllowed(scan: FrameScan, agentId: AgentId): boolean {
    const allowed = this.#parts.allowedDomains(agentId);
    return allowed === undefined || allowed.has(domainOf(scan.source() as SpiffeId));
  }

  /** Queues the frame unless the receiver is too far behind; then its source hears of it, and the answer is false. */
  #send(out: LinkEntry, scan: FrameScan, entry: LinkEntry | undefined, now: Now): boolean {
    const { linkBufferedBytesMax, linkBulkBytesMax } = this.#parts.limits;
    const lane = laneOf(scan);
    const isBulk = lane === Lane.bulk;
    if (queuedIn(out.link, lane) > (isBulk ? linkBulkBytesMax : linkBufferedBytesMax)) {
      this.#answers.refuse(scan, entry, overloaded(out, lane), now);
      return false;
    }
    out.messagesOut++;
    const hasRoom = out.link.send(scan.buf, scan.start, scan.end, lane);
    // A peer link carries many senders, so that only an agent is held back for a slow receiver.
    if (!hasRoom && entry?.role.kind === "agent" && entry !== out)
      (isBulk ? this.#bulk : this.#pressure).holdBack(entry, out, now);
    return true;
  }

  /** The frame as it came, or what stands for it. */
  #putCopy(out: LinkEntry, scan: FrameScan, frame: Uint8Array | undefined, lane: Lane): void {
    out.messagesOut++;
    if (frame === undefined) out.link.send(scan.buf, scan.start, scan.end, lane);
    else out.link.send(frame, 0, frame.length, lane);
  }

  #hold(
    scan: FrameScan,
    verdict: Extract<Verdict, { action: "hold" }>,
    arrival: Arrival,
    entry: LinkEntry | undefined,
    now: Now,
  ): void {
    this.#parts.followed.want(verdict.agentId);
    if (scan.isReliable) {
      if (!this.#isAllowed(scan, verdict.agentId)) this.#answers.refuse(scan, entry, notAllowed(verdict.agentId), now);
      else this.#parts.mailboxes.take(scan, verdict.agentId, undefined, entry, now);
      return;
    }
    const full = this.#held.hold(verdict.agentId, {
      // `slice` of a Node buffer copies nothing; the frame would hold on to all that was read with it.
      frame: new Uint8Array(scan.bytes()),
      arrival,
      link: entry?.id,
      at: now.unix,
    });
    if (full === undefined) this.#parts.tally.add("held");
    else this.#answers.refuse(scan, entry, full, now);
  }

  /** Waits for the answer, then goes on by `release` or is refused by `giveUp`. */
  #resolve(scan: FrameScan, arrival: Arrival, entry: LinkEntry | undefined, now: Now): void {
    const agentId = agentOf(scan.target() as SpiffeId);
    const source = agentOf(scan.source() as SpiffeId);
    const over = this.#parts.checkQuery(agentId, source);
    if (over !== undefined) {
      this.#answers.refuse(scan, entry, over, now);
      return;
    }
    const full = this.#held.hold(agentId, {
      frame: new Uint8Array(scan.bytes()),
      arrival,
      link: entry?.id,
      at: now.unix,
    });
    if (full === undefined) this.#parts.resolve(agentId, source);
    else this.#answers.refuse(scan, entry, full, now);
  }

  #fanOut(scan: FrameScan, arrival: Arrival, entry: LinkEntry | undefined, now: Now): void {
    const { topics, links } = this.#parts;
    if (scan.kind !== FrameKind.message || arrival.kind === "own") {
      this.#answers.refuse(scan, entry, controlToTopic, now);
      return;
    }
    const from: TopicArrival =
      arrival.kind === "agent"
        ? { kind: "agent", link: arrival.link, agentId: arrival.agentId }
        : { kind: "peer", peer: arrival.peer };
    const copies = topics.fanOut(now, scan, from);
    if (copies.refusal !== undefined) {
      this.#answers.refuse(scan, entry, copies.refusal, now);
      return;
    }
    if (copies.peers.length > 0) decrementTtl(scan);
    this.#countTopic(copies.reason);
    // A list of gateways that came with the frame was for us and goes no further.
    const plain = scan.gatewaysEnd === 0 ? undefined : addressCopy(scan, undefined);
    const lane = laneOf(scan);
    // One copy for all who are behind: the buffer of the read is not held on to.
    let kept = plain;
    for (const id of copies.links) {
      const out = links.get(id);
      if (out === undefined) continue;
      if (this.#slow.isBehind(out, lane)) {
        kept ??= new Uint8Array(scan.bytes());
        this.#wait(out, kept, scan, entry, now);
      } else this.#putCopy(out, scan, plain, lane);
    }
    for (const { peer, only } of copies.peers) {
      const out = links.peer(peer);
      if (out === undefined) continue;
      const frame = only === undefined ? plain : addressCopy(scan, only);
      if (this.#slow.isBehind(out, lane)) {
        if (frame === undefined) kept ??= new Uint8Array(scan.bytes());
        this.#wait(out, frame ?? (kept as Uint8Array), scan, entry, now);
      } else this.#putCopy(out, scan, frame, lane);
    }
    this.#accept(scan, entry);
  }

  #countTopic(reason: string): void {
    let count = this.#topicCounts.get(reason);
    if (count === undefined) {
      count = this.#parts.tally.count(`topic_${reason.replaceAll("-", "_")}`);
      this.#topicCounts.set(reason, count);
    }
    count.value++;
  }

  /** A topic message for a subscriber that is behind (AGP-15): it waits, and its publisher hears what is lost. */
  #wait(out: LinkEntry, frame: Uint8Array, scan: FrameScan, entry: LinkEntry | undefined, now: Now): void {
    const lane = laneOf(scan);
    const overflow = overflowOf(scan.flags);
    const { toTell, isDisconnected } = this.#slow.offer(out, frame, overflow, now, lane);
    if (overflow === Overflow.block && entry?.role.kind === "agent" && entry !== out)
      (lane === Lane.bulk ? this.#bulk : this.#pressure).holdBack(entry, out, now);
    if (toTell === 0) return;
    this.#parts.tally.add("topic_copies_dropped", toTell);
    const topic = scan.target();
    const cause = `${out.name} reads too slowly: ${toTell} messages for it were left out${isDisconnected ? " and it was disconnected" : ""}`;
    const source = agentOf(scan.source() as SpiffeId);
    const owner = this.#parts.topics.find(topic)?.owner;
    const concerns = (agentId: AgentId): boolean => agentId === owner || agentId === source;
    this.#parts.events.publish({ type: "topic.overflowed", subject: topic, cause, concerns });
    this.#answers.refuse(scan, entry, { code: "CAUSEWAY_FORWARDING_OVERLOADED", message: cause }, now);
  }

  #drop(scan: FrameScan, verdict: Extract<Verdict, { action: "drop" }>, entry: LinkEntry | undefined, now: Now): void {
    const isForged = verdict.reason === "source-not-attached" || verdict.reason === "source-of-own-domain-from-outside";
    if (isForged) {
      this.#parts.security.warn("forwarding.source_forged", {
        from: entry?.name,
        source: scan.source(),
        target: scan.target(),
        messageId: scan.messageId(),
      });
    }
    const { rule } = verdict;
    if (rule !== undefined) this.#noteDenied(scan, rule, entry);
    const details = rule && { rule: rule.name };
    const error: ErrorFacts = { code: verdict.code, message: verdict.text, ...(details && { details }) };
    if (isForged) this.#answers.refuseSender(scan, entry, error, now);
    else this.#answers.refuse(scan, entry, error, now);
  }

  /** The audit record of a denial: header fields and the rule (AAP-7, AAP-28). */
  #noteDenied(scan: FrameScan, rule: DecidingRule, entry: LinkEntry | undefined): void {
    this.#denied.value++;
    this.#parts.security.warn("forwarding.policy_denied", {
      from: entry?.name,
      source: scan.source(),
      target: scan.target(),
      messageId: scan.messageId(),
      rule: rule.name,
      ruleNumber: rule.number,
      ruleText: rule.text,
    });
  }

  /** A request that this gateway consumes for the target; true when it was. */
  #serve(scan: FrameScan, verdict: Verdict, entry: LinkEntry | undefined, now: Now): boolean {
    if (!asksForAnswer(scan) || (verdict.action !== "deliver" && verdict.action !== "hold")) return false;
    if (!this.#isAllowed(scan, verdict.agentId)) {
      this.#answers.refuse(scan, entry, notAllowed(verdict.agentId), now);
      return true;
    }
    const control = decodeBody(agp.ControlSchema, scan);
    if (scan.controlBody === mailboxTransfer.number) {
      const link = verdict.action === "deliver" ? verdict.link : undefined;
      this.#parts.mailboxes.takeTransfer(verdict.agentId, link, scan, control, entry, now);
      return true;
    }
    const source = scan.source() as SpiffeId;
    const instance = verdict.action === "deliver" ? verdict.instance : undefined;
    const body = this.#parts.serveControl({ agentId: verdict.agentId, instance }, source, control.body, now);
    if (body?.case === undefined) return false;
    this.#parts.tally.add("control_served");
    this.#answers.answer(source, control.requestId, body, entry, now);
    return true;
  }

  #isForUs(scan: FrameScan): boolean {
    return scan.target() === this.#parts.deps.identity.spiffeId && isFromGateway(scan);
  }

  /** Only who knows the number of an offer can answer it. */
  #takeTransferResult(scan: FrameScan): void {
    const { requestId, body } = decodeBody(agp.ControlSchema, scan);
    if (body.case === "mailboxTransferResult") this.#parts.mailboxes.handleTransferred(requestId, body.value);
  }

  #refuseHeld(frame: Uint8Array, link: LinkId | undefined, error: ErrorFacts, now: Now): void {
    const scan = new FrameScan();
    if (scanFrame(frame, 0, frame.length, scan) !== undefined) return;
    this.#answers.refuse(scan, link === undefined ? undefined : this.#parts.links.get(link), error, now);
  }
}

/** What can be put into one agent's mailbox. */
const canBeStored = (scan: FrameScan): boolean => scan.isReliable && scan.targetKind !== TargetKind.topic;
