/** The application behind the streams of one process: it writes, reads at its own pace, and now and then does not read. */
import { type CausewayError, refuse, type SpiffeId } from "@causeway/core-base";
import { type StreamEffect, type StreamFrame, Streams } from "@causeway/core-session";
import { hex } from "@causeway/core-wire";
import type { Endpoint } from "./endpoint.ts";
import type { SeededRandom } from "./random.ts";

interface Writing {
  readonly total: number;
  written: number;
  isFull: boolean;
}

export class StreamUser {
  readonly machine: Streams;
  /** Streams that are not read for now, with the bytes that wait. */
  readonly stalled = new Map<string, number>();
  readonly #endpoint: Endpoint;
  readonly #random: SeededRandom;
  readonly #writing = new Map<string, Writing>();
  readonly #peers = new Map<string, string>();

  constructor(endpoint: Endpoint, random: SeededRandom) {
    this.#endpoint = endpoint;
    this.#random = random;
    this.machine = new Streams(endpoint.plan.streams);
  }

  /** Opens a stream and writes that many bytes to it. */
  open(to: SpiffeId, total: number): void {
    const stream = hex(this.#random.bytes(16));
    const { agent } = this.#endpoint;
    agent.world.note(() => `${this.#endpoint.name} opens ${stream.slice(0, 8)} to ${to} for ${total} bytes`);
    this.#endpoint.act(() => {
      this.#peers.set(stream, to);
      this.machine.open(agent.now().instant, { peer: to, stream, method: "write" });
      this.#writing.set(stream, { total, written: 0, isFull: false });
      this.#pour(stream);
    });
  }

  /** Streams of which the other side has something to do, or this one. */
  unfinished(): readonly string[] {
    return [...this.#peers.keys()];
  }

  /** Reads everything that was left lying, and goes on reading; from within `act`. */
  resume(stream: string): void {
    const bytes = this.stalled.get(stream);
    this.stalled.delete(stream);
    if (bytes !== undefined) this.machine.consume(stream, bytes);
  }

  /** A frame was brought over, or could not be. */
  handleSettled(stream: string, frame: StreamFrame, error: CausewayError | undefined): void {
    this.machine.handleSettled(stream, frame, error && { code: error.code, message: error.message });
  }

  /** Performs what the machine wants; false when that was nothing. */
  perform(): boolean {
    const effects = this.machine.drain();
    for (const effect of effects) this.#performOne(effect);
    return effects.length > 0;
  }

  #performOne(effect: StreamEffect): void {
    const { stream } = effect;
    switch (effect.type) {
      case "send":
        return this.#send(effect);
      case "opened":
        this.#peers.set(stream, effect.peer);
        if (this.#random.chance(this.#endpoint.plan.stalls)) this.#stall(stream);
        return;
      case "data":
        return this.#read(stream, effect.bytes);
      case "ended":
        // Who only reads has nothing more to say.
        if (this.machine.stateOf(stream) === "remote-ended") this.machine.end(stream);
        return;
      case "writable": {
        const writing = this.#writing.get(stream);
        if (writing !== undefined) writing.isFull = false;
        return this.#pour(stream);
      }
      case "closed":
        this.#endpoint.agent.world.note(
          () => `${this.#endpoint.name} closes ${stream.slice(0, 8)}: ${effect.error?.code ?? "ended"}`,
        );
        this.#endpoint.tell({ kind: "stream-closed", stream, code: effect.error?.code });
        this.#writing.delete(stream);
        this.#peers.delete(stream);
        this.stalled.delete(stream);
        this.#endpoint.closeLane(effect.peer, stream);
        return;
      case "header":
        return;
    }
  }

  #send({ peer, stream, frame }: Extract<StreamEffect, { type: "send" }>): void {
    this.#endpoint.tell({ kind: "stream-sent", stream, frame });
    if (frame.type === "reset") {
      const given = refuse("CAUSEWAY_CANCELLED", "the stream was reset");
      this.#endpoint.outbox.cancelLane(this.#endpoint.agent.now().instant, stream, given);
    }
    const { timeoutsMs } = this.#endpoint.plan;
    const timeoutMs = Math.max(...timeoutsMs);
    this.#endpoint.promise(peer as SpiffeId, stream, { kind: "stream", stream, frame }, "notice", timeoutMs);
  }

  #stall(stream: string): void {
    this.stalled.set(stream, 0);
    // Some are not read again before somebody makes the reader go on.
    if (this.#random.chance(0.5))
      this.#endpoint.after(this.#random.wait(3_000), "reads again", () => this.resume(stream));
  }

  #read(stream: string, bytes: Uint8Array): void {
    this.#endpoint.tell({ kind: "stream-data", stream, bytes });
    const waiting = this.stalled.get(stream);
    if (waiting !== undefined) {
      this.stalled.set(stream, waiting + bytes.length);
      return;
    }
    this.#endpoint.after(this.#random.wait(readMs), "reads", () => this.machine.consume(stream, bytes.length));
  }

  #pour(stream: string): void {
    const writing = this.#writing.get(stream);
    if (writing === undefined || !["open", "remote-ended"].includes(this.machine.stateOf(stream))) return;
    while (writing.written < writing.total && !writing.isFull) {
      const count = Math.min(writing.total - writing.written, this.#random.between(1, chunkMax));
      const bytes = contentOf(writing.written, count);
      writing.written += count;
      writing.isFull = !this.machine.write(stream, bytes);
    }
    if (writing.written < writing.total) return;
    this.#writing.delete(stream);
    this.machine.end(stream);
  }
}

/** The bytes of every stream from an offset on: each place has its own, nearly. */
export function contentOf(offset: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) bytes[i] = byteAt(offset + i);
  return bytes;
}

/** The byte of every stream at an offset. */
export function byteAt(offset: number): number {
  return (offset * 31 + (offset >> 8) * 7 + (offset >> 16)) & 0xff;
}

const chunkMax = 30_000;
const readMs = 30;
