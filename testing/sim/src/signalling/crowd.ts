/**
 * Many attachments at one gateway machine, each kept by the machine of its agent, on one virtual clock: counts every frame
 * of signalling both ways, and sees whether the gateway lists exactly those who are there.
 */
import { AgentAttachment, type AgentEffect, GatewayAttachments, type GatewayEffect } from "@causeway/core-attachment";
import { asInstant, asUnixMs, defaults, type Now, parseDomain } from "@causeway/core-base";
import { testNow } from "@causeway/core-identity/testing";
import { asLinkId, decodeFrame, FrameScan, type LinkId, scanFrame } from "@causeway/core-wire";
import { EventQueue, type SimEvent } from "../event-queue.ts";
import { agentIdentity, gatewayIdentity, type SimIdentity, simCrypto } from "../identities.ts";
import { SeededRandom } from "../random.ts";

export interface CrowdOptions {
  readonly model: "stateful" | "soft";
  /** Attachments at any time: who goes makes room for a newcomer. */
  readonly agents: number;
  readonly minutes: number;
  readonly seed: number;
  /** Mean pause between two messages of an agent. Default: it sends none. */
  readonly trafficMs?: number;
  /** Mean stay of an agent, which then vanishes: every second one with its link, the others in silence. Default: for good. */
  readonly stayMs?: number;
  /** The longest that a vanished agent may be listed after its last sign. Default: what the defaults of attachment say. */
  readonly listedMsBound?: number;
}

/** Frames of attachment and their bytes, without those of TLS and HTTP/2. */
export interface Count {
  readonly frames: number;
  readonly bytes: number;
}

export interface CrowdReport {
  /** For each agent and hour, both ways. */
  readonly perAgentHour: Count;
  /** Of these, hello, challenge, proof and lease. */
  readonly handshakes: Count;
  /** Agents that came, the first ones included. */
  readonly came: number;
  readonly vanished: number;
  /** Agents that were there, and of which the gateway or the agent thought otherwise. */
  readonly reaped: number;
  /** Vanished agents that are, or were, listed for longer than `listedMsBound`. */
  readonly ghosts: number;
  /** The longest that a vanished agent was listed after its last sign. */
  readonly listedMsMax: number;
}

/** Lets a crowd live for a while. The same options give the same report. */
export function runCrowd(options: CrowdOptions): CrowdReport {
  return new Crowd(options).run();
}

class Crowd {
  readonly options: CrowdOptions;
  readonly random: SeededRandom;
  readonly machine: GatewayAttachments;
  readonly #queue = new EventQueue();
  readonly #members = new Map<LinkId, Member>();
  readonly #listed = new Map<LinkId, Member>();
  readonly #signalling = { frames: 0, bytes: 0 };
  readonly #handshakes = { frames: 0, bytes: 0 };
  #ms = 0;
  #alarm: SimEvent | undefined;
  #came = 0;
  #vanished = 0;
  #reaped = 0;
  #ghosts = 0;
  #listedMsMax = 0;
  readonly #listedMsBound: number;

  constructor(options: CrowdOptions) {
    this.options = options;
    this.#listedMsBound = options.listedMsBound ?? listedMsBound;
    this.random = new SeededRandom(options.seed);
    this.machine = new GatewayAttachments({
      gatewayId: gateway.peer.spiffeId,
      gatewayUri: gateway.peer.gateway?.uri ?? missing(),
      signer: () => gateway.tlsSigner,
      crypto: simCrypto,
      random: this.random,
      attachmentsMax: 10 * options.agents,
      handshakesMax: options.agents,
      instancesPerAgentMax: 10 * options.agents,
    });
  }

  run(): CrowdReport {
    const { agents, minutes } = this.options;
    for (let i = 0; i < agents; i++) this.later(this.random.between(0, arrivalMs), () => this.#come());
    const end = minutes * 60_000;
    for (let next = this.#queue.take(end); next !== undefined; next = this.#queue.take(end)) {
      this.#ms = next.at;
      next.run();
    }
    this.#ms = end;
    const lateness = [...this.#listed.values()].map((member) => this.#silenceOf(member));
    const hours = (agents * minutes) / 60;
    return {
      perAgentHour: { frames: this.#signalling.frames / hours, bytes: this.#signalling.bytes / hours },
      handshakes: { frames: this.#handshakes.frames / hours, bytes: this.#handshakes.bytes / hours },
      came: this.#came,
      vanished: this.#vanished,
      reaped: this.#reaped + [...this.#members.values()].filter((member) => this.#isMissing(member)).length,
      ghosts: lateness.filter((ms) => ms > this.#listedMsBound).length + this.#ghosts,
      listedMsMax: Math.max(this.#listedMsMax, ...lateness),
    };
  }

  now(): Now {
    return { instant: asInstant(this.#ms), unix: asUnixMs(testNow + this.#ms) };
  }

  later(inMs: number, run: () => void): SimEvent {
    return this.#queue.push(this.#ms + inMs, "", run);
  }

  /** An input of the gateway's machine, and all that follows from it. */
  gateway(input: (machine: GatewayAttachments, now: Now) => void): void {
    input(this.machine, this.now());
    for (const effect of this.machine.drain()) this.#perform(effect);
    const due = this.machine.deadline();
    // Woken too early it does nothing; alarms that are cancelled would fill the queue.
    if (due === undefined || (this.#alarm !== undefined && this.#alarm.at <= due)) return;
    if (this.#alarm !== undefined) this.#alarm.isCancelled = true;
    this.#alarm = this.later(Math.max(0, due - this.#ms), () => {
      this.#alarm = undefined;
      this.gateway((machine, now) => machine.handleTimeout(now));
    });
  }

  count(frame: Uint8Array): void {
    const isHandshake = handshakeFrames.has(decodeFrame(frame).case ?? "");
    for (const sum of isHandshake ? [this.#signalling, this.#handshakes] : [this.#signalling]) {
      sum.frames++;
      sum.bytes += frame.length;
    }
  }

  /** An agent that is there has lost its attachment. */
  reap(): void {
    this.#reaped++;
  }

  #come(): void {
    const member = new Member(this, this.#came++);
    this.#members.set(member.link, member);
    member.start();
    const { stayMs, trafficMs } = this.options;
    if (trafficMs !== undefined) this.#talk(member, trafficMs);
    if (stayMs === undefined) return;
    this.later(this.random.wait(stayMs), () => {
      this.#vanished++;
      this.#members.delete(member.link);
      member.vanish(this.#vanished % 2 === 0);
      this.#come();
    });
  }

  #talk(member: Member, meanMs: number): void {
    this.later(this.random.wait(meanMs), () => {
      if (member.goneAt !== undefined) return;
      member.talk();
      this.#talk(member, meanMs);
    });
  }

  #perform(effect: GatewayEffect): void {
    if (effect.kind === "send") {
      this.count(effect.frame);
      const member = this.#members.get(effect.link);
      if (member !== undefined) this.later(member.delayMs, () => member.receive(effect.frame));
    } else if (effect.kind === "close") this.#members.get(effect.link)?.linkDown();
    else if (effect.kind === "install") {
      const member = this.#members.get(effect.attachment.link);
      if (member !== undefined) this.#listed.set(member.link, member);
    } else if (effect.kind === "remove") {
      const member = this.#listed.get(effect.attachment.link);
      if (member === undefined) return;
      this.#listed.delete(member.link);
      if (member.goneAt === undefined) {
        this.reap();
        return;
      }
      const listedMs = this.#silenceOf(member);
      if (listedMs > this.#listedMsBound) this.#ghosts++;
      this.#listedMsMax = Math.max(this.#listedMsMax, listedMs);
    }
  }

  #silenceOf({ goneAt = this.#ms }: Member): number {
    return this.#ms - goneAt;
  }

  /** Attached by what it knows, and not listed. */
  #isMissing(member: Member): boolean {
    return member.isAttached && !this.#listed.has(member.link);
  }
}

/** One agent with its link. */
class Member {
  readonly link: LinkId;
  readonly delayMs: number;
  isAttached = false;
  /** Set when it has vanished: it hears and says nothing more. */
  goneAt: number | undefined;
  readonly #crowd: Crowd;
  readonly #identity: SimIdentity;
  readonly #machine: AgentAttachment;
  #attempt = 0;
  #alarm: SimEvent | undefined;

  constructor(crowd: Crowd, serial: number) {
    this.#crowd = crowd;
    this.link = asLinkId(serial + 1);
    this.delayMs = crowd.random.between(1, delayMsMax);
    this.#identity = agentIdentity(domain, `crowd/a${serial % identitiesMax}`);
    this.#machine = new AgentAttachment({
      agentId: this.#identity.peer.spiffeId as never,
      instance: `i${serial}`,
      hints: [{ method: "static", endpoint: "https://gateway.example", discover: false }],
      model: crowd.options.model,
      signer: () => this.#identity.tlsSigner,
      crypto: simCrypto,
      random: crowd.random,
    });
  }

  start(): void {
    this.#input((machine, now) => machine.start(now));
  }

  /** Sends a message, which is no signalling. */
  talk(): void {
    if (!this.isAttached) return;
    this.#input((machine, now) => machine.noteTraffic(now));
    this.#toGateway((machine, now) => machine.handleTraffic(now, this.link));
  }

  vanish(isLinkLost: boolean): void {
    this.goneAt = this.#crowd.now().instant;
    if (this.#alarm !== undefined) this.#alarm.isCancelled = true;
    if (isLinkLost) this.#toGateway((machine, now) => machine.handleLinkDown(now, this.link));
  }

  linkDown(): void {
    this.#input((machine, now) => machine.handleLinkDown(now, this.#attempt, undefined));
  }

  receive(frame: Uint8Array): void {
    const body = decodeFrame(frame);
    const scan = new FrameScan();
    scanFrame(frame, 0, frame.length, scan);
    this.#input((machine, now) => {
      if (body.case === "attachChallenge") machine.handleChallenge(now, this.#attempt, scan.body());
      else if (body.case === "attachLease") machine.handleLease(now, this.#attempt, scan.body());
      else if (body.case === "heartbeatAck") machine.handleHeartbeatAck(now, this.#attempt, body.value);
      else throw new Error(`a gateway without faults sent ${body.case}`);
    });
  }

  #input(input: (machine: AgentAttachment, now: Now) => void): void {
    if (this.goneAt !== undefined) return;
    const crowd = this.#crowd;
    input(this.#machine, crowd.now());
    for (const effect of this.#machine.drain()) this.#perform(effect);
    if (this.#alarm !== undefined) this.#alarm.isCancelled = true;
    const due = this.#machine.deadline();
    this.#alarm =
      due === undefined
        ? undefined
        : crowd.later(Math.max(0, due - crowd.now().instant), () =>
            this.#input((machine, now) => machine.handleTimeout(now)),
          );
  }

  #perform(effect: AgentEffect): void {
    if (effect.kind === "connect") {
      this.#attempt = effect.attempt;
      this.#crowd.later(this.delayMs, () => {
        this.#crowd.gateway((machine, now) => machine.handleLinkUp(now, this.link, this.#identity.peer, binding));
        this.#input((machine, now) => machine.handleLinkUp(now, this.#attempt, gateway.peer, binding));
      });
    } else if (effect.kind === "send") this.#send(effect.frame);
    else if (effect.kind === "attached") this.isAttached = true;
    else if (effect.kind === "lost") {
      this.isAttached = false;
      this.#crowd.reap();
    }
  }

  #send(frame: Uint8Array): void {
    this.#crowd.count(frame);
    const body = decodeFrame(frame);
    const scan = new FrameScan();
    scanFrame(frame, 0, frame.length, scan);
    this.#toGateway((machine, now) => {
      if (body.case === "attachHello") machine.handleHello(now, this.link, scan.body());
      else if (body.case === "attachProof") machine.handleProof(now, this.link, body.value);
      else if (body.case === "heartbeat") machine.handleHeartbeat(now, this.link, body.value);
      else throw new Error(`an agent without faults sent ${body.case}`);
    });
  }

  #toGateway(input: (machine: GatewayAttachments, now: Now) => void): void {
    this.#crowd.later(this.delayMs, () => this.#crowd.gateway(input));
  }
}

const missing = (): never => {
  throw new Error("a certificate of a gateway names it");
};

const domain = parseDomain("crowd.example");
const gateway = gatewayIdentity(domain, "edge1");
const binding = new Uint8Array(32).fill(7);
const handshakeFrames: ReadonlySet<string> = new Set(["attachHello", "attachChallenge", "attachProof", "attachLease"]);
/** Certificates take time to make; further agents are instances of these, and signal the same. */
const identitiesMax = 100;
/** The first agents come within a heartbeat. */
const arrivalMs = defaults.heartbeatMs;
const delayMsMax = 1_000;
/** Silence until stale, and until removed; what was on its way when it vanished counts as a sign. */
const listedMsBound = defaults.staleAfterMs + defaults.removeAfterStaleMs + delayMsMax;
