/**
 * Leases over a bad network with drifting clocks: no live agent is ever reaped, and no dead one stays listed longer than
 * the defaults say. Real machines on both sides; only time, delay and death are made up.
 */
import { type AgentId, asInstant, asUnixMs, defaults, type Now } from "@causeway/core-base";
import { asLinkId, decodeFrame, FrameKind, FrameScan, type LinkId, scanFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AgentAttachment } from "./agent.ts";
import type { AttachmentModelName } from "./effects.ts";
import { gateway, gatewayIdentity } from "./fixtures/handshake.ts";
import { countingRandom, identity, type TestIdentity, testCrypto } from "./fixtures/identities.ts";
import type { GatewayAttachments, GatewayAttachmentsOptions } from "./gateway.ts";

/** What befalls one agent. Times in seconds from the start. */
interface Fate {
  readonly model: AttachmentModelName;
  /** Of its monotonic clock against the gateway's. */
  readonly rate: number;
  /** Of its wall clock. */
  readonly skewMs: number;
  /** One way. */
  readonly delayMs: number;
  /** The link breaks for both sides, and the agent comes back. */
  readonly cutsAt: readonly number[];
  /** The process ends without a word; the gateway may or may not see the link go. */
  readonly diesAt: number | undefined;
  readonly isDeathNoticed: boolean;
}

const fate: fc.Arbitrary<Fate> = fc.record({
  model: fc.constantFrom("stateful", "soft"),
  rate: fc.double({ min: 0.95, max: 1.05, noNaN: true }),
  skewMs: fc.integer({ min: -86_400_000, max: 86_400_000 }),
  delayMs: fc.integer({ min: 0, max: 5_000 }),
  cutsAt: fc.array(fc.integer({ min: 1, max: 1_200 }), { maxLength: 3 }),
  diesAt: fc.option(fc.integer({ min: 30, max: 900 }), { nil: undefined }),
  isDeathNoticed: fc.boolean(),
});

const start = 1_700_000_000_000;
const runSeconds = 1_500;
/** A heartbeat that was on its way when the agent died, and the handshake of its last return. */
const slackMs = 20_000;

class Network {
  readonly random = countingRandom();
  readonly gateway: GatewayAttachments;
  readonly agents: LiveAgent[];
  readonly #queue: { readonly at: number; readonly run: () => void }[] = [];
  readonly byLink = new Map<LinkId, LiveAgent>();
  ms = 0;
  links = 0;

  constructor(fates: readonly Fate[], times: Partial<GatewayAttachmentsOptions> = {}) {
    this.gateway = gateway({ random: this.random, ...times });
    this.agents = fates.map((each, i) => new LiveAgent(this, identity(`blue.example/a${i}`, "agent"), each));
  }

  get now(): Now {
    return { instant: asInstant(this.ms), unix: asUnixMs(start + this.ms) };
  }

  at(ms: number, run: () => void): void {
    this.#queue.push({ at: ms, run });
  }

  step(work: () => void): void {
    work();
    for (const effect of this.gateway.drain()) {
      if (effect.kind === "send") {
        const agent = this.byLink.get(effect.link);
        agent?.deliver(effect.link, effect.frame.slice());
      } else if (effect.kind === "close") {
        this.byLink.get(effect.link)?.closed(effect.link);
      } else if (effect.kind === "remove") {
        const agent = this.agents.find(({ own }) => own.id === effect.attachment.agentId);
        // A live agent leaves the list only for its own newer attachment.
        if (agent?.isAlive) expect(effect.cause?.code).toBe("CAUSEWAY_ATTACHMENT_REPLACED");
      }
    }
  }

  /** Plays to the end, and looks after every event, and every ten seconds. */
  play(): void {
    for (let second = 10; second <= runSeconds; second += 10) this.at(second * 1_000, () => undefined);
    for (const agent of this.agents) agent.begin();
    for (;;) {
      this.#queue.sort((a, b) => a.at - b.at);
      const due = [this.#queue[0]?.at, this.gateway.deadline(), ...this.agents.map((agent) => agent.deadline())].filter(
        (each) => each !== undefined,
      );
      const next = Math.min(...due);
      if (!(next <= runSeconds * 1_000)) return;
      this.ms = Math.max(this.ms, next);
      while ((this.#queue[0]?.at ?? Infinity) <= this.ms) this.#queue.shift()?.run();
      this.step(() => this.gateway.handleTimeout(this.now));
      for (const agent of this.agents) agent.wake();
      this.look();
    }
  }

  look(): void {
    const listed = new Map<AgentId, string>(this.gateway.attachments().map(({ agentId, state }) => [agentId, state]));
    for (const agent of this.agents) {
      const state = listed.get(agent.own.id);
      const { diesAt, model } = agent.fate;
      if (agent.isAlive) {
        if (agent.isSettled) expect(state).toBe("attached");
        continue;
      }
      const deadMs = this.ms - (diesAt ?? 0) * 1_000;
      const { staleAfterMs, removeAfterStaleMs, leaseMs } = defaults;
      const listedMs = model === "soft" ? leaseMs : staleAfterMs + removeAfterStaleMs;
      if (deadMs > listedMs + slackMs) expect(state).toBeUndefined();
      if (model === "stateful" && deadMs > staleAfterMs + slackMs) expect(state).not.toBe("attached");
    }
  }
}

class LiveAgent {
  readonly fate: Fate;
  readonly own: TestIdentity;
  readonly #network: Network;
  readonly #machine: AgentAttachment;
  #attempt = 0;
  #link: LinkId | undefined;
  isAlive = true;
  /** Attached, with nothing broken since: the gateway has to list it as present. */
  isSettled = false;

  constructor(network: Network, own: TestIdentity, fate_: Fate) {
    this.#network = network;
    this.own = own;
    this.fate = fate_;
    this.#machine = new AgentAttachment({
      agentId: own.id,
      instance: "i",
      hints: [{ method: "static", endpoint: "https://gw1:1", discover: false }],
      model: fate_.model,
      signer: () => own.signer,
      crypto: testCrypto,
      random: network.random,
      handshakeMs: 60_000,
    });
  }

  begin(): void {
    const { cutsAt, diesAt } = this.fate;
    for (const second of cutsAt) this.#network.at(second * 1_000, () => this.#cut());
    if (diesAt !== undefined) this.#network.at(diesAt * 1_000, () => this.#die());
    this.#step(() => this.#machine.start(this.#now()));
  }

  deadline(): number | undefined {
    const deadline = this.isAlive ? this.#machine.deadline() : undefined;
    return deadline === undefined ? undefined : Math.ceil(deadline / this.fate.rate);
  }

  wake(): void {
    if (this.isAlive && (this.deadline() ?? Infinity) <= this.#network.ms)
      this.#step(() => this.#machine.handleTimeout(this.#now()));
  }

  /** A frame of the gateway, after the delay, unless the link or the agent is gone by then. */
  deliver(link: LinkId, frame: Uint8Array): void {
    this.#later(link, () => {
      const scan = new FrameScan();
      scanFrame(frame, 0, frame.length, scan);
      const now = this.#now();
      const body = decodeFrame(frame);
      if (scan.kind === FrameKind.attachChallenge)
        this.#machine.handleChallenge(now, this.#attempt, scan.body().slice());
      else if (scan.kind === FrameKind.attachLease) this.#machine.handleLease(now, this.#attempt, scan.body().slice());
      else if (body.case === "heartbeatAck") this.#machine.handleHeartbeatAck(now, this.#attempt, body.value);
      else if (body.case === "sessionEnd") this.#machine.handleSessionEnd(now, this.#attempt, body.value);
      else if (body.case === "error") this.#machine.handleError(now, this.#attempt, body.value);
    });
  }

  closed(link: LinkId): void {
    this.#later(link, () => {
      this.#link = undefined;
      this.#machine.handleLinkDown(this.#now(), this.#attempt);
    });
  }

  #later(link: LinkId, run: () => void): void {
    this.#network.at(this.#network.ms + this.fate.delayMs, () => {
      if (this.isAlive && this.#link === link) this.#step(run);
    });
  }

  #now(): Now {
    const ms = this.#network.ms * this.fate.rate;
    return { instant: asInstant(ms), unix: asUnixMs(Math.round(start + ms + this.fate.skewMs)) };
  }

  #step(work: () => void): void {
    work();
    for (const effect of this.#machine.drain()) {
      if (effect.kind === "connect") this.#dial(effect.attempt);
      else if (effect.kind === "send") this.#send(effect.frame);
      else if (effect.kind === "attached") this.isSettled = true;
      else if (effect.kind === "lost") {
        this.isSettled = false;
        // Nothing here revokes, detaches or replaces by another: an end for good would be a defect.
        expect(effect).toMatchObject({ isFinal: false });
      }
    }
  }

  #dial(attempt: number): void {
    const network = this.#network;
    this.#attempt = attempt;
    const link = asLinkId(++network.links);
    network.at(network.ms + this.fate.delayMs, () => {
      if (!this.isAlive || this.#attempt !== attempt) return;
      this.#link = link;
      network.byLink.set(link, this);
      const binding = new Uint8Array(32).fill(link % 251);
      network.step(() => network.gateway.handleLinkUp(network.now, link, this.own.peer, binding));
      this.#step(() => this.#machine.handleLinkUp(this.#now(), attempt, gatewayIdentity.peer, binding));
    });
  }

  #send(frame: Uint8Array): void {
    const network = this.#network;
    const link = this.#link;
    if (link === undefined) return;
    const bytes = frame.slice();
    network.at(network.ms + this.fate.delayMs, () => {
      // What was sent before a death still arrives; what a broken link held does not.
      if (network.byLink.get(link) !== this) return;
      const scan = new FrameScan();
      scanFrame(bytes, 0, bytes.length, scan);
      const body = decodeFrame(bytes);
      network.step(() => {
        if (body.case === "attachHello") network.gateway.handleHello(network.now, link, scan.body().slice());
        else if (body.case === "attachProof") network.gateway.handleProof(network.now, link, body.value);
        else if (body.case === "heartbeat") network.gateway.handleHeartbeat(network.now, link, body.value);
        else if (body.case === "sessionEnd") network.gateway.handleSessionEnd(network.now, link, body.value);
      });
    });
  }

  #cut(): void {
    const link = this.#link;
    if (!this.isAlive || link === undefined) return;
    this.#link = undefined;
    this.isSettled = false;
    const network = this.#network;
    network.byLink.delete(link);
    network.step(() => network.gateway.handleLinkDown(network.now, link));
    this.#step(() => this.#machine.handleLinkDown(this.#now(), this.#attempt));
  }

  #die(): void {
    const link = this.#link;
    this.isAlive = false;
    this.isSettled = false;
    if (!this.fate.isDeathNoticed || link === undefined) return;
    const network = this.#network;
    network.byLink.delete(link);
    network.step(() => network.gateway.handleLinkDown(network.now, link));
  }
}

test("no live agent is ever reaped, and no dead one stays listed longer than the defaults say [AAP-85, AAP-86, AAP-89]", {
  timeout: 120_000,
}, () => {
  fc.assert(
    fc.property(fc.array(fate, { minLength: 1, maxLength: 6 }), (fates) => {
      new Network(fates).play();
    }),
    { numRuns: 200 },
  );
});

test("the property notices a gateway that reaps too early, and one that keeps the dead", () => {
  const calm: Fate = {
    model: "stateful",
    rate: 1,
    skewMs: 0,
    delayMs: 10,
    cutsAt: [],
    diesAt: undefined,
    isDeathNoticed: false,
  };
  const play =
    (each: Partial<Fate>, times: Partial<GatewayAttachmentsOptions> = {}) =>
    () =>
      new Network([{ ...calm, ...each }], times).play();
  expect(play({})).not.toThrow();
  expect(play({}, { staleAfterMs: 20_000 })).toThrow();
  expect(play({ model: "soft" }, { leaseMs: 90_000, removeAfterStaleMs: 1 })).not.toThrow();
  expect(play({ diesAt: 100 })).not.toThrow();
  expect(play({ diesAt: 100 }, { removeAfterStaleMs: 400_000 })).toThrow();
  expect(play({ diesAt: 100 }, { staleAfterMs: 150_000 })).toThrow();
  expect(play({ diesAt: 100, model: "soft" }, { leaseMs: 500_000 })).toThrow();
});
