/** Drives the attachment machine of one gateway: links of agents, the table, and the agents' records. */
import {
  type Attachment,
  defaultFeatures,
  GatewayAttachments,
  type GatewayEffect,
  mailboxFeature,
} from "@causeway/core-attachment";
import type { AgentId } from "@causeway/core-base";
import { decodeFrame, FrameKind, FrameScan, type LinkId, scanFrame } from "@causeway/core-wire";
import { Alarm } from "./clock.ts";
import type { Pipe } from "./fabric.ts";
import type { Gateway } from "./gateway.ts";
import { simCrypto } from "./identities.ts";
import { Presence } from "./presence.ts";

export class AttachSide {
  readonly machine: GatewayAttachments;
  readonly #gateway: Gateway;
  readonly #presence: Presence;
  readonly #pipes = new Map<LinkId, Pipe>();
  readonly #byAgent = new Map<AgentId, Map<LinkId, Attachment>>();
  readonly #alarm: Alarm;
  readonly #scan = new FrameScan();

  constructor(gateway: Gateway) {
    const { identity, uri, limits, random } = gateway;
    this.#gateway = gateway;
    this.#presence = new Presence(gateway);
    this.machine = new GatewayAttachments({
      gatewayId: identity.peer.spiffeId,
      gatewayUri: uri,
      signer: () => identity.tlsSigner,
      crypto: simCrypto,
      random,
      features: limits.mail === undefined ? defaultFeatures : [...defaultFeatures, mailboxFeature],
      ...limits.attachment,
    });
    this.#alarm = new Alarm(gateway.world.queue, `${gateway.name} attachment timer`, () =>
      this.input((machine) => machine.handleTimeout(gateway.now())),
    );
  }

  start(): void {
    this.#presence.start();
  }

  stop(): void {
    this.#alarm.arm(undefined);
    for (const pipe of this.#pipes.values()) pipe.handler = undefined;
    this.#pipes.clear();
  }

  attachmentsOf(agentId: AgentId): readonly Attachment[] {
    return [...(this.#byAgent.get(agentId)?.values() ?? [])];
  }

  accept(pipe: Pipe): boolean {
    const gateway = this.#gateway;
    const link = pipe.id as LinkId;
    const peer = gateway.world.agentPeer(pipe.remote);
    this.#pipes.set(link, pipe);
    pipe.handler = {
      message: (bytes) => this.#receive(pipe, link, bytes),
      closed: () => {
        this.#pipes.delete(link);
        gateway.world.tell("linkLost", gateway, link);
        this.input((machine) => machine.handleLinkDown(gateway.now(), link));
      },
    };
    this.input((machine) => machine.handleLinkUp(gateway.now(), link, peer, channelBinding(pipe)));
    return true;
  }

  /** Sends a frame to an agent's link; false when the link is gone. */
  send(link: LinkId, frame: Uint8Array): boolean {
    const pipe = this.#pipes.get(link);
    if (pipe === undefined) return false;
    this.#gateway.world.tell("linkFrame", this.#gateway, pipe, frame, false);
    pipe.send(frame);
    return true;
  }

  input(work: (machine: GatewayAttachments) => void): void {
    const gateway = this.#gateway;
    if (gateway.attach !== this) return;
    gateway.world.touch(gateway);
    work(this.machine);
    const changed = new Set<AgentId>();
    const reachable = new Set<AgentId>();
    let count = 0;
    for (let effects = this.machine.drain(); effects.length > 0; effects = this.machine.drain()) {
      for (const effect of effects) {
        if (!gateway.burn()) return;
        count += 1;
        this.#perform(effect, changed, reachable);
        gateway.world.tell("attachEffect", gateway, effect);
      }
    }
    gateway.world.tell("effects", gateway, "attach", count);
    for (const agentId of changed) {
      if (gateway.attach !== this) return;
      gateway.mail?.handlePresence(agentId);
      if (gateway.attach !== this) return;
      this.#presence.follow(agentId, this.attachmentsOf(agentId));
    }
    for (const agentId of reachable) if (gateway.attach === this) gateway.data?.release(agentId);
    const deadline = this.machine.deadline();
    this.#alarm.arm(deadline === undefined ? undefined : gateway.timeOf(deadline));
  }

  #receive(pipe: Pipe, link: LinkId, bytes: Uint8Array): void {
    const gateway = this.#gateway;
    gateway.world.tell("linkFrame", gateway, pipe, bytes, true);
    const scan = this.#scan;
    if (scanFrame(bytes, 0, bytes.length, scan) !== undefined) return this.#refuse(link);
    const now = gateway.now();
    const attachment = this.machine.attachmentOf(link);
    switch (scan.kind) {
      case FrameKind.attachHello:
        return this.input((machine) => machine.handleHello(now, link, scan.body().slice()));
      case FrameKind.message:
      case FrameKind.control:
        // What comes before the lease, or after the end, is nobody's.
        if (attachment === undefined) return;
        this.input((machine) => machine.handleTraffic(now, link));
        return gateway.data?.fromAgent(scan, attachment);
    }
    const body = decodeFrame(bytes);
    switch (body.case) {
      case "attachProof":
        return this.input((machine) => machine.handleProof(now, link, body.value));
      case "heartbeat":
        return this.input((machine) => machine.handleHeartbeat(now, link, body.value));
      case "sessionEnd":
        return this.input((machine) => machine.handleSessionEnd(now, link, body.value));
      case "advertise":
        if (attachment !== undefined)
          this.#presence.advertise(attachment, this.attachmentsOf(attachment.agentId), body.value);
        return;
      case "mailboxAck":
        if (attachment !== undefined) gateway.mail?.handleAck(attachment.agentId, body.value);
        return;
      case "subscribe":
        if (attachment !== undefined) gateway.data?.subscribe(link, attachment.agentId, body.value.topic);
        return;
      case "unsubscribe":
        if (attachment !== undefined) gateway.data?.unsubscribe(link, body.value.topic);
        return;
    }
  }

  #refuse(link: LinkId): void {
    this.#pipes.get(link)?.close();
    this.#pipes.delete(link);
    this.input((machine) => machine.handleLinkDown(this.#gateway.now(), link));
  }

  #perform(effect: GatewayEffect, changed: Set<AgentId>, reachable: Set<AgentId>): void {
    const gateway = this.#gateway;
    switch (effect.kind) {
      case "send":
        this.send(effect.link, effect.frame);
        return;
      case "install":
      case "update": {
        const { agentId, link, state, instance, attachmentSequence } = effect.attachment;
        const all = this.#byAgent.get(agentId) ?? new Map<LinkId, Attachment>();
        this.#byAgent.set(agentId, all.set(link, effect.attachment));
        const stale = state === "stale";
        gateway.table.apply({ kind: "attach", attachment: { agentId, instance, link, attachmentSequence, stale } });
        changed.add(agentId);
        if (!stale) reachable.add(agentId);
        return;
      }
      case "remove": {
        const { agentId, link, instance } = effect.attachment;
        this.#byAgent.get(agentId)?.delete(link);
        if (this.#byAgent.get(agentId)?.size === 0) this.#byAgent.delete(agentId);
        gateway.table.apply({ kind: "detach", agentId, instance, link });
        gateway.data?.linkGone(link, agentId);
        changed.add(agentId);
        return;
      }
      case "close":
        this.#pipes.get(effect.link)?.close();
        this.#pipes.delete(effect.link);
        this.#closeLater(effect.link);
        return;
      case "event":
        gateway.world.note(() => `${gateway.name} ${effect.type} ${effect.subject}: ${effect.cause}`);
        return;
    }
  }

  /** The transport reports the end of what was closed, as that of every link. */
  #closeLater(link: LinkId): void {
    const gateway = this.#gateway;
    gateway.world.queue.push(gateway.world.now, `${gateway.name} closed a link`, () =>
      this.input((machine) => machine.handleLinkDown(gateway.now(), link)),
    );
  }
}

/** Both ends of a connection have the same, and no other connection has it. */
export function channelBinding(pipe: Pipe): Uint8Array {
  return simCrypto.sha256(new Uint8Array(new Uint32Array([pipe.id]).buffer));
}
