/**
 * Streams between this endpoint and others (AGP-21, AGP-22): open, data under credit, half-close, reset, deadline, as a
 * synchronous machine. A call is a stream with a method, metadata, a deadline, and its status in the metadata of the
 * end. It stands on reliable lanes, one for each direction of a stream: frames come once and in order, or the driver
 * says that one could not be brought over. Each stream has credit of its own, so that one that nobody reads holds up no
 * other. What may happen when is in `stream-transitions.ts`.
 */
import { CausewayError, type ErrorFacts, type Instant, later, refuse } from "@causeway/core-base";
import { Schedule } from "./schedule.ts";
import { initialCreditBytes, type Metadata, type StreamFrame, type StreamLimits } from "./stream-frames.ts";
import { type StreamEvent, type StreamState, streamTransitions } from "./stream-transitions.ts";

export type StreamEffect =
  /** To be sent in the stream's lane. */
  | { readonly type: "send"; readonly peer: string; readonly stream: string; readonly frame: StreamFrame }
  /** Another agent opened a stream. */
  | {
      readonly type: "opened";
      readonly peer: string;
      readonly stream: string;
      readonly method: string;
      readonly metadata: Metadata;
      readonly timeoutMs: number;
    }
  | { readonly type: "header"; readonly stream: string; readonly metadata: Metadata }
  /** To be answered with `consume` once the application took it. */
  | { readonly type: "data"; readonly stream: string; readonly bytes: Uint8Array }
  | { readonly type: "ended"; readonly stream: string; readonly metadata: Metadata }
  /** There is room for `write` again. */
  | { readonly type: "writable"; readonly stream: string }
  /** Nothing more comes. Without error when both sides half-closed. */
  | {
      readonly type: "closed";
      readonly peer: string;
      readonly stream: string;
      readonly error: ErrorFacts | undefined;
    };

/** What `open` takes. */
export interface StreamOpening {
  readonly peer: string;
  /** Hex, 16 bytes, never used before. */
  readonly stream: string;
  readonly method: string;
  readonly metadata?: Metadata;
  /** Milliseconds until it is reset with `CAUSEWAY_TIMEOUT`, on both sides. Default: none. */
  readonly timeoutMs?: number;
}

interface Stream {
  readonly id: string;
  readonly peer: string;
  readonly isOurs: boolean;
  state: StreamState;
  /** Written and not sent. */
  readonly queue: Uint8Array[];
  queued: number;
  /** Metadata of our end, which leaves after the queue. */
  ending: Metadata | undefined;
  isHeaderSent: boolean;
  isHeaderReceived: boolean;
  sent: number;
  sendLimit: number;
  received: number;
  consumed: number;
  granted: number;
  /** True after a `write` that found no room. */
  isFull: boolean;
  /** The other side has our end, and with it everything before. */
  isEndHeard: boolean;
}

/** A stream that ended well. */
type Ended = Pick<Stream, "peer" | "isEndHeard">;

export class Streams {
  readonly #limits: StreamLimits;
  readonly #streams = new Map<string, Stream>();
  readonly #incomingOf = new Map<string, number>();
  /**
   * Streams that are over, with what is still of interest of those that ended well: frames that crossed their end are
   * ignored. Bounded, oldest first; what is forgotten is unknown.
   */
  readonly #over = new Map<string, Ended | undefined>();
  readonly #deadlines = new Schedule<Stream>();
  readonly #probes = new Schedule<Stream>();
  /** Streams that wait for room among all of them, in turn. */
  readonly #waiting = new Set<Stream>();
  #unconfirmed = 0;
  #effects: StreamEffect[] = [];

  constructor(limits: StreamLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#streams.size;
  }

  stateOf(stream: string): StreamState {
    const live = this.#streams.get(stream)?.state;
    if (live !== undefined || !this.#over.has(stream)) return live ?? "idle";
    return this.#over.get(stream) === undefined ? "reset" : "ended";
  }

  /** Opens a stream. It can be written to at once. */
  open(now: Instant, opening: StreamOpening): void {
    const { peer, stream: id, method, metadata = [], timeoutMs = 0 } = opening;
    this.#checkMetadata(metadata);
    if (this.#streams.size >= this.#limits.streamsMax) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${this.#limits.streamsMax} streams at once; end some of them first`,
      );
    }
    if (this.stateOf(id) !== "idle") throw refuse("CAUSEWAY_MISUSE", `expected a new stream id, got ${id} again`);
    const stream = this.#add(id, peer, true);
    this.#send(stream, { type: "open", method, metadata, timeoutMs, credit: stream.granted });
    this.#start(now, stream, timeoutMs);
  }

  /** Sends metadata before the data; at most once. */
  header(id: string, metadata: Metadata): void {
    this.#checkMetadata(metadata);
    const stream = this.#ours(id, "local-header");
    if (stream.isHeaderSent || stream.sent > 0 || stream.queued > 0)
      throw refuse("CAUSEWAY_MISUSE", "expected metadata once and before any data, got it later");
    stream.isHeaderSent = true;
    this.#send(stream, { type: "header", metadata });
  }

  /** Sends bytes, now or when there is credit. False when the writer has to wait for `writable`. */
  write(id: string, bytes: Uint8Array): boolean {
    const stream = this.#ours(id, "local-data");
    if (stream.isFull) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${this.#limits.queueBytes} bytes to wait in a stream; wait until there is room`,
      );
    }
    if (bytes.length > 0) {
      stream.queue.push(bytes);
      stream.queued += bytes.length;
      this.#flush(stream);
    }
    stream.isFull = stream.queued >= this.#limits.queueBytes;
    return !stream.isFull;
  }

  /** Half-closes: nothing more is written. What was written before still leaves. */
  end(id: string, metadata: Metadata = []): void {
    this.#checkMetadata(metadata);
    const stream = this.#ours(id, "local-end");
    stream.ending = metadata;
    this.#flush(stream);
  }

  /** Gives the stream up in both directions. What has not left yet is lost. */
  reset(id: string, error: ErrorFacts): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    this.#send(stream, { type: "reset", error });
    this.#close(stream, error, "reset");
  }

  /** The application took bytes of `data` effects. */
  consume(id: string, bytes: number): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    stream.consumed += bytes;
    const isLive = streamTransitions[stream.state]["remote-data"] === stream.state;
    if (isLive && stream.granted - stream.consumed <= this.#limits.windowBytes / 2) this.#grant(stream);
  }

  /** Takes a frame of `peer`, in the order of the stream's lane. */
  handleFrame(now: Instant, peer: string, id: string, frame: StreamFrame): void {
    const stream = this.#streams.get(id);
    if (!stream) {
      this.#handleUnknown(now, peer, id, frame);
      return;
    }
    if (stream.peer !== peer) return;
    const next = streamTransitions[stream.state][eventOf(frame)];
    if (next === "ignore") return;
    if (next === "violation" || next === "misuse") {
      this.#violate(stream, `expected no ${frame.type} while the stream is ${stream.state}, got one`);
      return;
    }
    this.#probes.set(stream, later(now, this.#limits.probeMs));
    switch (frame.type) {
      case "open":
        return;
      case "header":
        if (stream.isHeaderReceived || stream.received > 0)
          return this.#violate(stream, "expected metadata once and before any data, got it later");
        stream.isHeaderReceived = true;
        this.#effects.push({ type: "header", stream: id, metadata: frame.metadata });
        return;
      case "data":
        stream.received += frame.bytes.length;
        if (stream.received > stream.granted)
          return this.#violate(stream, `expected at most ${stream.granted} bytes, got ${stream.received}`);
        this.#effects.push({ type: "data", stream: id, bytes: frame.bytes });
        return;
      case "credit":
        stream.sendLimit = Math.max(stream.sendLimit, frame.limit);
        this.#flush(stream);
        return;
      case "end":
        stream.state = next;
        this.#effects.push({ type: "ended", stream: id, metadata: frame.metadata });
        if (next === "ended") this.#close(stream, undefined, "ended");
        return;
      case "reset":
        this.#close(stream, frame.error, "reset");
    }
  }

  /**
   * A frame that `send` asked for was confirmed, or is given up with `error`. Its bytes make room for others. A stream
   * of which a frame could not be brought over cannot go on; the other side hears of it, if it can be reached.
   */
  handleSettled(id: string, frame: StreamFrame, error?: ErrorFacts): void {
    if (error) this.#fail(id, error);
    else if (frame.type === "end") {
      const ended = this.#streams.get(id) ?? this.#over.get(id);
      if (ended) ended.isEndHeard = true;
    }
    if (frame.type !== "data") return;
    this.#unconfirmed -= frame.bytes.length;
    for (const stream of this.#waiting) {
      if (this.#unconfirmed >= this.#limits.unconfirmedBytesMax) return;
      this.#waiting.delete(stream);
      this.#flush(stream);
    }
  }

  /** Ends every stream, telling the other sides. */
  closeAll(error: ErrorFacts): void {
    for (const id of [...this.#streams.keys()]) this.reset(id, error);
  }

  handleTimeout(now: Instant): void {
    for (let stream = this.#deadlines.take(now); stream; stream = this.#deadlines.take(now)) {
      this.reset(stream.id, { code: "CAUSEWAY_TIMEOUT", message: "the stream's deadline has passed" });
    }
    for (let stream = this.#probes.take(now); stream; stream = this.#probes.take(now)) {
      // Who does not know the stream any more says so; who cannot be reached makes the frame fail.
      this.#send(stream, { type: "credit", limit: stream.granted });
      this.#probes.set(stream, later(now, this.#limits.probeMs));
    }
  }

  deadline(): Instant | undefined {
    const [deadline, probe] = [this.#deadlines.deadline(), this.#probes.deadline()];
    if (deadline === undefined) return probe;
    return probe === undefined || deadline < probe ? deadline : probe;
  }

  drain(): readonly StreamEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #fail(id: string, error: ErrorFacts): void {
    const ended = this.#over.get(id);
    if (this.#streams.has(id)) this.reset(id, error);
    else if (ended !== undefined) {
      // Its end was the last frame: the other side would wait for it for ever.
      this.#over.set(id, undefined);
      this.#effects.push({ type: "send", peer: ended.peer, stream: id, frame: { type: "reset", error } });
    }
  }

  #handleUnknown(now: Instant, peer: string, id: string, frame: StreamFrame): void {
    const transition = streamTransitions[this.stateOf(id)][eventOf(frame)];
    // Who has our end asks no more, unless it restarted and got the beginning again, from a mailbox: it would wait for
    // the rest for ever. While our end is on its way it is the answer.
    const ended = this.#over.get(id);
    const isLost = frame.type === "credit" && ended?.isEndHeard === true && ended.peer === peer;
    if (transition === "ignore" && !isLost) return;
    const refuseIt = (error: ErrorFacts): void => {
      this.#effects.push({ type: "send", peer, stream: id, frame: { type: "reset", error } });
      this.#remember(id, undefined);
    };
    if (frame.type !== "open") {
      refuseIt({
        code: "CAUSEWAY_STREAM_UNKNOWN",
        message: "the stream is not known here; its other end was closed or has restarted",
      });
      return;
    }
    const incoming = this.#incomingOf.get(peer) ?? 0;
    const { streamsMax, incomingPerPeerMax } = this.#limits;
    if (this.#streams.size >= streamsMax || incoming >= incomingPerPeerMax) {
      refuseIt({
        code: "CAUSEWAY_FORWARDING_OVERLOADED",
        message: `expected at most ${incomingPerPeerMax} streams of one agent and ${streamsMax} of all at once; retry later`,
      });
      return;
    }
    this.#incomingOf.set(peer, incoming + 1);
    const stream = this.#add(id, peer, false);
    stream.sendLimit = Math.max(initialCreditBytes, frame.credit);
    this.#effects.push({
      type: "opened",
      peer,
      stream: id,
      method: frame.method,
      metadata: frame.metadata,
      timeoutMs: frame.timeoutMs,
    });
    this.#start(now, stream, frame.timeoutMs);
  }

  #add(id: string, peer: string, isOurs: boolean): Stream {
    const stream: Stream = {
      id,
      peer,
      isOurs,
      state: "open",
      queue: [],
      queued: 0,
      ending: undefined,
      isHeaderSent: false,
      isHeaderReceived: false,
      sent: 0,
      sendLimit: initialCreditBytes,
      received: 0,
      consumed: 0,
      granted: isOurs ? Math.max(initialCreditBytes, this.#limits.windowBytes) : initialCreditBytes,
      isFull: false,
      isEndHeard: false,
    };
    this.#streams.set(id, stream);
    return stream;
  }

  #start(now: Instant, stream: Stream, timeoutMs: number): void {
    if (timeoutMs > 0) this.#deadlines.set(stream, later(now, timeoutMs));
    this.#probes.set(stream, later(now, this.#limits.probeMs));
  }

  #grant(stream: Stream): void {
    const limit = stream.consumed + this.#limits.windowBytes;
    if (limit <= stream.granted) return;
    stream.granted = limit;
    this.#send(stream, { type: "credit", limit });
  }

  /** The stream, when the table allows the application this. */
  #ours(id: string, event: StreamEvent): Stream {
    const stream = this.#streams.get(id);
    const state = stream?.state ?? this.stateOf(id);
    if (!stream || stream.ending !== undefined || streamTransitions[state][event] === "misuse") {
      const doing = stream?.ending !== undefined ? "half-closed" : state;
      throw refuse("CAUSEWAY_MISUSE", `expected a stream that is open in this direction, got one that is ${doing}`);
    }
    return stream;
  }

  /** Sends what credit allows, and the end after the last byte. */
  #flush(stream: Stream): void {
    const { frameBytesMax, unconfirmedBytesMax, queueBytes } = this.#limits;
    while (stream.queue.length > 0 && stream.sent < stream.sendLimit) {
      if (this.#unconfirmed >= unconfirmedBytesMax) {
        this.#waiting.add(stream);
        return;
      }
      const bytes = takeBytes(stream.queue, Math.min(frameBytesMax, stream.sendLimit - stream.sent));
      stream.queued -= bytes.length;
      stream.sent += bytes.length;
      this.#unconfirmed += bytes.length;
      this.#send(stream, { type: "data", bytes });
    }
    if (stream.isFull && stream.queued <= queueBytes / 2) {
      stream.isFull = false;
      this.#effects.push({ type: "writable", stream: stream.id });
    }
    if (stream.ending === undefined || stream.queue.length > 0) return;
    const next = streamTransitions[stream.state]["local-end"];
    if (next !== "local-ended" && next !== "ended") return;
    stream.state = next;
    this.#send(stream, { type: "end", metadata: stream.ending });
    if (next === "ended") this.#close(stream, undefined, "ended");
  }

  #violate(stream: Stream, message: string): void {
    this.reset(stream.id, { code: "CAUSEWAY_FRAME_UNEXPECTED", message });
  }

  #close(stream: Stream, error: ErrorFacts | undefined, state: "ended" | "reset"): void {
    if (!this.#streams.delete(stream.id)) return;
    stream.state = state;
    stream.queue.length = 0;
    this.#deadlines.clear(stream);
    this.#probes.clear(stream);
    this.#waiting.delete(stream);
    const { id, peer, isEndHeard } = stream;
    this.#remember(id, state === "ended" ? { peer, isEndHeard } : undefined);
    if (!stream.isOurs) {
      const left = (this.#incomingOf.get(stream.peer) ?? 1) - 1;
      if (left > 0) this.#incomingOf.set(stream.peer, left);
      else this.#incomingOf.delete(stream.peer);
    }
    this.#effects.push({ type: "closed", peer: stream.peer, stream: stream.id, error });
  }

  #remember(id: string, ended: Ended | undefined): void {
    this.#over.set(id, ended);
    if (this.#over.size <= overMax) return;
    const oldest = this.#over.keys().next();
    if (!oldest.done) this.#over.delete(oldest.value);
  }

  #send(stream: Stream, frame: StreamFrame): void {
    this.#effects.push({ type: "send", peer: stream.peer, stream: stream.id, frame });
  }

  #checkMetadata(metadata: Metadata): void {
    const { metadataMax, metadataCharsMax } = this.#limits;
    const chars = metadata.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    if (metadata.length <= metadataMax && chars <= metadataCharsMax) return;
    throw refuse(
      "CAUSEWAY_LIMIT_COUNT",
      `expected at most ${metadataMax} entries and ${metadataCharsMax} characters of metadata, got ${metadata.length} and ${chars}`,
    );
  }
}

function eventOf(frame: StreamFrame): StreamEvent {
  return `remote-${frame.type}`;
}

/** At most `max` bytes from the front of a queue; small pieces are joined. */
function takeBytes(queue: Uint8Array[], max: number): Uint8Array {
  const first = queue[0];
  if (!first) throw new CausewayError({ code: "CAUSEWAY_INTERNAL", message: "expected bytes to send, got none" });
  if (first.length >= max) {
    if (first.length === max) queue.shift();
    else queue[0] = first.subarray(max);
    return first.subarray(0, max);
  }
  let [count, length] = [0, 0];
  for (const piece of queue) {
    if (length + piece.length > max) break;
    length += piece.length;
    count++;
  }
  const pieces = queue.splice(0, count);
  if (count === 1) return first;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** Ids of streams that are over, kept for frames that crossed their end. */
const overMax = 4_096;
