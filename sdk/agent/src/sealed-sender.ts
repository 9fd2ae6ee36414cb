/**
 * The way out: plaintexts go through the end-to-end layer into envelopes and onto the link, in order for each target. The
 * header is filled here and from nothing that an application says (AAP-68, AAP-74).
 */
import {
  type AgentId,
  type CausewayError,
  defaults,
  type Random,
  refuse,
  type Scheduler,
  type SpiffeId,
} from "@causeway/core-base";
import {
  agp,
  encodeFrame,
  encodeMessageFrame,
  HeaderFlag,
  type HeaderInit,
  Lane,
  newMessageId,
  wireLimits,
} from "@causeway/core-wire";
import { toHex } from "./bytes.ts";
import type { EndToEnd, SealedFrame } from "./end-to-end.ts";
import { Serial } from "./serial.ts";
import { detailOf } from "./session/messages.ts";

export interface SealedSenderPorts {
  readonly self: AgentId;
  /** The same, with the instance when it has a name: others answer to it. */
  readonly source: SpiffeId;
  readonly endToEnd: EndToEnd;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Puts a frame on a link to its target, waiting for room; says on which. Rejects with the reason when there is none. */
  readonly transmit: (frame: Uint8Array, to: Target, lane: Lane) => Promise<"gateway" | "direct">;
}

/** What the way out tells its owner. */
export interface SealedSenderListener {
  /** Messages left past the gateways, of which the own one was to say that it took them. */
  readonly onLeftDirectly: (messages: readonly string[]) => void;
}

/** Whom an envelope is for. */
export interface Target {
  readonly kind: "agent" | "topic";
  readonly name: string;
}

/** What the header of a message says beside its names. */
export interface HeaderFacts {
  readonly trace: boolean;
  readonly wantsAccepted: boolean;
  readonly wantsStored: boolean;
  /** 0 for none. */
  readonly expiresUnixMs: number;
  readonly isReliable: boolean;
  /** Sent in the class bulk: behind everything else, in an order of its own. */
  readonly isBulk: boolean;
  /** What happens to slow subscribers of a topic (`agp.TopicOverflow`). Default: the oldest message is dropped. */
  readonly overflow?: agp.TopicOverflow;
}

/** One frame that left. */
export interface Departed {
  readonly to: string;
  readonly context: Uint8Array;
  /** Hex ids of the messages in it. */
  readonly messages: readonly string[];
}

export class SealedSender {
  readonly #ports: SealedSenderPorts & SealedSenderListener;
  readonly #serial = new Serial();
  /** The last frames that left, for reports about them. Bounded, oldest first. */
  readonly #departed = new Map<string, Departed>();

  /** Random bytes of ids, drawn many at a time: a draw costs more than all the rest of an id. */
  readonly #idRandom: Random;

  constructor(ports: SealedSenderPorts & SealedSenderListener) {
    this.#ports = ports;
    let drawn: Uint8Array = new Uint8Array();
    let at = 0;
    this.#idRandom = {
      fraction: () => ports.random.fraction(),
      bytes: (length) => {
        if (at + length > drawn.length) {
          drawn = ports.random.bytes(drawnBytes);
          at = 0;
        }
        at += length;
        return drawn.subarray(at - length, at);
      },
    };
  }

  newId(): Uint8Array {
    return newMessageId(this.#idRandom, this.#ports.scheduler.now().unix);
  }

  /** Encrypts for one agent and sends it, in the order of the calls. Answers which of its instances it went to. */
  async send(
    to: SpiffeId,
    id: Uint8Array,
    plaintext: Uint8Array,
    facts: HeaderFacts,
    messages: readonly string[],
  ): Promise<string> {
    // The end-to-end layer serves calls in order, and shares work among those that wait together.
    const sealed = this.#ports.endToEnd.seal(to, plaintext, facts.isBulk ? "bulk" : "");
    await this.#inOrder({ kind: "agent", name: to }, sealed, id, facts, messages);
    return (await sealed).at(-1)?.to ?? to;
  }

  /** Encrypts for a topic's group and sends it once. */
  publish(
    topic: string,
    groupId: string,
    id: Uint8Array,
    plaintext: Uint8Array,
    facts: Pick<HeaderFacts, "trace" | "overflow" | "isBulk">,
  ): Promise<void> {
    const sealed = this.#ports.endToEnd.sealGroup(groupId, plaintext);
    return this.#inOrder({ kind: "topic", name: topic }, sealed, id, { ...plain, ...facts }, []);
  }

  /** Sends frames of the end-to-end layer that no message waits for: key updates, welcomes, commits. */
  async sendFrames(target: Target, frames: readonly SealedFrame[], isBulk = false): Promise<void> {
    // To an agent that is away they have to be stored too, or nothing that follows can be opened.
    const isReliable = target.kind === "agent";
    await this.#sendAll(target, frames, this.newId(), { ...plain, isReliable, isBulk }, []);
  }

  /** Tells the sender of a message why it could not be opened. */
  async report(header: agp.RoutingHeader, error: CausewayError): Promise<void> {
    const { self } = this.#ports;
    const answer = {
      version: 1,
      hopTtl: defaults.hopTtl,
      ...this.#header({ kind: "agent", name: header.source }, this.newId(), false),
    };
    const report = { messageId: header.messageId, error: detailOf(error), reporter: self, target: header.target };
    await this.#ports.transmit(
      encodeFrame({
        case: "control",
        value: { header: answer, requestId: header.messageId, body: { case: "deliveryReport", value: report } },
      }),
      { kind: "agent", name: header.source },
      Lane.urgent,
    );
  }

  /** What left under a header's message id. */
  departed(id: string): Departed | undefined {
    return this.#departed.get(id);
  }

  /** Nothing more will be said of it. */
  forget(id: string): void {
    this.#departed.delete(id);
  }

  /** Resolves when everything that was begun has left or failed. */
  idle(): Promise<void> {
    return this.#serial.idle();
  }

  #inOrder(
    target: Target,
    sealed: Promise<readonly SealedFrame[]>,
    id: Uint8Array,
    facts: HeaderFacts,
    messages: readonly string[],
  ): Promise<void> {
    // It may fail before its turn, which is when somebody looks.
    sealed.catch(() => undefined);
    return this.#serial.run(facts.isBulk ? `${target.name} bulk` : target.name, async () =>
      this.#sendAll(target, await sealed, id, facts, messages),
    );
  }

  async #sendAll(
    target: Target,
    frames: readonly SealedFrame[],
    id: Uint8Array,
    facts: HeaderFacts,
    messages: readonly string[],
  ): Promise<void> {
    const lane = facts.isBulk ? Lane.bulk : Lane.urgent;
    for (const frame of frames) {
      const to: Target = frame.to === undefined ? target : { kind: "agent", name: frame.to };
      const isMessage = frame.kind === "application";
      const messageId = isMessage ? id : this.newId();
      if (frame.payload.length > wireLimits.payloadBytesMax) {
        const problem = `expected a message of at most ${wireLimits.payloadBytesMax} bytes with its encryption, got ${frame.payload.length}; send it in parts`;
        throw refuse("CAUSEWAY_FORWARDING_TOO_LARGE", problem);
      }
      // What a topic's members lack is their owner's matter: nobody's word makes this agent give up a topic's group.
      if (target.kind === "agent") {
        const context = frame.securityContextId;
        this.#remember(toHex(messageId), { to: to.name, context, messages: isMessage ? messages : [] });
      }
      const header: HeaderInit = {
        ...this.#header(to, messageId, facts.isBulk),
        securityContextId: frame.securityContextId,
        expiresUnixMs: BigInt(Math.ceil(facts.expiresUnixMs)),
        deliveryMode: facts.isReliable ? agp.DeliveryMode.RELIABLE : agp.DeliveryMode.BEST_EFFORT,
        flags: isMessage ? flagsOf(facts) : 0,
      };
      const way = await this.#ports.transmit(encodeMessageFrame(header, frame.payload), to, lane);
      if (way === "direct" && isMessage && facts.wantsAccepted) this.#ports.onLeftDirectly(messages);
    }
  }

  #header(target: Target, messageId: Uint8Array, isBulk: boolean): HeaderInit {
    return {
      targetKind: target.kind === "topic" ? agp.TargetKind.TOPIC : agp.TargetKind.AGENT,
      target: target.name,
      source: this.#ports.source,
      messageId,
      trafficClass: isBulk ? agp.TrafficClass.BULK : agp.TrafficClass.INTERACTIVE,
    };
  }

  #remember(id: string, departed: Departed): void {
    this.#departed.delete(id);
    this.#departed.set(id, departed);
    if (this.#departed.size <= departedMax) return;
    const oldest = this.#departed.keys().next();
    if (!oldest.done) this.#departed.delete(oldest.value);
  }
}

/** Position of the overflow policy in the header's flags. */
const overflowShift = 4;

function flagsOf({ trace, wantsAccepted, wantsStored, isReliable, overflow = 0 }: HeaderFacts): number {
  // Who hears that a message is stored need not repeat it.
  return (
    (overflow << overflowShift) |
    (trace ? HeaderFlag.trace : 0) |
    (wantsAccepted ? HeaderFlag.accepted : 0) |
    (isReliable ? (wantsStored ? HeaderFlag.stored : HeaderFlag.storedNotice) : 0)
  );
}

const plain: HeaderFacts = {
  trace: false,
  wantsAccepted: false,
  wantsStored: false,
  expiresUnixMs: 0,
  isReliable: false,
  isBulk: false,
};
const departedMax = 8_192;
const drawnBytes = 2_560;
