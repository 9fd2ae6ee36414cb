/** The streams of one agent: drives their machine over reliable lanes and hands them to applications. */
import { agentOf, CausewayError, parseSpiffeId, refuse, type Scheduler, type SpiffeId } from "@causeway/core-base";
import { type Metadata, type StreamEffect, type StreamFrame, Streams, streamLimits } from "@causeway/core-session";
import type { AgentStream, StreamHandler, StreamOptions } from "../api.ts";
import { cancelled, WakeUp } from "../clock.ts";
import { handlerError } from "../exchange/answers.ts";
import { exchangeLimits } from "../exchange/limits.ts";
import type { Delivery, Messenger } from "../messenger.ts";
import { isBulk } from "../priority.ts";
import { OpenStream } from "./agent-stream.ts";
import { bodyOf, factsOf, frameOf } from "./frames.ts";

interface Known {
  readonly isBulk: boolean;
  /** Where its frames go: the agent that was asked for, then the instance that answered. */
  address: SpiffeId;
  readonly stream: OpenStream;
}

export class AgentStreams {
  readonly #messenger: Messenger;
  readonly #scheduler: Scheduler;
  readonly #machine = new Streams(streamLimits);
  readonly #known = new Map<string, Known>();
  /** Where frames of streams that this side does not know go. */
  readonly #addresses = new Map<string, Pick<Known, "address" | "isBulk">>();
  readonly #handlers = new Map<string, StreamHandler>();
  readonly #deadline: WakeUp;

  constructor(messenger: Messenger, scheduler: Scheduler) {
    this.#messenger = messenger;
    this.#scheduler = scheduler;
    this.#deadline = new WakeUp(scheduler, () => {
      this.#machine.handleTimeout(this.#scheduler.now().instant);
      this.#pump();
    });
  }

  /** Sets the handler of streams of a name; "" is the default one. Returns the function that ends it. */
  onStream(name: string, handler: StreamHandler): () => void {
    if (this.#handlers.has(name)) {
      const which = name || "streams without their own handler";
      throw refuse("CAUSEWAY_MISUSE", `expected one handler for ${which}, got a second one`);
    }
    this.#handlers.set(name, handler);
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name);
    };
  }

  open(to: SpiffeId, options: StreamOptions): AgentStream {
    const { name = "", metadata = [], timeoutMs = 0, signal } = options;
    if (signal?.aborted) throw cancelled(signal);
    if (!(timeoutMs >= 0 && timeoutMs <= exchangeLimits.timeoutMsMax)) {
      const problem = `expected timeoutMs up to ${exchangeLimits.timeoutMsMax}, got ${timeoutMs}`;
      throw refuse("CAUSEWAY_MISUSE", problem);
    }
    const id = this.#messenger.newLane();
    const peer = agentOf(to);
    const opening = { peer, stream: id, method: name, metadata, timeoutMs: Math.ceil(timeoutMs) };
    this.#machine.open(this.#scheduler.now().instant, opening);
    const stream = this.#add(id, { address: to, isBulk: isBulk(options.priority) }, name, metadata);
    const onAbort = (): void => stream.reset(CausewayError.from(signal && cancelled(signal)));
    signal?.addEventListener("abort", onAbort, { once: true });
    void stream.closed.catch(() => undefined).finally(() => signal?.removeEventListener("abort", onAbort));
    this.#pump();
    return stream;
  }

  /** Takes a frame of a stream. False for anything else. */
  handle(delivery: Delivery): boolean {
    const { body, from, lane, address } = delivery;
    const frame = frameOf(body);
    if (!frame || lane === "") return false;
    const known = this.#known.get(lane);
    if (known?.stream.peer === from) known.address = address;
    else if (!known) this.#addresses.set(lane, delivery);
    // What opens a stream must not do so twice; the rest is worth nothing after a restart.
    delivery.settle(undefined, frame.type === "open");
    this.#machine.handleFrame(this.#scheduler.now().instant, from, lane, frame);
    this.#pump();
    this.#addresses.delete(lane);
    return true;
  }

  close(error: CausewayError): void {
    this.#machine.closeAll(factsOf(error));
    this.#pump();
    this.#deadline.set(undefined);
  }

  #add(id: string, place: Pick<Known, "address" | "isBulk">, name: string, metadata: Metadata): OpenStream {
    const machine = this.#machine;
    const perform = <T>(act: () => T): T => {
      const result = act();
      this.#pump();
      return result;
    };
    const stream = new OpenStream(agentOf(place.address), name, metadata, {
      header: (header) => perform(() => machine.header(id, header)),
      write: (bytes) => perform(() => machine.write(id, bytes)),
      end: (trailer) => perform(() => machine.end(id, trailer)),
      reset: (error) => perform(() => machine.reset(id, factsOf(error))),
      consume: (bytes) => perform(() => machine.consume(id, bytes)),
    });
    this.#known.set(id, { ...place, stream });
    return stream;
  }

  #pump(): void {
    for (let effects = this.#machine.drain(); effects.length > 0; effects = this.#machine.drain()) {
      for (const effect of effects) this.#perform(effect);
    }
    this.#deadline.set(this.#machine.deadline());
  }

  #perform(effect: StreamEffect): void {
    if (effect.type === "send") {
      this.#send(effect.peer, effect.stream, effect.frame);
      return;
    }
    if (effect.type === "opened") {
      const place = this.#addresses.get(effect.stream) ?? { address: parseSpiffeId(effect.peer), isBulk: false };
      this.#serve(effect.stream, this.#add(effect.stream, place, effect.method, effect.metadata));
      return;
    }
    const stream = this.#known.get(effect.stream)?.stream;
    if (!stream) return;
    switch (effect.type) {
      case "header":
        return stream.handleHeader(effect.metadata);
      case "data":
        return stream.handleData(effect.bytes);
      case "ended":
        return stream.handleEnded(effect.metadata);
      case "writable":
        return stream.handleWritable();
      case "closed":
        this.#messenger.closeIncomingLane(this.#known.get(effect.stream)?.address ?? effect.peer, effect.stream);
        this.#known.delete(effect.stream);
        this.#messenger.closeLane(effect.stream);
        stream.handleClosed(effect.error && new CausewayError(effect.error));
    }
  }

  #send(peer: string, id: string, frame: StreamFrame): void {
    const place = this.#known.get(id) ?? this.#addresses.get(id);
    const to = place?.address ?? parseSpiffeId(peer);
    const options = { lane: id, timeoutMs: frameMs, patient: true, isBulk: place?.isBulk ?? false };
    // Nothing before a reset is worth bringing over.
    if (frame.type === "reset") this.#messenger.cancelLane(id, refuse("CAUSEWAY_CANCELLED", "the stream was reset"));
    this.#messenger.post(to, bodyOf(frame), options).then(
      () => {
        this.#machine.handleSettled(id, frame);
        this.#pump();
      },
      (error: unknown) => {
        this.#machine.handleSettled(id, frame, factsOf(CausewayError.from(error)));
        this.#pump();
      },
    );
    if (frame.type === "reset") this.#messenger.closeLane(id);
  }

  #serve(id: string, stream: OpenStream): void {
    const handler = this.#handlers.get(stream.name) ?? this.#handlers.get("");
    if (!handler) {
      const name = JSON.stringify(stream.name);
      stream.reset(refuse("CAUSEWAY_AGENT_NO_HANDLER", `expected a stream that the agent serves, got ${name}`));
      return;
    }
    void (async () => {
      try {
        await handler(stream);
      } catch (thrown) {
        this.#machine.reset(id, factsOf(handlerError(thrown)));
        this.#pump();
      }
    })();
  }
}

/** How long a frame is repeated without a sign of the other side. */
const frameMs = 60_000;
