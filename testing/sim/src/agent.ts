/** An agent: its identity and record, and one attachment machine for each of its instances. */
import { AgentAttachment, type AgentEffect, defaultFeatures, mailboxFeature } from "@causeway/core-attachment";
import type { AgentId, Now } from "@causeway/core-base";
import { type RegisteredRecord, signReceipt, signRecord } from "@causeway/core-records";
import { testDraft } from "@causeway/core-records/testing";
import {
  decodeFrame,
  encodeFrame,
  encodeMessageFrame,
  FrameKind,
  FrameScan,
  hex,
  newMessageId,
  type record,
  scanFrame,
  type TargetKind,
} from "@causeway/core-wire";
import { channelBinding } from "./attach-side.ts";
import { Alarm, LocalClock } from "./clock.ts";
import { Endpoint } from "./endpoint.ts";
import type { Pipe } from "./fabric.ts";
import { agentIdentity, registryIdentity, type SimIdentity, signatures, simCrypto } from "./identities.ts";
import type { AgentPlan, Limits } from "./plan.ts";
import type { SeededRandom } from "./random.ts";
import type { Surroundings } from "./surroundings.ts";

/** Whom a message is for. */
export interface Target {
  readonly kind: (typeof TargetKind)[keyof typeof TargetKind];
  readonly name: string;
}

export class Agent {
  readonly plan: AgentPlan;
  readonly world: Surroundings;
  readonly limits: Limits;
  readonly random: SeededRandom;
  readonly identity: SimIdentity;
  readonly agentId: AgentId;
  /** Instances that run. One that vanished or ended is not here. */
  readonly lives = new Map<string, AgentLife>();
  /**
   * The processes that send and take reliable messages, by instance; only in worlds with mailboxes, and only those that
   * run.
   */
  readonly endpoints = new Map<string, Endpoint>();
  /** What each instance remembers over a restart, by sender. */
  readonly #disks = new Map<string, Map<string, Uint8Array>>();
  #runs = 0;
  #revision = 1n;
  #advert: { readonly record: record.SignedRecord; readonly receipt: record.SignedReceipt } | undefined;
  readonly #clock: LocalClock;

  constructor(plan: AgentPlan, limits: Limits, world: Surroundings, random: SeededRandom) {
    this.plan = plan;
    this.limits = limits;
    this.world = world;
    this.random = random;
    this.identity = agentIdentity(plan.domain, plan.path);
    this.agentId = this.identity.peer.spiffeId;
    this.#clock = new LocalClock(0, 5_000_000, plan.clock);
  }

  get name(): string {
    return this.plan.name;
  }

  now(): Now {
    return this.#clock.at(this.world.now);
  }

  timeOf(deadline: Now["instant"]): number {
    return Math.max(this.world.now, this.#clock.worldTimeOf(deadline));
  }

  /** Starts an instance that tries these gateways in order. */
  launch(instance: string, homes: readonly string[]): void {
    this.lives.get(instance)?.vanish(false);
    const life = new AgentLife(this, instance, homes);
    this.lives.set(instance, life);
    life.start();
  }

  /** Starts the process of an instance that sends and takes reliable messages, if it does not run. */
  awake(instance: string): void {
    const { mail } = this.limits;
    if (mail === undefined || this.endpoints.has(instance)) return;
    this.endpoints.set(instance, new Endpoint(this, mail, instance, ++this.#runs));
  }

  /** What an instance remembers over a restart, by sender. */
  diskOf(instance: string): Map<string, Uint8Array> {
    const disk = this.#disks.get(instance) ?? new Map<string, Uint8Array>();
    this.#disks.set(instance, disk);
    return disk;
  }

  /** The instance that speaks for the agent: the first that is attached. */
  attached(): AgentLife | undefined {
    return [...this.lives.values()].find((life) => life.isAttached);
  }

  /** A new revision of the record, advertised wherever the agent is attached. */
  revise(): void {
    this.#revision += 1n;
    this.#advert = undefined;
    for (const life of this.lives.values()) life.advertise();
  }

  /** The signed record and the registry's receipt for it. */
  advert(): { readonly record: record.SignedRecord; readonly receipt: record.SignedReceipt } {
    this.#advert ??= signedRecordOf(this, this.#revision);
    return this.#advert;
  }
}

/** One instance of an agent, from its launch to its end. */
export class AgentLife {
  readonly agent: Agent;
  readonly instance: string;
  readonly homes: readonly string[];
  readonly topics = new Set<string>();
  readonly #machine: AgentAttachment;
  readonly #pipes = new Map<number, Pipe>();
  readonly #alarm: Alarm;
  condition: "running" | "degraded" = "running";
  #isGone = false;

  constructor(agent: Agent, instance: string, homes: readonly string[]) {
    this.agent = agent;
    this.instance = instance;
    this.homes = homes;
    this.#machine = new AgentAttachment({
      agentId: agent.agentId,
      instance,
      hints: homes.map((home) => ({ method: "static", endpoint: `https://${home}:443`, discover: false })),
      model: agent.plan.model,
      advertise: true,
      signer: () => agent.identity.tlsSigner,
      crypto: simCrypto,
      random: agent.random,
      features: agent.limits.mail === undefined ? defaultFeatures : [...defaultFeatures, mailboxFeature],
      ...agent.limits.agent,
    });
    this.#alarm = new Alarm(agent.world.queue, `${agent.name} timer`, () =>
      this.#input((machine) => machine.handleTimeout(agent.now())),
    );
  }

  /** True while this life holds a lease, as far as it knows. */
  get isAttached(): boolean {
    const { state } = this.#machine.status();
    return !this.#isGone && (state === "attached" || state === "refreshing");
  }

  /** Number of the connection that carries the attachment. */
  get connection(): number | undefined {
    return this.#pipes.get(this.#machine.status().attempt)?.id;
  }

  /** The gateway of the lease. */
  get gatewayUri(): string | undefined {
    return this.#machine.status().lease?.gatewayUri;
  }

  get #endpoint(): Endpoint | undefined {
    return this.agent.endpoints.get(this.instance);
  }

  start(): void {
    this.#input((machine) => machine.start(this.agent.now()));
  }

  /** Leaves with a word. */
  end(): void {
    this.#input((machine) => machine.detach(this.agent.now(), "done", this.agent.limits.mail !== undefined));
    this.#leave();
  }

  /** Is gone without a word. `isSilent`: not even the transport tells. */
  vanish(isSilent: boolean): void {
    if (this.#isGone) return;
    this.agent.world.note(() => `${this.agent.name}/${this.instance} vanishes${isSilent ? " silently" : ""}`);
    this.#leave();
    for (const pipe of this.#pipes.values()) this.agent.world.fabric.reset(pipe.id, [false, !isSilent]);
    this.#alarm.arm(undefined);
  }

  setCondition(condition: "running" | "degraded"): void {
    this.condition = condition;
    this.#input((machine) => machine.setCondition(this.agent.now(), condition));
  }

  advertise(): void {
    if (!this.isAttached) return;
    this.#send(encodeFrame({ case: "advertise", value: { request: 1n, ...this.agent.advert(), withdraw: false } }));
  }

  subscribe(topic: string): void {
    this.topics.add(topic);
    if (this.isAttached) this.#send(encodeFrame({ case: "subscribe", value: { request: 1n, topic } }));
  }

  unsubscribe(topic: string): void {
    this.topics.delete(topic);
    if (this.isAttached) this.#send(encodeFrame({ case: "unsubscribe", value: { request: 1n, topic } }));
  }

  /** Sends a frame as it is; false when there is no attachment. */
  post(frame: Uint8Array): boolean {
    if (!this.isAttached) return false;
    this.#send(frame);
    this.#input((machine) => machine.noteTraffic(this.agent.now()));
    return true;
  }

  /** Sends a message; its id in hexadecimal, or undefined when nothing was sent. */
  send(target: Target, hopTtl: number, source: string = this.agent.agentId): string | undefined {
    if (!this.isAttached) return undefined;
    const { agent } = this;
    const messageId = newMessageId(agent.random, agent.now().unix);
    const header = { targetKind: target.kind, target: target.name, source, messageId, hopTtl };
    this.#send(encodeMessageFrame(header, new Uint8Array(16)));
    this.#input((machine) => machine.noteTraffic(agent.now()));
    return hex(messageId);
  }

  #leave(): void {
    this.#isGone = true;
    if (this.agent.lives.get(this.instance) === this) this.agent.lives.delete(this.instance);
    this.#endpoint?.setOnline(false);
  }

  #send(frame: Uint8Array): void {
    this.#pipes.get(this.#machine.status().attempt)?.send(frame);
  }

  #input(work: (machine: AgentAttachment) => void): void {
    if (this.#isGone) return;
    work(this.#machine);
    for (let effects = this.#machine.drain(); effects.length > 0; effects = this.#machine.drain()) {
      for (const effect of effects) this.#perform(effect);
    }
    const deadline = this.#machine.deadline();
    this.#alarm.arm(deadline === undefined ? undefined : this.agent.timeOf(deadline));
  }

  #perform(effect: AgentEffect): void {
    const { agent } = this;
    switch (effect.kind) {
      case "connect":
        this.#connect(effect.attempt, effect.candidate.endpoint);
        return;
      case "send":
        this.#pipes.get(effect.attempt)?.send(effect.frame);
        return;
      case "close":
        this.#pipes.get(effect.attempt)?.close();
        this.#pipes.delete(effect.attempt);
        return;
      case "attached":
        agent.world.note(() => `${agent.name}/${this.instance} attached at ${effect.lease.gatewayUri}`);
        this.advertise();
        for (const topic of this.topics) this.subscribe(topic);
        this.#endpoint?.setOnline(true);
        return;
      case "lost":
        this.#endpoint?.setOnline(false);
        agent.world.note(() => `${agent.name}/${this.instance} lost its attachment: ${effect.cause.code}`);
        if (effect.isFinal && effect.cause.code !== "CAUSEWAY_CANCELLED")
          agent.world.tell("agentFinal", agent, this.instance, effect.cause.code);
        return;
      case "event":
      case "discover":
        return;
    }
  }

  #connect(attempt: number, endpoint: string): void {
    const { agent } = this;
    const home = new URL(endpoint).hostname;
    const failed = (message: string): void =>
      this.#input((machine) => machine.handleLinkDown(agent.now(), attempt, { code: "CAUSEWAY_UNREACHABLE", message }));
    agent.world.fabric.dial(
      "attach",
      agent.name,
      home,
      (pipe) => {
        if (this.#isGone) return pipe.close();
        this.#pipes.set(attempt, pipe);
        pipe.handler = {
          message: (bytes) => this.#receive(attempt, bytes),
          closed: (reason) => {
            this.#pipes.delete(attempt);
            failed(reason);
          },
        };
        const { peer } = agent.world.gateway(home).identity;
        this.#input((machine) => machine.handleLinkUp(agent.now(), attempt, peer, channelBinding(pipe)));
      },
      failed,
    );
  }

  #receive(attempt: number, bytes: Uint8Array): void {
    if (this.#isGone) return;
    const { agent } = this;
    const scan = new FrameScan();
    if (scanFrame(bytes, 0, bytes.length, scan) !== undefined) return;
    if (scan.kind === FrameKind.message) {
      agent.world.tell("agentReceived", agent, this.instance, scan);
      return this.#endpoint?.receive(scan);
    }
    const now = agent.now();
    if (scan.kind === FrameKind.attachChallenge)
      return this.#input((machine) => machine.handleChallenge(now, attempt, scan.body().slice()));
    if (scan.kind === FrameKind.attachLease)
      return this.#input((machine) => machine.handleLease(now, attempt, scan.body().slice()));
    const body = decodeFrame(bytes);
    if (body.case === "heartbeatAck")
      return this.#input((machine) => machine.handleHeartbeatAck(now, attempt, body.value));
    if (body.case === "sessionEnd") return this.#input((machine) => machine.handleSessionEnd(now, attempt, body.value));
    if (body.case === "drain") return this.#input((machine) => machine.handleDrain(now, attempt, body.value));
    if (body.case === "control" && body.value.body.case === "deliveryReport") {
      const { messageId, error, fate } = body.value.body.value;
      if (error !== undefined) agent.world.tell("agentTold", agent, hex(messageId), error.code);
      this.#endpoint?.handleReport(hex(messageId), fate, error);
    }
  }
}

function signedRecordOf(agent: Agent, revision: bigint) {
  const { plan } = agent;
  const now = agent.now().unix;
  const draft = testDraft(agent.agentId, {
    revision,
    updatedAt: now,
    tags: [...plan.tags],
    visibleDomains: [...plan.visibleDomains],
  });
  const signed = signRecord(agent.identity.recordSigner, draft);
  const receipt = signReceipt(registryIdentity(plan.domain).recordSigner, {
    agentId: agent.agentId,
    resourceId: "r1",
    revision,
    bodyDigest: signatures.sha256(signed.body),
    issuedAt: now,
    expiresAt: (now + dayMs) as typeof now,
  });
  return { record: signed, receipt };
}

/** What the registry accepted, as a gateway that announces it by itself holds it. */
export function registeredRecordOf(agent: Agent): RegisteredRecord {
  const { record: signed, receipt } = agent.advert();
  const verifier = signatures.verifier();
  // By the agent's own clock, so that a gateway whose clock is behind does not matter here.
  const { unix } = agent.now();
  return verifier.verifyReceipt(verifier.verifyRecord(signed, unix), receipt, unix);
}

const dayMs = 86_400_000;
