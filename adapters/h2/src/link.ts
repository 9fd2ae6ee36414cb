import type { CausewayError } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { Lane } from "@causeway/core-wire";

/**
 * One frame inside a received buffer: bytes `start` to `end` of `buffer`. During the call that hands it over, the bytes
 * may be given to `send` of another link without a copy. Whoever keeps them longer copies them: the memory is used again
 * for the next reads.
 */
export interface FrameSlice {
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** One AGP Link stream, either side. */
export interface Link {
  readonly peer: VerifiedPeer;
  /** TLS exporter value (RFC 9266) that binds the attach proof to this connection. */
  readonly channelBinding: Uint8Array;
  /** On a server's side: SHA-256 of the certificate that it showed on this connection (RFC 5929). */
  readonly serverEndPoint?: () => Uint8Array | undefined;
  /**
   * Queues one serialised Frame, the bytes `start` to `end` of `frame` (all of it by default). They are not copied
   * before the end of the turn, so they must not be changed. The frames of a turn leave together, in writes of 64 KiB
   * and more.
   * Frames of the bulk lane leave behind those of the urgent one (the default), at their own share; order is kept within
   * a lane.
   * False when the lane's queue is above its high-water mark; the frame is queued all the same. When the queue of a lane
   * reaches `queueBytesMax` the link is closed with CAUSEWAY_FORWARDING_OVERLOADED. After the link is closed frames are
   * dropped and the answer is false.
   */
  send(frame: Uint8Array, start?: number, end?: number, lane?: Lane): boolean;
  /** Urgent bytes queued and not yet taken by the connection, framing included. */
  readonly bufferedBytes: number;
  /** The same of the bulk lane. */
  readonly bufferedBulkBytes: number;
  /**
   * The other side has taken so many bytes of bulk more, gRPC prefixes included. From the first call on, what is on its way
   * there is bounded by a window that follows the delay.
   */
  takenBulk(bytes: number): void;
  /** Sets the one receiver of frames, called with every frame of a read. Reading starts with it. */
  onFrames(receive: (frames: readonly FrameSlice[]) => void): void;
  /** Called with a lane each time that its queue falls below half of its high-water mark after `send` answered false. */
  onWritable(run: (lane: Lane) => void): void;
  /** Called once, without an error after an orderly end. Called at once when the link is closed already. */
  onClose(run: (error?: CausewayError) => void): void;
  /** Stops reading: the sender is held back when the stream's window is full. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then the status: OK, or the one of `error`. Frames that still arrive are dropped. */
  close(error?: CausewayError): void;
}
