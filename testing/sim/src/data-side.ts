/**
 * The data plane of one gateway: frames in, the verdict of `forward` and the fan-out of topics acted upon, neighbours'
 * links, messages that wait for an agent, and the negative answer for whatever goes no further.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Attachment } from "@causeway/core-attachment";
import type { AgentId, ErrorFacts, GatewayUri, SpiffeId } from "@causeway/core-base";
import { type Arrival, ForwardingPolicy, forward, type Verdict } from "@causeway/core-forwarding";
import { type TopicArrival, Topics } from "@causeway/core-topics";
import {
  addressCopy,
  agp,
  decodeFrame,
  decrementTtl,
  encodeFrame,
  FrameKind,
  FrameScan,
  HeaderFlag,
  type LinkId,
  newMessageId,
  scanFrame,
  TargetKind,
  toErrorDetail,
} from "@causeway/core-wire";
import { Alarm } from "./clock.ts";
import type { Pipe } from "./fabric.ts";
import type { Gateway } from "./gateway.ts";
import { controlIn } from "./mail-side.ts";

/** Whence a message came, so that an answer finds back without a route. */
export type Back = { readonly link: LinkId } | { readonly peer: GatewayUri } | undefined;

interface Held {
  readonly frame: Uint8Array;
  readonly back: Back;
}

interface Neighbour {
  readonly pipe: Pipe;
  readonly arrival: Extract<Arrival, { kind: "peer" }>;
}

export class DataSide {
  readonly topics: Topics;
  readonly #gateway: Gateway;
  readonly #policy: ForwardingPolicy;
  readonly #neighbours = new Map<GatewayUri, Neighbour>();
  readonly #held = new Map<AgentId, Held[]>();
  readonly #alarm: Alarm;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.#policy = new ForwardingPolicy([], gateway.plan.domain);
    this.topics = new Topics({
      self: gateway.uri,
      level: gateway.plan.role === "level1" ? 1 : 2,
      epoch: BigInt(gateway.now().unix),
      ...gateway.limits.topics,
    });
    this.#alarm = new Alarm(gateway.world.queue, `${gateway.name} topic timer`, () =>
      this.#input(() => this.topics.handleTimeout(gateway.now())),
    );
  }

  start(): void {
    for (const target of this.#gateway.plan.dataDials) this.#dial(target);
  }

  stop(): void {
    this.#alarm.arm(undefined);
    for (const { pipe } of this.#neighbours.values()) pipe.handler = undefined;
    this.#neighbours.clear();
  }

  neighboursUp(): readonly GatewayUri[] {
    return [...this.#neighbours.keys()];
  }

  /** Number of the connection to a neighbour. */
  connectionTo(uri: GatewayUri): number | undefined {
    return this.#neighbours.get(uri)?.pipe.id;
  }

  accept(pipe: Pipe): boolean {
    this.#adopt(pipe, false);
    return true;
  }

  fromAgent(scan: FrameScan, attachment: Attachment): void {
    const { link, agentId, instance } = attachment;
    this.#forward(scan, { kind: "agent", link, agentId, instance }, { link });
  }

  subscribe(link: LinkId, agentId: AgentId, topic: string): void {
    this.#input(() => {
      this.topics.handleSubscribe(this.#gateway.now(), link, agentId, topic);
    });
  }

  unsubscribe(link: LinkId, topic: string): void {
    this.#input(() => {
      this.topics.handleUnsubscribe(this.#gateway.now(), link, topic);
    });
  }

  linkGone(link: LinkId, agentId: AgentId): void {
    this.#input(() => this.topics.handleLinkDown(this.#gateway.now(), link));
    for (const { frame, back } of this.#held.get(agentId) ?? []) {
      const scan = new FrameScan();
      scanFrame(frame, 0, frame.length, scan);
      this.#answer(scan, back, { code: "CAUSEWAY_FORWARDING_NOT_ATTACHED", message: "the agent has left" });
    }
    this.#held.delete(agentId);
  }

  /** The agent can be reached again: what waited for it goes on. */
  release(agentId: AgentId): void {
    const waiting = this.#held.get(agentId) ?? [];
    this.#held.delete(agentId);
    for (const { frame, back } of waiting) {
      const scan = new FrameScan();
      if (scanFrame(frame, 0, frame.length, scan) === undefined) this.#forward(scan, { kind: "own" }, back);
    }
  }

  #forward(scan: FrameScan, arrival: Arrival, back: Back): void {
    const { table, world, attach } = this.#gateway;
    const gateway = this.#gateway;
    const verdict = forward(scan, table, this.#policy, arrival, gateway.now().unix);
    world.tell("verdict", gateway, scan, arrival, verdict);
    world.note(
      () => `${gateway.name} ${verdict.action} ${scan.messageId().slice(-6)} to ${scan.target()} (${verdict.reason})`,
    );
    if (this.#serve(scan, verdict, back)) return;
    const isPassedOn = verdict.action === "deliver" || verdict.action === "relay";
    if (isPassedOn && (scan.flags & HeaderFlag.accepted) !== 0) gateway.mail?.accepted(scan, back);
    switch (verdict.action) {
      case "deliver":
        world.tell("delivered", gateway, verdict.link, scan, "unicast");
        if (attach?.send(verdict.link, scan.bytes().slice()) !== true)
          this.#answer(scan, back, { code: "CAUSEWAY_FORWARDING_NOT_ATTACHED", message: "the agent has just left" });
        return;
      case "relay":
        this.#relay(scan, verdict.peer, back, arrival.kind);
        return;
      case "hold": {
        const waiting = this.#held.get(verdict.agentId) ?? [];
        if (waiting.length >= heldMax || !gateway.holds(verdict.agentId))
          return this.#answer(scan, back, { code: verdict.code, message: verdict.reason });
        waiting.push({ frame: scan.bytes().slice(), back });
        this.#held.set(verdict.agentId, waiting);
        return;
      }
      case "topic":
        this.#fanOut(scan, arrival, back);
        return;
      case "drop":
        this.#answer(scan, back, { code: verdict.code, message: verdict.text });
    }
  }

  /** What mailboxes take: reliable messages for agents of this gateway, and what another gateway hands over. */
  #serve(scan: FrameScan, verdict: Verdict, back: Back): boolean {
    const { mail } = this.#gateway;
    if (mail === undefined || (verdict.action !== "deliver" && verdict.action !== "hold")) return false;
    const link = verdict.action === "deliver" ? verdict.link : undefined;
    if (scan.kind === FrameKind.message) {
      if (!scan.isReliable) return false;
      const isTaken = mail.take(scan, verdict.agentId, link, back);
      return isTaken || verdict.action === "hold";
    }
    if (scan.controlBody !== mailboxTransfer) return false;
    const control = controlIn(scan);
    if (control !== undefined) mail.takeTransfer(verdict.agentId, link, scan, control, back);
    return true;
  }

  #relay(scan: FrameScan, peer: GatewayUri, back: Back, arrival: Arrival["kind"]): void {
    const out = this.#neighbours.get(peer);
    if (out === undefined)
      return this.#answer(scan, back, { code: "CAUSEWAY_FORWARDING_PEER_LOST", message: `no link to ${peer}` });
    decrementTtl(scan);
    this.#gateway.world.tell("relayed", this.#gateway, out.pipe.remote, scan, arrival);
    out.pipe.send(scan.bytes());
  }

  #fanOut(scan: FrameScan, arrival: Arrival, back: Back): void {
    if (arrival.kind === "own") return;
    const gateway = this.#gateway;
    const topicArrival: TopicArrival =
      arrival.kind === "agent"
        ? { kind: "agent", link: arrival.link, agentId: arrival.agentId }
        : { kind: "peer", peer: arrival.peer };
    const copies = this.topics.fanOut(gateway.now(), scan, topicArrival);
    gateway.world.note(
      () =>
        `${gateway.name} fans out ${scan.messageId().slice(-6)}: ${copies.reason}, ${copies.links.length} links, ${copies.peers.map(({ peer }) => gateway.short(peer)).join(" ")}`,
    );
    if (copies.refusal !== undefined) return this.#answer(scan, back, copies.refusal);
    for (const link of copies.links) {
      gateway.world.tell("delivered", gateway, link, scan, "topic");
      gateway.attach?.send(link, addressCopy(scan, undefined));
    }
    if (copies.peers.length > 0) decrementTtl(scan);
    for (const { peer, only } of copies.peers) {
      const out = this.#neighbours.get(peer);
      if (out === undefined) continue;
      gateway.world.tell("relayed", gateway, out.pipe.remote, scan, arrival.kind);
      out.pipe.send(addressCopy(scan, only));
    }
    this.#input(() => undefined);
  }

  /** Tells the source why its message goes no further. Reports are never answered. */
  refuse(scan: FrameScan, back: Back, error: ErrorFacts): void {
    this.#answer(scan, back, error);
  }

  #answer(scan: FrameScan, back: Back, error: ErrorFacts): void {
    const gateway = this.#gateway;
    if (scan.kind === FrameKind.control) return;
    const link = back !== undefined && "link" in back ? back.link : undefined;
    // A forged source must not cause mail to its owner: the link that forged it hears of it.
    const source = (link && gateway.attach?.machine.attachmentOf(link)?.agentId) ?? (scan.source() as SpiffeId);
    const messageId = scan.buf.slice(scan.messageIdStart, scan.messageIdEnd);
    const value = { messageId, error: toErrorDetail(error), target: scan.target() };
    this.control(source, { case: "deliveryReport", value }, undefined, back);
  }

  /** Sends a control frame of this gateway: over an agent's own link, by the table, or to where `back` came from. */
  control(target: SpiffeId, body: ControlBody, requestId: Uint8Array | undefined, back: Back): void {
    const gateway = this.#gateway;
    const link = back !== undefined && "link" in back ? back.link : undefined;
    const reporter = gateway.identity.peer.spiffeId;
    const report = encodeFrame({
      case: "control",
      value: {
        header: {
          version: 1,
          targetKind: TargetKind.agent,
          target,
          source: reporter,
          messageId: newMessageId(gateway.random, gateway.now().unix),
          hopTtl: 16,
          trafficClass: agp.TrafficClass.CONTROL,
        },
        ...(requestId && { requestId }),
        body: body.case === "deliveryReport" ? { ...body, value: { ...body.value, reporter } } : body,
      },
    });
    if (link !== undefined && gateway.attach?.send(link, report) === true) return;
    const own = new FrameScan();
    if (scanFrame(report, 0, report.length, own) !== undefined) return;
    const verdict = forward(own, gateway.table, this.#policy, { kind: "own" }, gateway.now().unix);
    if (verdict.action === "drop" && back !== undefined && "peer" in back)
      this.#relay(own, back.peer, undefined, "own");
    else this.#forward(own, { kind: "own" }, undefined);
  }

  #dial(target: string): void {
    const gateway = this.#gateway;
    const again = (): void => {
      const waitMs = gateway.limits.dataRetryMs * (0.5 + gateway.random.fraction() / 2);
      gateway.world.queue.push(gateway.world.now + Math.ceil(waitMs), `${gateway.name} dials ${target} again`, () => {
        if (gateway.data === this) this.#dial(target);
      });
    };
    gateway.world.fabric.dial(
      "data",
      gateway.name,
      target,
      (pipe) => {
        if (gateway.data === this) this.#adopt(pipe, true, again);
        else pipe.close();
      },
      () => {
        if (gateway.data === this) again();
      },
    );
  }

  #adopt(pipe: Pipe, isDialled: boolean, again?: () => void): void {
    const gateway = this.#gateway;
    const peer = gateway.world.gateway(pipe.remote);
    const before = this.#neighbours.get(peer.uri);
    // The newer link stays: the other side has lost the older one, or will.
    if (before !== undefined) {
      before.pipe.handler = undefined;
      before.pipe.close();
      this.#down(peer, before.pipe);
    }
    const arrival = { kind: "peer", link: pipe.id as LinkId, peer: peer.uri, domain: peer.plan.domain } as const;
    this.#neighbours.set(peer.uri, { pipe, arrival });
    pipe.handler = {
      message: (bytes) => this.#receive(peer, arrival, bytes),
      closed: () => {
        this.#down(peer, pipe);
        again?.();
      },
    };
    gateway.table.apply({ kind: "peer", peer: peer.uri, isUp: true });
    this.#setUplink();
    const level = peer.plan.role === "level1" ? 1 : 2;
    this.#input(() => this.topics.handlePeerUp(gateway.now(), { uri: peer.uri, level }));
    gateway.world.note(() => `${gateway.name} has a data link to ${peer.name}${isDialled ? ", dialled" : ""}`);
  }

  #down(peer: Gateway, pipe: Pipe): void {
    if (this.#neighbours.get(peer.uri)?.pipe !== pipe) return;
    this.#neighbours.delete(peer.uri);
    this.#gateway.table.apply({ kind: "peer", peer: peer.uri, isUp: false });
    this.#setUplink();
    this.#input(() => this.topics.handlePeerDown(this.#gateway.now(), peer.uri));
  }

  /** What an edge gateway doesn't know goes to a neighbour that is there. */
  #setUplink(): void {
    if (this.#gateway.plan.role !== "level1") return;
    this.#gateway.table.apply({ kind: "uplink", peer: [...this.#neighbours.keys()].sort()[0] });
  }

  #receive(peer: Gateway, arrival: Neighbour["arrival"], bytes: Uint8Array): void {
    const scan = new FrameScan();
    if (this.#gateway.data !== this || scanFrame(bytes, 0, bytes.length, scan) !== undefined) return;
    this.#gateway.world.touch(this.#gateway);
    if (scan.controlBody === mailboxTransferResult && scan.target() === this.#gateway.identity.peer.spiffeId) {
      const control = controlIn(scan);
      if (control?.body.case === "mailboxTransferResult")
        this.#gateway.mail?.handleTransferred(control.requestId, control.body.value);
      return;
    }
    if (scan.kind === FrameKind.message || scan.kind === FrameKind.control)
      return this.#forward(scan, arrival, { peer: peer.uri });
    const body = decodeFrame(bytes);
    if (body.case === "topicInterest")
      this.#input(() => {
        const refused = this.topics.handleInterest(this.#gateway.now(), peer.uri, body.value);
        if (refused !== undefined)
          this.#gateway.world.note(() => `${this.#gateway.name} refuses interest of ${peer.name}: ${refused.message}`);
      });
  }

  #input(work: () => void): void {
    const gateway = this.#gateway;
    if (gateway.data !== this) return;
    gateway.world.touch(gateway);
    work();
    let count = 0;
    for (let effects = this.topics.drain(); effects.length > 0; effects = this.topics.drain()) {
      for (const effect of effects) {
        if (!gateway.burn()) return;
        count += 1;
        if (effect.kind !== "send") continue;
        const out = this.#neighbours.get(effect.peer);
        const body = decodeFrame(effect.frame);
        if (body.case === "topicInterest") {
          const to = gateway.short(effect.peer);
          gateway.world.tell("interestSent", gateway, to, body.value);
          gateway.world.note(
            () =>
              `${gateway.name} -> ${to}: interest of ${gateway.short(body.value.origin)} ${body.value.epoch}.${body.value.sequence}${body.value.withdrawn ? " withdrawn" : ""} [${body.value.topics.join(" ")}]`,
          );
        }
        out?.pipe.send(effect.frame);
      }
    }
    gateway.world.tell("effects", gateway, "topics", count);
    const deadline = this.topics.deadline();
    this.#alarm.arm(deadline === undefined ? undefined : gateway.timeOf(deadline));
  }
}

type ControlBody = NonNullable<MessageInitShape<typeof agp.ControlSchema>["body"]>;

const mailboxTransfer = agp.ControlSchema.field.mailboxTransfer.number;
const mailboxTransferResult = agp.ControlSchema.field.mailboxTransferResult.number;
/** Messages that wait for one agent. */
const heldMax = 8;
