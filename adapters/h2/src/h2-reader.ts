import { FrameFlag, FrameType, frameBytesTaken, frameHeaderBytes, H2Error } from "./h2-frames.ts";

/** What a connection with one link is told. An answer other than undefined is the code of a connection error. */
export interface H2Receiver {
  /** `length` bytes of a DATA frame, padding included, are about to come; they count against the windows. */
  dataFrame(length: number): number | undefined;
  /** Payload, as it comes. */
  data(chunk: Uint8Array, start: number, end: number): void;
  /** The stream's other direction is over. */
  ended(): number | undefined;
  /** A header block, which is not looked into. */
  headers(): number | undefined;
  /** Any other frame. The payload is empty for types that are not known, and cut for a long GOAWAY. */
  control(type: number, flags: number, stream: number, payload: Uint8Array): number | undefined;
}

/**
 * Takes HTTP/2 frames of a connection with one link apart, from chunks that end anywhere. DATA is handed on in place;
 * of the rest only small frames are assembled, and header blocks are passed over. Answers the code of a connection
 * error; after it nothing more is read.
 */
export class H2Reader {
  readonly #to: H2Receiver;
  /** Of a frame header that chunks cut in two. */
  #header: Uint8Array | undefined;
  #headerBytes = 0;
  #type = 0;
  #flags = 0;
  #stream = 0;
  /** Bytes of the frame that are still to come: payload, and padding behind it. */
  #left = 0;
  #padding = 0;
  #isPaddingKnown = true;
  /** Payload of a small frame. */
  #control: Uint8Array | undefined;
  #controlBytes = 0;
  #isInFrame = false;
  #failed: number | undefined;

  constructor(to: H2Receiver) {
    this.#to = to;
  }

  /** Takes bytes `start` to `end` of a chunk. */
  push(chunk: Uint8Array, start: number, end: number): number | undefined {
    let at = start;
    while (this.#failed === undefined && at < end) {
      at = this.#isInFrame ? this.#readPayload(chunk, at, end) : this.#readHeader(chunk, at, end);
    }
    return this.#failed;
  }

  #readHeader(chunk: Uint8Array, from: number, to: number): number {
    if (this.#header === undefined && to - from >= frameHeaderBytes) {
      this.#begin(chunk, from);
      return from + frameHeaderBytes;
    }
    this.#header ??= new Uint8Array(frameHeaderBytes);
    const take = Math.min(frameHeaderBytes - this.#headerBytes, to - from);
    for (let i = 0; i < take; i++) this.#header[this.#headerBytes + i] = chunk[from + i] ?? 0;
    this.#headerBytes += take;
    if (this.#headerBytes === frameHeaderBytes) {
      const header = this.#header;
      this.#headerBytes = 0;
      this.#header = undefined;
      this.#begin(header, 0);
    }
    return from + take;
  }

  #begin(h: Uint8Array, at: number): void {
    const length = ((h[at] ?? 0) << 16) | ((h[at + 1] ?? 0) << 8) | (h[at + 2] ?? 0);
    this.#type = h[at + 3] ?? 0;
    this.#flags = h[at + 4] ?? 0;
    this.#stream =
      (((h[at + 5] ?? 0) & 0x7f) << 24) | ((h[at + 6] ?? 0) << 16) | ((h[at + 7] ?? 0) << 8) | (h[at + 8] ?? 0);
    this.#left = length;
    this.#padding = 0;
    this.#isPaddingKnown = true;
    this.#control = undefined;
    this.#isInFrame = true;
    this.#failed = this.#admit(length);
    if (this.#failed === undefined && length === 0) this.#finish();
  }

  /** What may come, decided on the frame's header. */
  #admit(length: number): number | undefined {
    if (length > frameBytesTaken) return H2Error.frameSize;
    switch (this.#type) {
      case FrameType.data:
        if (this.#stream !== 1) return H2Error.protocol;
        if ((this.#flags & FrameFlag.padded) !== 0) {
          if (length === 0) return H2Error.protocol;
          this.#isPaddingKnown = false;
        }
        return this.#to.dataFrame(length);
      case FrameType.headers:
        // One stream, and its header block in one frame: that was the promise.
        if (this.#stream !== 1 || (this.#flags & FrameFlag.endHeaders) === 0) return H2Error.protocol;
        return undefined;
      case FrameType.pushPromise:
      case FrameType.continuation:
        return H2Error.protocol;
      case FrameType.settings:
      case FrameType.ping:
      case FrameType.rstStream:
      case FrameType.windowUpdate:
      case FrameType.goaway:
        if (length > controlBytesMax && this.#type !== FrameType.goaway) return H2Error.frameSize;
        if (length <= controlBytesMax) this.#control = new Uint8Array(length);
        this.#controlBytes = 0;
        return undefined;
      default:
        // PRIORITY, and what a newer HTTP/2 may send: passed over.
        return undefined;
    }
  }

  #readPayload(chunk: Uint8Array, from: number, to: number): number {
    let at = from;
    if (!this.#isPaddingKnown) {
      this.#padding = chunk[at++] ?? 0;
      this.#isPaddingKnown = true;
      this.#left -= 1;
      if (this.#padding > this.#left) {
        this.#failed = H2Error.protocol;
        return at;
      }
    }
    const take = Math.min(this.#left, to - at);
    const end = at + take;
    if (this.#type === FrameType.data) {
      const payload = Math.min(take, this.#left - this.#padding);
      if (payload > 0) this.#to.data(chunk, at, at + payload);
    } else if (this.#control !== undefined) {
      this.#control.set(chunk.subarray(at, end), this.#controlBytes);
      this.#controlBytes += take;
    }
    this.#left -= take;
    if (this.#left === 0) this.#finish();
    return end;
  }

  #finish(): void {
    this.#isInFrame = false;
    const isEnd = (this.#flags & FrameFlag.endStream) !== 0;
    if (this.#type === FrameType.data) {
      if (isEnd) this.#failed = this.#to.ended();
    } else if (this.#type === FrameType.headers) {
      this.#failed = this.#to.headers();
      if (this.#failed === undefined && isEnd) this.#failed = this.#to.ended();
    } else {
      const payload = this.#control ?? nothing;
      this.#failed = this.#to.control(this.#type, this.#flags, this.#stream, payload);
    }
  }
}

const nothing = new Uint8Array(0);
/** SETTINGS of 32 entries; PING, RST_STREAM and WINDOW_UPDATE are shorter. Of a longer GOAWAY the text is passed over. */
const controlBytesMax = 192;
