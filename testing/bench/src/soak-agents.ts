/** A client process of the soak: many attached agents that do nothing but keep their leases. */
import { systemRandom } from "@causeway/adapter-clock";
import { type FrameSlice, type Link, openLink } from "@causeway/adapter-h2";
import { nodeCrypto } from "@causeway/adapter-keys";
import { AgentAttachment, type AgentEffect } from "@causeway/core-attachment";
import { asInstant, CausewayError, type Now, parseAgentId } from "@causeway/core-base";
import type { TrustStore } from "@causeway/core-identity";
import { decodeFrame, FrameScan, scanFrame } from "@causeway/core-wire";
import type { IdentityMaterial } from "./certificates.ts";
import { clientSide, clock, signerOf, trustFrom } from "./identity.ts";

/** What the harness says, one after the other. */
export type SoakCommand =
  | { readonly do: "start"; readonly url: string; readonly trustState: string }
  | { readonly do: "attach"; readonly identities: readonly IdentityMaterial[] }
  | { readonly do: "count" };

/** The state of all agents of a process. */
export interface SoakCount {
  readonly did: "count";
  readonly attached: number;
  readonly lost: number;
  readonly acknowledged: number;
  /** Of the agents whose last heartbeat was answered, how many milliseconds ago that was, at most. */
  readonly quietMsMax: number;
}

const now = (): Now => ({ instant: asInstant(performance.now()), unix: clock() });
const agents: SoakAgent[] = [];
let url = "";
let trust: TrustStore | undefined;
let lost = 0;
let acknowledged = 0;

class SoakAgent {
  isAttached = false;
  lastSign = performance.now();
  readonly #material: IdentityMaterial;
  readonly #machine: AgentAttachment;
  readonly #attached = Promise.withResolvers<void>();
  #link: Link | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(material: IdentityMaterial) {
    this.#material = material;
    this.#machine = new AgentAttachment({
      agentId: parseAgentId(material.spiffeId),
      instance: "soak",
      hints: [{ method: "static", endpoint: url, discover: false }],
      signer: () => signerOf(material, "tls"),
      crypto: nodeCrypto,
      random: systemRandom,
    });
  }

  attach(): Promise<void> {
    this.#step(() => this.#machine.start(now()));
    return this.#attached.promise;
  }

  #step(input: () => void): void {
    input();
    for (const effect of this.#machine.drain()) this.#perform(effect);
    clearTimeout(this.#timer);
    const deadline = this.#machine.deadline();
    if (deadline === undefined) return;
    const inMs = Math.max(0, deadline - performance.now());
    this.#timer = setTimeout(() => this.#step(() => this.#machine.handleTimeout(now())), inMs);
  }

  #perform(effect: AgentEffect): void {
    switch (effect.kind) {
      case "connect":
        void this.#connect(effect.attempt);
        return;
      case "send":
        this.#link?.send(effect.frame);
        return;
      case "close":
        this.#link?.close();
        return;
      case "attached":
        this.isAttached = true;
        this.lastSign = performance.now();
        this.#attached.resolve();
        return;
      case "lost":
        this.isAttached = false;
        lost++;
        return;
      default:
        return;
    }
  }

  async #connect(attempt: number): Promise<void> {
    if (trust === undefined) return;
    try {
      const link = await openLink(clientSide(url, this.#material, trust));
      this.#link = link;
      link.onFrames((frames) => {
        for (const frame of frames) this.#receive(attempt, frame);
      });
      link.onClose((error) => this.#step(() => this.#machine.handleLinkDown(now(), attempt, error)));
      this.#step(() => this.#machine.handleLinkUp(now(), attempt, link.peer, link.channelBinding));
    } catch (thrown) {
      const { code, message } = CausewayError.from(thrown);
      this.#step(() => this.#machine.handleLinkDown(now(), attempt, { code, message }));
    }
  }

  #receive(attempt: number, { buffer, start, end }: FrameSlice): void {
    const body = decodeFrame(buffer, start, end);
    const bytes = (): Uint8Array => {
      const scan = new FrameScan();
      scanFrame(buffer, start, end, scan);
      return scan.body().slice();
    };
    this.#step(() => {
      if (body.case === "attachChallenge") this.#machine.handleChallenge(now(), attempt, bytes());
      else if (body.case === "attachLease") this.#machine.handleLease(now(), attempt, bytes());
      else if (body.case === "error") this.#machine.handleError(now(), attempt, body.value);
      else if (body.case === "sessionEnd") this.#machine.handleSessionEnd(now(), attempt, body.value);
      else if (body.case === "heartbeatAck") {
        acknowledged++;
        this.lastSign = performance.now();
        this.#machine.handleHeartbeatAck(now(), attempt, body.value);
      }
    });
  }
}

async function handle(command: SoakCommand): Promise<void> {
  switch (command.do) {
    case "start":
      url = command.url;
      trust = trustFrom(command.trustState);
      process.send?.({ did: "start" });
      return;
    case "attach": {
      const fresh = command.identities.map((material) => new SoakAgent(material));
      agents.push(...fresh);
      // A few at a time: what is measured is the gateway, not a queue of handshakes.
      for (let at = 0; at < fresh.length; at += atOnce)
        await Promise.all(fresh.slice(at, at + atOnce).map((agent) => agent.attach()));
      process.send?.({ did: "attach" });
      return;
    }
    case "count":
      process.send?.({
        did: "count",
        attached: agents.filter(({ isAttached }) => isAttached).length,
        lost,
        acknowledged,
        quietMsMax: agents.reduce((most, { lastSign }) => Math.max(most, performance.now() - lastSign), 0),
      } satisfies SoakCount);
  }
}

const atOnce = 16;

process.on("disconnect", () => process.exit());
process.on("message", (command: SoakCommand) => {
  handle(command).catch((thrown: unknown) =>
    process.send?.({ failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
  );
});
