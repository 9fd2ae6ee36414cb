/** An attached agent that sends ready-made message frames: our gateway's client without SDK and encryption. */
import { systemRandom } from "@causeway/adapter-clock";
import { type FrameSlice, type Link, openLink } from "@causeway/adapter-h2";
import { nodeCrypto } from "@causeway/adapter-keys";
import { AgentAttachment, type AgentEffect } from "@causeway/core-attachment";
import { type AgentId, asInstant, CausewayError, type Now, parseAgentId } from "@causeway/core-base";
import type { TrustStore } from "@causeway/core-identity";
import {
  agp,
  decodeFrame,
  encodeMessageFrame,
  FrameScan,
  newMessageId,
  scanFrame,
  TargetKind,
} from "@causeway/core-wire";
import type { IdentityMaterial } from "../certificates.ts";
import { clientSide, clock, signerOf, tlsFacts, trustFrom } from "../identity.ts";
import type { OpenEnd } from "../system.ts";
import { privateMessage } from "./private-message.ts";

export const openEnd: OpenEnd = async (settings, role) => {
  const { url, identity, trustState } = settings as { url: string; identity: IdentityMaterial; trustState: string };
  const own = parseAgentId(identity.spiffeId);
  const target = parseAgentId(own.replace(role, role === "sender" ? "receiver" : "sender"));
  const agent = new AttachedAgent(own, identity, trustFrom(trustState), url);
  const link = await agent.attach();
  let frame: Uint8Array = new Uint8Array(0);
  return {
    facts: tlsFacts,
    prepareSize(bytes) {
      const messageId = newMessageId(systemRandom, clock());
      const header = {
        version: 1,
        targetKind: TargetKind.agent,
        target,
        source: own,
        messageId,
        hopTtl: 16,
        trafficClass: 1,
        deliveryMode: 1,
      };
      frame = encodeMessageFrame(header, privateMessage(bytes));
    },
    send: () => link.send(frame),
    onWritable: (run) => link.onWritable(run),
    onReceive(run) {
      agent.onMessages = run;
    },
  };
};

/** Drives the attachment machine over one link. */
export class AttachedAgent {
  onMessages: (count: number) => void = () => undefined;
  /** Called with each message and with its whole frame's range, instead of being counted. */
  onMessage: ((buffer: Uint8Array, start: number, end: number) => void) | undefined;
  /** What the gateway says of bulk. */
  onCredit: (credit: agp.Credit) => void = () => undefined;
  /** Called with the number of messages that a report calls stored. */
  onStored: (count: number) => void = () => undefined;
  /** True for a publisher to subscribers that do not read. */
  mayBeRefused = false;
  /** The answer to a subscription: undefined, or why not. */
  onSubscribed: (refusal: string | undefined) => void = () => undefined;
  readonly #machine: AgentAttachment;
  readonly #material: IdentityMaterial;
  readonly #trust: TrustStore;
  readonly #url: string;
  readonly #attached = Promise.withResolvers<Link>();
  #link: Link | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(agentId: AgentId, material: IdentityMaterial, trust: TrustStore, url: string, instance = "bench") {
    this.#material = material;
    this.#trust = trust;
    this.#url = url;
    this.#machine = new AgentAttachment({
      agentId,
      instance,
      hints: [{ method: "static", endpoint: url, discover: false }],
      signer: () => signerOf(material, "tls"),
      crypto: nodeCrypto,
      random: systemRandom,
    });
  }

  attach(): Promise<Link> {
    this.#machine.start(now());
    this.#perform();
    return this.#attached.promise;
  }

  #perform(): void {
    for (const effect of this.#machine.drain()) this.#act(effect);
    clearTimeout(this.#timer);
    const deadline = this.#machine.deadline();
    if (deadline === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#machine.handleTimeout(now());
        this.#perform();
      },
      Math.max(0, deadline - performance.now()),
    );
  }

  #act(effect: AgentEffect): void {
    switch (effect.kind) {
      case "connect":
        this.#connect(effect.attempt).catch((thrown: unknown) => this.#attached.reject(thrown));
        return;
      case "send":
        this.#link?.send(effect.frame);
        return;
      case "attached":
        if (this.#link !== undefined) this.#attached.resolve(this.#link);
        return;
      case "lost":
        this.#attached.reject(new Error(`not attached: ${effect.cause.code} ${effect.cause.message}`));
        process.send?.({ failed: `the attachment was lost: ${effect.cause.code} ${effect.cause.message}` });
        return;
      case "close":
        this.#link?.close();
        return;
      default:
        return;
    }
  }

  async #connect(attempt: number): Promise<void> {
    const link = await openLink(clientSide(this.#url, this.#material, this.#trust));
    this.#link = link;
    link.onFrames((frames) => this.#receive(attempt, frames));
    link.onClose((error) => {
      this.#machine.handleLinkDown(now(), attempt, error);
      this.#perform();
    });
    this.#machine.handleLinkUp(now(), attempt, link.peer, link.channelBinding);
    this.#perform();
  }

  /** Messages are counted by their first byte; everything else is for the machine. */
  #receive(attempt: number, frames: readonly FrameSlice[]): void {
    let messages = 0;
    for (const { buffer, start, end } of frames) {
      if (buffer[start] === messageTag && this.onMessage !== undefined) this.onMessage(buffer, start, end);
      else if (buffer[start] === messageTag) messages += 1;
      else this.#control(attempt, buffer, start, end);
    }
    if (messages > 0) this.onMessages(messages);
  }

  #control(attempt: number, buffer: Uint8Array, start: number, end: number): void {
    const body = decodeFrame(buffer, start, end);
    switch (body.case) {
      case "attachChallenge":
        this.#machine.handleChallenge(now(), attempt, bodyOf(buffer, start, end));
        break;
      case "attachLease":
        this.#machine.handleLease(now(), attempt, bodyOf(buffer, start, end));
        break;
      case "heartbeatAck":
        this.#machine.handleHeartbeatAck(now(), attempt, body.value);
        break;
      case "control":
      case "error":
        // A publisher hears of subscribers that are behind.
        if (this.mayBeRefused && body.case === "control") break;
        if (body.case === "control" && body.value.body.case === "deliveryReport") {
          const { fate, furtherMessageIds } = body.value.body.value;
          if (fate === agp.Fate.STORED) {
            this.onStored(1 + furtherMessageIds.length);
            break;
          }
        }
        process.send?.({
          failed: `the gateway refused a message: ${JSON.stringify(body.value, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)).slice(0, 500)}`,
        });
        break;
      case "credit":
        this.onCredit(body.value);
        break;
      case "subscriptionResult":
        this.onSubscribed(body.value.error?.message);
        break;
      default:
        break;
    }
    this.#perform();
  }
}

/** The exact bytes of the one member of a frame. */
function bodyOf(buffer: Uint8Array, start: number, end: number): Uint8Array {
  const scan = new FrameScan();
  const fault = scanFrame(buffer, start, end, scan);
  if (fault !== undefined) throw new CausewayError(fault);
  return scan.body();
}

const now = (): Now => ({ instant: asInstant(performance.now()), unix: clock() });

/** Tag of the field `message` in a frame. */
const messageTag = 0x0a;
