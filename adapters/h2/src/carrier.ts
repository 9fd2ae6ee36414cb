import type { Http2Stream } from "node:http2";

/** The two directions of bytes under a Link. */
export interface LinkCarrier {
  /** Bytes in front of what `write` gets that are the carrier's own. */
  readonly headroom: number;
  /** True when received bytes are valid until the end of the turn only. */
  readonly isReadMemoryReused: boolean;
  /** Calls `receive` with bytes `start` to `end` of each chunk that arrives. Reading starts with it. */
  start(receive: (chunk: Uint8Array, start: number, end: number) => void): void;
  /** Writes what lies behind the headroom; `done` is called when the memory may be reused, never after a failure. */
  write(bytes: Uint8Array, done: () => void): void;
  pause(): void;
  resume(): void;
  /** Ends both directions at once. */
  destroy(): void;
  onError(run: (error: Error) => void): void;
  /** The other side has ended its direction. */
  onEnd(run: () => void): void;
  /** Both directions are over, with the code of the RST_STREAM that ended them. */
  onClose(run: (rstCode: number | undefined) => void): void;
}

/** A stream of node:http2 as carrier. */
export function carriedBy(stream: Http2Stream): LinkCarrier {
  return {
    headroom: 0,
    isReadMemoryReused: false,
    start: (receive) => void stream.on("data", (chunk: Uint8Array) => receive(chunk, 0, chunk.length)),
    write: (bytes, done) =>
      void stream.write(bytes, (error) => {
        if (error === null || error === undefined) done();
      }),
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    destroy: () => void stream.destroy(),
    onError: (run) => void stream.on("error", run),
    onEnd: (run) => void stream.on("end", run),
    onClose: (run) => void stream.on("close", () => run(stream.rstCode)),
  };
}
