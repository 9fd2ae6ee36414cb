import { constants } from "node:http2";
import { CausewayError, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { FrameSplitter, Lane } from "@causeway/core-wire";
import type { LinkCarrier } from "./carrier.ts";
import type { H2Limits } from "./limits.ts";
import type { FrameSlice, Link } from "./link.ts";
import { connectionError } from "./node-errors.ts";
import { Outbox } from "./outbox.ts";
import { ReadMemory } from "./read-memory.ts";
import { SlabPool } from "./slab.ts";
import { Turn } from "./turn.ts";

/** What differs between the two sides of a Link. */
export interface LinkSide {
  /** Ends our direction once everything queued has left: with a status as a server, with a half-close as a client. */
  finish(error: CausewayError | undefined): void;
  /** The error that the other side gave, if it gave one. Asked when the stream is closed. */
  received(): CausewayError | undefined;
  /** True when the other side ended in an orderly way, so that no error is reported. */
  endedWell(): boolean;
}

/** What a link is made of. */
export interface StreamLinkParts {
  readonly carrier: LinkCarrier;
  readonly side: LinkSide;
  readonly peer: VerifiedPeer;
  readonly channelBinding: Uint8Array;
  readonly serverEndPoint?: () => Uint8Array | undefined;
  readonly limits: H2Limits;
  /** Where the other side is, for error messages. */
  readonly where: string;
  /** What a receiver of frames throws; the link is closed with CAUSEWAY_INTERNAL. */
  readonly onDefect?: (thrown: unknown) => void;
  /** Why this side ends the link by itself: bytes that are no frames, or a receiver that does not keep up. */
  readonly onFault?: (error: CausewayError) => void;
}

/** A Link on one HTTP/2 stream. */
export class StreamLink implements Link {
  readonly peer: VerifiedPeer;
  readonly channelBinding: Uint8Array;
  readonly serverEndPoint?: () => Uint8Array | undefined;
  readonly #parts: StreamLinkParts;
  readonly #splitter: FrameSplitter;
  readonly #outbox: Outbox;
  /** Made anew by `concat` when one is added: other lists have room for sixteen more, on each of ten thousand links. */
  #writable: readonly ((lane: Lane) => void)[] = none;
  #closed: readonly ((error?: CausewayError) => void)[] = none;
  #receive: ((frames: readonly FrameSlice[]) => void) | undefined;
  #isAboveHighWater = false;
  #isBulkAboveHighWater = false;
  #state: LinkState = { kind: "open" };

  constructor(parts: StreamLinkParts) {
    this.#parts = parts;
    this.peer = parts.peer;
    this.channelBinding = parts.channelBinding;
    if (parts.serverEndPoint) this.serverEndPoint = parts.serverEndPoint;
    this.#splitter = new FrameSplitter({
      messageBytesMax: parts.limits.frameBytesMax,
      memory: parts.carrier.isReadMemoryReused ? readMemory : undefined,
    });
    const { carrier } = parts;
    this.#outbox = new Outbox({
      sink: (bytes, done) => carrier.write(bytes, done),
      headroom: carrier.headroom,
      turn,
      slabs,
      onProgress: () => this.#onProgress(),
    });
    carrier.onError((error) => this.#noteFailure(error));
    carrier.onEnd(() => this.#onEnd());
    carrier.onClose((rstCode) => this.#onStreamClosed(rstCode));
  }

  get bufferedBytes(): number {
    return this.#outbox.bytes;
  }

  get bufferedBulkBytes(): number {
    return this.#outbox.bulkBytes;
  }

  takenBulk(bytes: number): void {
    if (this.#state.kind === "open") this.#outbox.takenBulk(bytes);
  }

  send(frame: Uint8Array, start = 0, end = frame.length, lane: Lane = Lane.urgent): boolean {
    if (this.#state.kind !== "open") return false;
    const { queueBytesMax, queueHighWaterBytes } = this.#parts.limits;
    this.#outbox.add(frame, start, end, lane);
    const bytes = lane === Lane.bulk ? this.#outbox.bulkBytes : this.#outbox.bytes;
    if (bytes <= queueHighWaterBytes) return true;
    if (lane === Lane.bulk) this.#isBulkAboveHighWater = true;
    else this.#isAboveHighWater = true;
    if (bytes > queueBytesMax) {
      this.#abandon(
        refuse(
          "CAUSEWAY_FORWARDING_OVERLOADED",
          `expected the receiver to keep up, but ${bytes} bytes wait for it; read faster or send less`,
          {
            details: { limit: String(queueBytesMax) },
          },
        ),
      );
    }
    return false;
  }

  onFrames(receive: (frames: readonly FrameSlice[]) => void): void {
    const isFirst = this.#receive === undefined;
    this.#receive = receive;
    if (isFirst) this.#parts.carrier.start((chunk, start, end) => this.#onData(chunk, start, end));
  }

  onWritable(run: (lane: Lane) => void): void {
    this.#writable = this.#writable.concat(run);
  }

  onClose(run: (error?: CausewayError) => void): void {
    if (this.#state.kind === "closed") run(this.#state.error);
    else this.#closed = this.#closed.concat(run);
  }

  pause(): void {
    if (this.#state.kind === "open") this.#parts.carrier.pause();
  }

  resume(): void {
    this.#parts.carrier.resume();
  }

  close(error?: CausewayError): void {
    if (this.#state.kind !== "open") return;
    const { carrier, limits } = this.#parts;
    const timer = setTimeout(() => carrier.destroy(), limits.closeMs);
    timer.unref();
    this.#state = { kind: "closing", error, timer, isFinished: false };
    this.#outbox.finish();
    // What still arrives is dropped, and has to be taken for the end of the stream to be seen.
    carrier.resume();
    this.#finishWhenDrained();
  }

  /** Closes without waiting for what is queued: the other side does not take it. */
  #abandon(error: CausewayError): void {
    this.#outbox.discard();
    this.#fail(error);
  }

  #onData(chunk: Uint8Array, from: number, to: number): void {
    if (this.#state.kind !== "open") return;
    const frames: FrameSlice[] = [];
    const visit = (buffer: Uint8Array, start: number, end: number) => void frames.push({ buffer, start, end });
    const refusal = this.#splitter.push(chunk, visit, from, to);
    if (frames.length > 0) this.#deliver(frames);
    if (refusal !== undefined) this.#fail(new CausewayError(refusal));
  }

  #fail(error: CausewayError): void {
    if (this.#state.kind === "open") this.#parts.onFault?.(error);
    this.close(error);
  }

  #deliver(frames: readonly FrameSlice[]): void {
    try {
      this.#receive?.(frames);
    } catch (thrown) {
      this.#parts.onDefect?.(thrown);
      this.close(CausewayError.from(thrown));
    }
  }

  #onProgress(): void {
    if (this.#state.kind === "closing") {
      this.#finishWhenDrained();
      return;
    }
    const low = this.#parts.limits.queueHighWaterBytes / 2;
    if (this.#isAboveHighWater && this.#outbox.bytes < low) {
      this.#isAboveHighWater = false;
      for (const run of this.#writable) run(Lane.urgent);
    }
    if (this.#isBulkAboveHighWater && this.#outbox.bulkBytes < low) {
      this.#isBulkAboveHighWater = false;
      for (const run of this.#writable) run(Lane.bulk);
    }
  }

  #onEnd(): void {
    if (this.#state.kind !== "open") return;
    const refusal = this.#parts.side.received() === undefined ? this.#splitter.end() : undefined;
    if (refusal === undefined) this.close();
    else this.#fail(new CausewayError(refusal));
  }

  #finishWhenDrained(): void {
    if (this.#state.kind !== "closing" || this.#state.isFinished) return;
    if (this.#outbox.bytes > 0 || this.#outbox.bulkBytes > 0) return;
    this.#state.isFinished = true;
    this.#parts.side.finish(this.#state.error);
  }

  #noteFailure(error: Error): void {
    if (this.#state.kind === "open") this.close(connectionError(error, this.#parts.where));
  }

  #onStreamClosed(rstCode: number | undefined): void {
    if (this.#state.kind === "closed") return;
    const { side, where } = this.#parts;
    const own = this.#state.kind === "closing" ? this.#state.error : undefined;
    if (this.#state.kind === "closing") clearTimeout(this.#state.timer);
    const isOrderly =
      side.endedWell() ||
      (this.#state.kind === "closing" && this.#state.isFinished && rstCode === constants.NGHTTP2_NO_ERROR);
    const error = side.received() ?? own ?? (isOrderly ? undefined : resetError(rstCode, where));
    this.#outbox.discard();
    this.#state = { kind: "closed", error };
    for (const run of this.#closed) run(error);
  }
}

type LinkState =
  | { readonly kind: "open" }
  | {
      readonly kind: "closing";
      readonly error: CausewayError | undefined;
      readonly timer: NodeJS.Timeout;
      isFinished: boolean;
    }
  | { readonly kind: "closed"; readonly error: CausewayError | undefined };

function resetError(rstCode: number | undefined, where: string): CausewayError {
  return refuse(
    "CAUSEWAY_UNREACHABLE",
    `expected an orderly end of the link to ${where}, but it was cut (HTTP/2 code ${rstCode ?? "unknown"})`,
  );
}

const none: readonly never[] = [];
/** Shared by all links of the process; it has no settings, so networks in one process do not meet in it. */
export const turn: Turn = new Turn();
/** What connections for one link read into. */
export const readMemory: ReadMemory = new ReadMemory(turn);
const slabs = new SlabPool();
