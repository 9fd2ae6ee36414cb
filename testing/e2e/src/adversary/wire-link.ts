/** A link written by hand: real TLS and a real certificate, and whatever frames a test wants to send. */
import { create, toBinary } from "@bufbuild/protobuf";
import { systemRandom } from "@causeway/adapter-clock";
import type { Link } from "@causeway/adapter-h2";
import { type IdentityKeeper, nodeCrypto } from "@causeway/adapter-keys";
import type { TlsIdentity } from "@causeway/adapter-tls";
import { dialLink } from "@causeway/agent/transports";
import { defaultFeatures } from "@causeway/core-attachment";
import { asUnixMs, type CausewayError, type SpiffeId } from "@causeway/core-base";
import { labelled, type Signer, type TrustStore } from "@causeway/core-identity";
import {
  aap,
  decodeFrame,
  encodeFrame,
  encodeMessageFrame,
  type FrameBody,
  type FrameInit,
  FrameKind,
  FrameScan,
  type HeaderInit,
  newMessageId,
  scanFrame,
  TargetKind,
  wrapFrame,
} from "@causeway/core-wire";
import { until } from "../world.ts";

/** Whoever a keeper has enrolled, as the owner of links. */
export function ownerOf(keeper: IdentityKeeper): LinkOwner {
  const { identity, trust, spiffeId } = keeper;
  return { spiffeId, tls: identity.tls(), signer: identity.signer("tls"), trust };
}

/** Who a link is of. */
export interface LinkOwner {
  readonly spiffeId: SpiffeId;
  readonly tls: TlsIdentity;
  readonly signer: Signer;
  readonly trust: TrustStore;
}

/** What went over the link in an attachment, as it was sent. */
export interface Handshake {
  readonly hello: Uint8Array;
  readonly proof: Uint8Array;
}

export class WireLink implements Disposable {
  readonly link: Link;
  readonly owner: LinkOwner;
  /** Every frame received, whole. */
  readonly received: Uint8Array[] = [];
  /** Why the link ended; undefined while it is open. */
  end: { readonly error: CausewayError | undefined } | undefined;

  private constructor(link: Link, owner: LinkOwner) {
    this.link = link;
    this.owner = owner;
    link.onFrames((frames) => this.received.push(...frames.map((f) => f.buffer.slice(f.start, f.end))));
    link.onClose((error) => {
      this.end = { error };
    });
  }

  static async open(url: string, owner: LinkOwner): Promise<WireLink> {
    const { tls, trust } = owner;
    const dial = { url, identity: () => tls, trust, expect: { roles: ["gateway"] } } as const;
    return new WireLink(await dialLink(dial, AbortSignal.timeout(10_000)), owner);
  }

  /** Opens and attaches in good order. */
  static async attached(url: string, owner: LinkOwner): Promise<WireLink & { readonly handshake: Handshake }> {
    const wire = await WireLink.open(url, owner);
    const handshake = await wire.attach();
    return Object.assign(wire, { handshake });
  }

  /** Goes through the handshake; what it sent. Throws when there is no lease. */
  async attach(more: Partial<{ readonly agentId: string }> = {}): Promise<Handshake> {
    const hello = helloBody(more.agentId ?? this.owner.spiffeId);
    this.send(wrapFrame(FrameKind.attachHello, hello));
    const challenge = await this.frame(FrameKind.attachChallenge);
    const proof = encodeFrame({ case: "attachProof", value: { signature: this.prove(hello, challenge.body()) } });
    this.send(proof);
    await this.frame(FrameKind.attachLease);
    return { hello: wrapFrame(FrameKind.attachHello, hello), proof };
  }

  /** The owner's signature over this handshake on this connection. */
  prove(hello: Uint8Array, challenge: Uint8Array): Uint8Array {
    const transcript = nodeCrypto.sha256(Buffer.concat([withLength(hello), withLength(challenge)]));
    return this.owner.signer.sign(labelled("attach", this.link.channelBinding, transcript));
  }

  send(...frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.link.send(frame);
  }

  sendBody(body: FrameInit): void {
    this.send(encodeFrame(body));
  }

  /** A message frame from the owner, unless `header` says otherwise. */
  message(target: string, payload: Uint8Array, header: HeaderInit = {}): Uint8Array {
    return encodeMessageFrame(
      {
        targetKind: TargetKind.agent,
        target,
        source: this.owner.spiffeId,
        messageId: newMessageId(systemRandom, asUnixMs(Date.now())),
        ...header,
      },
      payload,
    );
  }

  /** Waits for a frame of this kind among those received. */
  async frame(kind: number): Promise<FrameScan> {
    let found: FrameScan | undefined;
    await until(
      `a frame of kind ${kind}; got ${this.#summary()}`,
      () => {
        found = this.received.map(scanned).find((scan) => scan.kind === kind);
        if (found === undefined && this.end !== undefined)
          throw this.end.error ?? new Error(`closed; ${this.#summary()}`);
        return found !== undefined;
      },
      10_000,
    );
    return found as FrameScan;
  }

  /** Codes of Error frames received. */
  get errors(): string[] {
    return this.bodies.flatMap((body) => (body.case === "error" ? [body.value.error?.code ?? ""] : []));
  }

  /** Codes of delivery reports received. */
  get reports(): string[] {
    return this.bodies.flatMap((body) =>
      body.case === "control" && body.value.body.case === "deliveryReport"
        ? [body.value.body.value.error?.code ?? ""]
        : [],
    );
  }

  get bodies(): FrameBody[] {
    return this.received.map((frame) => decodeFrame(frame));
  }

  /** Waits for an Error frame or a delivery report with this code. */
  async refusal(code: string): Promise<void> {
    await until(`the refusal ${code}`, () => [...this.errors, ...this.reports].includes(code), 5_000).catch(() => {
      throw new Error(
        `expected ${code}, got errors [${this.errors}], reports [${this.reports}], end ${this.end?.error?.code}`,
      );
    });
  }

  /** Waits for the end of the link; its code. */
  async closed(): Promise<string | undefined> {
    await until("the end of the link", () => this.end !== undefined, 10_000);
    return this.end?.error?.code;
  }

  /** Answers when everything sent before was handled: an expired message is reported in order. */
  async settled(): Promise<void> {
    const before = this.reports.length;
    this.send(this.message(this.owner.spiffeId, privateMessage("late"), { expiresUnixMs: 1n }));
    await until("the report of a last message", () => this.reports.length > before || this.end !== undefined, 5_000);
  }

  #summary(): string {
    return this.received.map((frame) => scanned(frame).kind).join(", ") || "nothing";
  }

  [Symbol.dispose](): void {
    this.link.close();
  }
}

/** The body of an AttachHello with a fresh nonce and the newest sequence. */
export function helloBody(agentId: string): Uint8Array {
  return toBinary(
    aap.AttachHelloSchema,
    create(aap.AttachHelloSchema, {
      agentId,
      instance: "main",
      nonce: systemRandom.bytes(32),
      features: [...defaultFeatures],
      model: aap.AttachmentModel.STATEFUL,
      attachmentSequence: BigInt(Date.now()) * 1_000n + BigInt(++attachments),
      advertise: true,
    }),
  );
}

let attachments = 0;

function withLength(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function scanned(frame: Uint8Array): FrameScan {
  const scan = new FrameScan();
  scanFrame(frame, 0, frame.length, scan);
  return scan;
}

/** An MLS private message in its public framing (RFC 9420 section 6); `content` stands where the ciphertext is. */
export function privateMessage(content: string): Uint8Array {
  const vector = (bytes: Uint8Array): readonly number[] =>
    bytes.length < 64 ? [bytes.length, ...bytes] : [0x40 | (bytes.length >> 8), bytes.length & 0xff, ...bytes];
  const text = new TextEncoder().encode(content.padEnd(16, "."));
  const groupIdAndEpoch = [...vector(Uint8Array.of(1, 2, 3, 4)), ...[0, 0, 0, 0, 0, 0, 0, 1]];
  const sealed = [...vector(new Uint8Array()), ...vector(new Uint8Array(16)), ...vector(text)];
  return Uint8Array.from([0, 1, 0, 2, ...groupIdAndEpoch, 1, ...sealed]);
}
