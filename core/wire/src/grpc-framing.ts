/**
 * gRPC's length-prefixed messages: one byte of flags, four bytes of length (big-endian), the message. Incremental, for
 * chunks that end anywhere. A frame that lies inside one chunk is handed on without a copy; only a frame that straddles
 * chunks is assembled, in a buffer that grows with what has arrived and not with what was announced.
 */
import { type ErrorFacts, refuse } from "@causeway/core-base";
import { wireLimits } from "./limits.ts";

/** Bytes before each message. */
export const grpcPrefixBytes = 5;

/** Memory for messages that straddle chunks. */
export interface FrameMemory {
  /** At least `bytes`. */
  take(bytes: number): Uint8Array;
  /** The splitter has no more use for it; the visitor may have for a while. */
  giveBack(memory: Uint8Array): void;
}

/** Called for each whole message: it lies in `buf` from `start` to `end`, and may be kept unless the splitter was given memory. */
export type FrameVisitor = (buf: Uint8Array, start: number, end: number) => void;

/** Writes the prefix of an uncompressed message of `length` bytes at `at`. */
export function writeGrpcPrefix(buf: Uint8Array, at: number, length: number): void {
  buf[at] = 0;
  buf[at + 1] = length >>> 24;
  buf[at + 2] = length >>> 16;
  buf[at + 3] = length >>> 8;
  buf[at + 4] = length;
}

/** Prefix and message in one new buffer. */
export function encodeGrpcMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(grpcPrefixBytes + message.length);
  writeGrpcPrefix(framed, 0, message.length);
  framed.set(message, grpcPrefixBytes);
  return framed;
}

/** Splits a stream of bytes into messages. One for each stream and direction. */
export class FrameSplitter {
  readonly #bytesMax: number;
  readonly #memory: FrameMemory | undefined;
  /** Prefix and message of the straddling frame so far. */
  #held: Uint8Array | undefined;
  #heldBytes = 0;
  #refusal: ErrorFacts | undefined;

  /** `messageBytesMax`: longest message, default `wireLimits.frameBytesMax`; a longer one ends the stream. */
  constructor(options: { readonly messageBytesMax?: number; readonly memory?: FrameMemory | undefined } = {}) {
    const bytesMax = options.messageBytesMax ?? wireLimits.frameBytesMax;
    if (!Number.isInteger(bytesMax) || bytesMax < 1 || bytesMax > 0x7fffffff) {
      throw refuse("CAUSEWAY_MISUSE", `expected messageBytesMax from 1 to 2147483647, got ${bytesMax}`);
    }
    this.#bytesMax = bytesMax;
    this.#memory = options.memory;
  }

  /** Bytes of an unfinished message that are held. */
  get pendingBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Takes bytes `start` to `end` (all by default) of the next chunk, which from now on belongs to the visitor. A refusal
   * is final: close the stream.
   */
  push(chunk: Uint8Array, visit: FrameVisitor, start = 0, end = chunk.length): ErrorFacts | undefined {
    if (this.#refusal !== undefined) return this.#refusal;
    let at = start;
    if (this.#held !== undefined) {
      at = this.#fill(chunk, start, end, visit);
      if (at < 0) return this.#refusal;
    }
    let wholeBytes: number = grpcPrefixBytes;
    while (end - at >= grpcPrefixBytes) {
      const length = this.#readLength(chunk, at);
      if (length < 0) return this.#refusal;
      const from = at + grpcPrefixBytes;
      wholeBytes = grpcPrefixBytes + length;
      if (end - from < length) break;
      at = from + length;
      visit(chunk, from, at);
    }
    if (at < end) this.#hold(chunk, at, end, end - at < grpcPrefixBytes ? grpcPrefixBytes : wholeBytes);
    return undefined;
  }

  /** The stream has ended: a refusal when it ended inside a message. */
  end(): ErrorFacts | undefined {
    if (this.#refusal === undefined && this.#heldBytes > 0) this.#refusal = truncated;
    return this.#refusal;
  }

  /** Completes the held frame from the chunk. Returns how much it took, -1 at a refusal. */
  #fill(chunk: Uint8Array, start: number, end: number, visit: FrameVisitor): number {
    let at = start;
    if (this.#heldBytes < grpcPrefixBytes) {
      at = Math.min(start + grpcPrefixBytes - this.#heldBytes, end);
      this.#hold(chunk, start, at);
      if (this.#heldBytes < grpcPrefixBytes) return at;
    }
    const length = this.#readLength(this.#held as Uint8Array, 0);
    if (length < 0) return -1;
    const take = Math.min(grpcPrefixBytes + length - this.#heldBytes, end - at);
    this.#hold(chunk, at, at + take, grpcPrefixBytes + length);
    at += take;
    if (this.#heldBytes === grpcPrefixBytes + length) {
      const whole = this.#held as Uint8Array;
      this.#held = undefined;
      this.#heldBytes = 0;
      visit(whole, grpcPrefixBytes, grpcPrefixBytes + length);
      this.#memory?.giveBack(whole);
    }
    return at;
  }

  /** `wholeBytes`: length of the whole frame with its prefix, as far as it is known. */
  #hold(chunk: Uint8Array, from: number, to: number, wholeBytes = grpcPrefixBytes): void {
    const needed = this.#heldBytes + to - from;
    if (this.#held === undefined || this.#held.length < needed) {
      const length = Math.max(needed, Math.min(wholeBytes, Math.max(atOnceBytes, 2 * needed)));
      const grown = this.#memory?.take(length) ?? new Uint8Array(length);
      if (this.#held !== undefined) {
        grown.set(this.#held.subarray(0, this.#heldBytes));
        this.#memory?.giveBack(this.#held);
      }
      this.#held = grown;
    }
    this.#held.set(chunk.subarray(from, to), this.#heldBytes);
    this.#heldBytes = needed;
  }

  #readLength(buf: Uint8Array, at: number): number {
    if (buf[at] !== 0) {
      this.#refusal = compressed;
      return -1;
    }
    const length =
      ((buf[at + 1] as number) * 2 ** 24 + ((buf[at + 2] as number) << 16) + ((buf[at + 3] as number) << 8)) |
      (buf[at + 4] as number);
    const unsigned = length >>> 0;
    if (unsigned > this.#bytesMax) {
      this.#refusal = {
        code: "CAUSEWAY_FRAME_TOO_LARGE",
        message: `expected a message of at most ${this.#bytesMax} bytes, got one of ${unsigned}; send larger content in chunks`,
      };
      return -1;
    }
    return unsigned;
  }
}

/** Memory that an announced length gets at once; a longer frame grows with what has arrived. */
const atOnceBytes = 65_536;

const compressed: ErrorFacts = {
  code: "CAUSEWAY_FRAME_MALFORMED",
  message: "expected an uncompressed gRPC message (first byte 0), got another first byte; send without grpc-encoding",
};
const truncated: ErrorFacts = {
  code: "CAUSEWAY_FRAME_MALFORMED",
  message: "expected the rest of a gRPC message, got the end of the stream",
};
