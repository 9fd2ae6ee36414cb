/** A direct link whose other end is played by a test: it says what it is told to, and reads as much as it is told to. */
import { type AgentId, asUnixMs, type CausewayError, domainOf, type UnixMs } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { agp, encodeFrame } from "@causeway/core-wire";
import type { FrameSlice, GatewayLink } from "../connector.ts";

export class SilentLink implements GatewayLink {
  readonly peer: VerifiedPeer;
  readonly channelBinding = new Uint8Array(32);
  /** What was sent to the other end. */
  readonly sent: Uint8Array[] = [];
  /** False: the other end reads nothing any more. */
  isReading = true;
  /** What the link was ended with; empty when with nothing. */
  code: string | undefined;
  #receive: (frames: readonly FrameSlice[]) => void = () => undefined;
  #onClose: (error?: CausewayError) => void = () => undefined;
  #asked = 0;

  constructor(from: AgentId, notAfter: UnixMs = asUnixMs(Number.MAX_SAFE_INTEGER)) {
    const names = { role: "agent", purpose: "tls", domain: domainOf(from), spiffeId: from };
    this.peer = { ...names, notAfter } as VerifiedPeer;
  }

  send(frame: Uint8Array): boolean {
    this.sent.push(frame.slice());
    return this.isReading;
  }

  onFrames(receive: (frames: readonly FrameSlice[]) => void): void {
    this.#receive = receive;
  }

  onWritable(): void {}

  onClose(run: (error?: CausewayError) => void): void {
    this.#onClose = run;
  }

  pause(): void {}

  resume(): void {}

  close(error?: CausewayError): void {
    if (this.code !== undefined) return;
    this.code = error?.code ?? "";
    this.#onClose(error);
  }

  /** The other end says who it is. */
  greet(target: AgentId, withoutGateway = false): void {
    const source = this.peer.spiffeId;
    this.#take(encodeFrame({ case: "directHello", value: { source, target, withoutGateway } }));
  }

  /** The other end asks for a key package. */
  ask(target: AgentId): void {
    const requestId = new Uint8Array(16).fill(++this.#asked);
    const header = {
      version: 1,
      hopTtl: 4,
      targetKind: agp.TargetKind.AGENT,
      target,
      source: this.peer.spiffeId,
      messageId: requestId,
      trafficClass: agp.TrafficClass.CONTROL,
    };
    const body = { case: "keyPackageFetch", value: { suite: 1 } } as const;
    this.#take(encodeFrame({ case: "control", value: { header, requestId, body } }));
  }

  #take(buffer: Uint8Array): void {
    this.#receive([{ buffer, start: 0, end: buffer.length }]);
  }
}
