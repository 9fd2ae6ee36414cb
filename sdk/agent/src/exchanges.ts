/** Requests and their answers, both sides: correlation, streams of answers, cancellation and time-outs. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, CausewayError, later, refuse, type Scheduler } from "@causeway/core-base";
import { session } from "@causeway/core-wire";
import type { Answer, Ask, CallOptions, IncomingRequest, Reply, RequestHandler } from "./api.ts";
import { fromHex, toHex } from "./bytes.ts";
import { cancelled } from "./clock.ts";
import { Content, type Data } from "./content.ts";
import type { Delivery, Messenger } from "./messenger.ts";
import { contentOf, dataOf, detailOf, errorOf, type SessionBody } from "./session/messages.ts";

/** Bounds of the exchanges of one agent. */
export const exchangeLimits = {
  /** Requests that wait for their end; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  outgoingMax: 4_096,
  /** Requests being handled; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  incomingMax: 1_024,
  /** Bytes of all parts of an answer that `request` collects. */
  answerBytesMax: 67_108_864,
  /** Parts of a stream that are sent and not yet consumed; then the handler waits. */
  partsAheadMax: 16,
  /** Silence of the requester after which its handler is aborted. */
  requesterSilentMs: 90_000,
  /** Default and longest time-out of a call. */
  timeoutMs: 30_000,
  timeoutMsMax: 86_400_000,
  metadataMax: 64,
} as const;

/** What the topics answer a join with, as part of an exchange. */
export type JoinHandler = (
  from: AgentId,
  join: session.TopicJoin,
) => Promise<Omit<session.TopicGrant, "exchange" | "$typeName">>;

interface Part {
  readonly content: Content;
  readonly settle: () => void;
}

interface Outgoing {
  readonly peer: AgentId;
  readonly onPart: (part: Part) => void;
  readonly onEnd: (last: Content | undefined, grant: session.TopicGrant | undefined) => void;
  readonly onError: (error: CausewayError) => void;
}

interface Incoming {
  readonly peer: AgentId;
  readonly abort: AbortController;
}

export class Exchanges {
  readonly #messenger: Messenger;
  readonly #scheduler: Scheduler;
  readonly #outgoing = new Map<string, Outgoing>();
  readonly #incoming = new Map<string, Incoming>();
  readonly #handlers = new Map<string, RequestHandler>();
  readonly #onJoin: JoinHandler;

  constructor(messenger: Messenger, scheduler: Scheduler, onJoin: JoinHandler) {
    this.#messenger = messenger;
    this.#scheduler = scheduler;
    this.#onJoin = onJoin;
  }

  /** Sets the handler of a method; "" is the default one. Returns the function that ends it. */
  onRequest(method: string, handler: RequestHandler): () => void {
    if (this.#handlers.has(method)) {
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected one handler for ${method || "requests without their own handler"}, got a second one`,
      );
    }
    this.#handlers.set(method, handler);
    return () => {
      if (this.#handlers.get(method) === handler) this.#handlers.delete(method);
    };
  }

  /** Asks and collects the whole answer. */
  async request(peer: AgentId, ask: Ask, options: CallOptions): Promise<Answer> {
    const timeoutMs = timeoutOf(options);
    const parts: Content[] = [];
    let bytes = 0;
    const { id, ended } = this.#open(peer, requestBody(ask, timeoutMs), { ...options, timeoutMs }, (part, fail) => {
      bytes += part.content.bytes.length;
      if (bytes > exchangeLimits.answerBytesMax) {
        fail(
          refuse(
            "CAUSEWAY_LIMIT_COUNT",
            `expected an answer of at most ${exchangeLimits.answerBytesMax} bytes; use stream() for larger ones`,
          ),
        );
        return;
      }
      parts.push(part.content);
      part.settle();
    });
    const { last } = await ended;
    if (last) parts.push(last);
    const content = parts.at(-1) ?? new Content("application/octet-stream", new Uint8Array());
    return {
      from: peer,
      content,
      get data() {
        return content.data;
      },
      parts,
      messageId: id,
    };
  }

  /** Asks and yields the parts of the answer; `timeoutMs` bounds the silence before each. */
  async *stream(peer: AgentId, ask: Ask, options: CallOptions): AsyncGenerator<Content, void, undefined> {
    const queue: Part[] = [];
    let wake: () => void = () => undefined;
    let outcome: { readonly error?: CausewayError } | undefined;
    const { cancel, ended, touch } = this.#open(
      peer,
      requestBody(ask, 0),
      { ...options, timeoutMs: timeoutOf(options) },
      (part) => {
        queue.push(part);
        touch();
        wake();
      },
    );
    ended.then(
      ({ last }) => {
        if (last) queue.push({ content: last, settle: () => undefined });
        outcome = {};
        wake();
      },
      (error: unknown) => {
        outcome = { error: CausewayError.from(error) };
        wake();
      },
    );
    let part: Part | undefined;
    try {
      for (;;) {
        part = queue.shift();
        if (part) {
          yield part.content;
          part.settle();
        } else if (outcome) {
          if (outcome.error) throw outcome.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      for (const left of part ? [part, ...queue] : queue) left.settle();
      if (!outcome) cancel(refuse("CAUSEWAY_CANCELLED", "the caller left the stream before its end"));
    }
  }

  /** Asks a topic's owner for membership. */
  async join(owner: AgentId, join: session.TopicJoin, options: CallOptions): Promise<session.TopicGrant> {
    const { ended } = this.#open(
      owner,
      { case: "topicJoin", value: join },
      { ...options, timeoutMs: timeoutOf(options) },
      (part) => part.settle(),
    );
    const { grant } = await ended;
    if (!grant) throw refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected a grant for ${join.topic}, got an ordinary answer`);
    return grant;
  }

  /** Takes what belongs to an exchange. */
  handle(delivery: Delivery): void {
    const { body } = delivery;
    switch (body.case) {
      case "request":
        this.#handleRequest(delivery, body.value);
        return;
      case "topicJoin":
        this.#handleJoin(delivery, body.value);
        return;
      case "cancel": {
        const incoming = this.#incomingOf(delivery.from, body.value.exchange);
        const code = body.value.reason === "CAUSEWAY_TIMEOUT" ? "CAUSEWAY_TIMEOUT" : "CAUSEWAY_CANCELLED";
        incoming?.abort.abort(refuse(code, "the requester wants no further answer"));
        delivery.settle();
        return;
      }
      case "responseChunk":
      case "responseEnd":
      case "failure":
      case "topicGrant":
        this.#handleAnswer(delivery);
        return;
      default:
        delivery.settle({
          code: "CAUSEWAY_FRAME_UNEXPECTED",
          message: `expected a part of an exchange, got ${body.case}`,
        });
    }
  }

  /** Aborts every handler and every wait. */
  close(error: CausewayError): void {
    for (const { abort } of this.#incoming.values()) abort.abort(error);
    for (const { onError } of [...this.#outgoing.values()]) onError(error);
  }

  #open(
    peer: AgentId,
    body: SessionBody,
    options: CallOptions & { readonly timeoutMs: number },
    onPart: (part: Part, fail: (error: CausewayError) => void) => void,
  ): {
    readonly id: string;
    readonly ended: Promise<{ readonly last: Content | undefined; readonly grant: session.TopicGrant | undefined }>;
    readonly cancel: (error: CausewayError) => void;
    readonly touch: () => void;
  } {
    const { signal, timeoutMs } = options;
    if (signal?.aborted) throw cancelled(signal);
    if (this.#outgoing.size >= exchangeLimits.outgoingMax) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${exchangeLimits.outgoingMax} requests under way; await earlier ones first`,
      );
    }
    const id = this.#messenger.newId();
    let finish: () => void = () => undefined;
    let onError: (error: CausewayError) => void = () => undefined;
    let stopTimer: () => void = () => undefined;
    const ended = new Promise<{ last: Content | undefined; grant: session.TopicGrant | undefined }>(
      (resolve, reject) => {
        finish = () => {
          this.#outgoing.delete(id);
          stopTimer();
          signal?.removeEventListener("abort", onAbort);
        };
        onError = (error) => {
          if (!this.#outgoing.has(id)) return;
          finish();
          reject(error);
        };
        this.#outgoing.set(id, {
          peer,
          onPart: (part) => onPart(part, cancel),
          onEnd: (last, grant) => {
            finish();
            this.#messenger.closeLane(id);
            resolve({ last, grant });
          },
          onError: (error) => {
            onError(error);
            this.#messenger.closeLane(id);
          },
        });
      },
    );
    const cancel = (error: CausewayError): void => {
      if (!this.#outgoing.has(id)) return;
      onError(error);
      this.#messenger.cancel(id, error);
      // In the same lane, which stays open for it: a receiver that lacks the request then does not wait for it.
      const notice = create(session.CancelSchema, { exchange: fromHex(id), reason: error.code });
      // A cancellation that does not arrive costs the other side its silence limit, nothing else.
      this.#messenger
        .post(peer, { case: "cancel", value: notice }, { lane: id, timeoutMs: 30_000 })
        .catch(() => undefined);
      this.#messenger.closeLane(id);
    };
    const onAbort = (): void => {
      if (signal) cancel(CausewayError.from(cancelled(signal)));
    };
    const touch = (): void => {
      stopTimer();
      stopTimer = this.#scheduler.at(later(this.#scheduler.now().instant, timeoutMs), () =>
        cancel(
          refuse(
            "CAUSEWAY_TIMEOUT",
            `expected an answer of ${peer} within ${timeoutMs} ms, got none; the outcome is unknown`,
          ),
        ),
      );
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    touch();
    this.#messenger
      .post(peer, body, { lane: id, id, timeoutMs, trace: options.trace ?? false })
      .catch((error: unknown) => this.#outgoing.get(id)?.onError(CausewayError.from(error)));
    return { id, ended, cancel, touch };
  }

  #handleAnswer(delivery: Delivery): void {
    const { body } = delivery;
    if (
      body.case !== "responseChunk" &&
      body.case !== "responseEnd" &&
      body.case !== "failure" &&
      body.case !== "topicGrant"
    )
      return;
    const outgoing = this.#outgoing.get(toHex(body.value.exchange));
    // An answer of anyone but the agent that was asked is not an answer.
    if (outgoing?.peer !== delivery.from) {
      delivery.settle({ code: "CAUSEWAY_CANCELLED", message: "the request is no longer under way" });
      return;
    }
    if (body.case === "responseChunk") {
      outgoing.onPart({ content: contentOf(body.value.data), settle: () => delivery.settle() });
      return;
    }
    delivery.settle();
    if (body.case === "responseEnd") outgoing.onEnd(body.value.data && contentOf(body.value.data), undefined);
    else if (body.case === "topicGrant") outgoing.onEnd(undefined, body.value);
    else outgoing.onError(errorOf(body.value.error, "CAUSEWAY_AGENT_HANDLER_FAILED"));
  }

  #handleRequest(delivery: Delivery, request: session.Request): void {
    const handler = this.#handlers.get(request.method) ?? this.#handlers.get("");
    if (!handler) {
      const known = [...this.#handlers.keys()].map((name) => JSON.stringify(name)).join(", ") || "none";
      delivery.settle({
        code: "CAUSEWAY_AGENT_NO_HANDLER",
        message: `expected a method that the agent handles (${known}), got ${JSON.stringify(request.method)}`,
      });
      return;
    }
    const incoming = this.#begin(delivery, Number(request.timeoutMs));
    if (!incoming) return;
    const content = contentOf(request.data);
    const asked: IncomingRequest = {
      from: delivery.from,
      content,
      get data() {
        return content.data;
      },
      messageId: delivery.messageId,
      method: request.method,
      metadata: request.metadata,
      signal: incoming.abort.signal,
    };
    void this.#run(delivery, incoming, async (answers) => {
      const result = await handler(asked, answers);
      if (isAsyncIterable(result)) {
        for await (const part of result) await answers.send(part);
        await answers.end();
      } else if (result !== undefined) {
        await answers.end(result);
      } else {
        await answers.end();
      }
    });
  }

  #handleJoin(delivery: Delivery, join: session.TopicJoin): void {
    const incoming = this.#begin(delivery, 0);
    if (!incoming) return;
    void this.#run(delivery, incoming, async (answers) => {
      await answers.grant(await this.#onJoin(delivery.from, join));
    });
  }

  #begin(delivery: Delivery, timeoutMs: number): Incoming | undefined {
    if (this.#incoming.size >= exchangeLimits.incomingMax) {
      delivery.settle({
        code: "CAUSEWAY_FORWARDING_OVERLOADED",
        message: `expected at most ${exchangeLimits.incomingMax} requests at once; retry later`,
      });
      return undefined;
    }
    const incoming: Incoming = { peer: delivery.from, abort: new AbortController() };
    this.#incoming.set(`${delivery.from} ${delivery.messageId}`, incoming);
    delivery.settle();
    if (timeoutMs > 0) {
      const stop = this.#scheduler.at(
        later(this.#scheduler.now().instant, Math.min(timeoutMs, exchangeLimits.timeoutMsMax)),
        () => incoming.abort.abort(refuse("CAUSEWAY_TIMEOUT", `the requester gave up after ${timeoutMs} ms`)),
      );
      incoming.abort.signal.addEventListener("abort", stop, { once: true });
    }
    return incoming;
  }

  async #run(delivery: Delivery, incoming: Incoming, work: (answers: Answers) => Promise<void>): Promise<void> {
    const answers = new Answers(this.#messenger, delivery.from, delivery.messageId, incoming.abort);
    try {
      await work(answers);
      await answers.end();
    } catch (thrown) {
      await answers.fail(handlerError(thrown)).catch(() => undefined);
    } finally {
      this.#incoming.delete(`${delivery.from} ${delivery.messageId}`);
      if (incoming.abort.signal.aborted) {
        this.#messenger.cancelLane(
          delivery.messageId,
          refuse("CAUSEWAY_CANCELLED", "the requester wants no further answer"),
        );
      }
      // Ends the timer of the requester's time-out.
      incoming.abort.abort(refuse("CAUSEWAY_CANCELLED", "the request has ended"));
      this.#messenger.closeLane(delivery.messageId);
    }
  }

  #incomingOf(peer: AgentId, exchange: Uint8Array): Incoming | undefined {
    return this.#incoming.get(`${peer} ${toHex(exchange)}`);
  }
}

/** The answering side of one exchange. */
class Answers implements Reply {
  readonly #messenger: Messenger;
  readonly #peer: AgentId;
  readonly #id: string;
  readonly #abort: AbortController;
  readonly #ahead = new Set<Promise<void>>();
  #isEnded = false;

  constructor(messenger: Messenger, peer: AgentId, id: string, abort: AbortController) {
    this.#messenger = messenger;
    this.#peer = peer;
    this.#id = id;
    this.#abort = abort;
  }

  async send(data: Data): Promise<void> {
    this.#check();
    while (this.#ahead.size >= exchangeLimits.partsAheadMax) {
      await Promise.race([...this.#ahead, aborted(this.#abort.signal)]);
      this.#check();
    }
    const value = create(session.ResponseChunkSchema, { exchange: fromHex(this.#id), data: dataOf(Content.of(data)) });
    const sent = this.#post({ case: "responseChunk", value }).catch((error: unknown) => {
      // The requester does not want it, or is gone: the handler need not go on.
      this.#abort.abort(error);
    });
    this.#ahead.add(sent);
    void sent.then(() => this.#ahead.delete(sent));
  }

  async end(data?: Data): Promise<void> {
    if (this.#isEnded || this.#abort.signal.aborted) return;
    const value = create(session.ResponseEndSchema, {
      exchange: fromHex(this.#id),
      ...(data !== undefined && { data: dataOf(Content.of(data)) }),
    });
    await this.#last({ case: "responseEnd", value });
  }

  async fail(error: CausewayError): Promise<void> {
    if (this.#isEnded || this.#abort.signal.aborted) return;
    const value = create(session.FailureSchema, { exchange: fromHex(this.#id), error: detailOf(error) });
    await this.#last({ case: "failure", value });
  }

  async grant(grant: Omit<session.TopicGrant, "exchange" | "$typeName">): Promise<void> {
    await this.#last({
      case: "topicGrant",
      value: create(session.TopicGrantSchema, { ...grant, exchange: fromHex(this.#id) }),
    });
  }

  async #last(body: SessionBody): Promise<void> {
    this.#isEnded = true;
    // That nobody waits for the last part any more is no failure of the handler.
    await this.#post(body).catch(() => undefined);
  }

  #post(body: SessionBody): Promise<void> {
    return this.#messenger.post(this.#peer, body, {
      lane: this.#id,
      timeoutMs: exchangeLimits.requesterSilentMs,
      patient: true,
    });
  }

  #check(): void {
    if (this.#isEnded) throw refuse("CAUSEWAY_MISUSE", "expected no answer after the last one, got another");
    if (this.#abort.signal.aborted) throw this.#abort.signal.reason;
  }
}

function requestBody(ask: Ask, timeoutMs: number): SessionBody {
  const metadata = ask.metadata ?? {};
  if (Object.keys(metadata).length > exchangeLimits.metadataMax) {
    throw refuse(
      "CAUSEWAY_MISUSE",
      `expected at most ${exchangeLimits.metadataMax} entries of metadata, got ${Object.keys(metadata).length}`,
    );
  }
  return {
    case: "request",
    value: create(session.RequestSchema, {
      method: ask.method ?? "",
      ...(ask.data !== undefined && { data: dataOf(Content.of(ask.data)) }),
      timeoutMs: BigInt(timeoutMs),
      metadata: { ...metadata },
    }),
  };
}

/** The time-out of a call. Throws `CAUSEWAY_MISUSE` outside of its range. */
export function timeoutOf(options: CallOptions): number {
  const timeoutMs = options.timeoutMs ?? exchangeLimits.timeoutMs;
  if (!(timeoutMs > 0 && timeoutMs <= exchangeLimits.timeoutMsMax)) {
    throw refuse("CAUSEWAY_MISUSE", `expected timeoutMs from 1 to ${exchangeLimits.timeoutMsMax}, got ${timeoutMs}`);
  }
  return Math.ceil(timeoutMs);
}

/** What a handler threw, as the other side gets it. */
export function handlerError(thrown: unknown): CausewayError {
  const error = CausewayError.from(thrown);
  if (error.code !== "CAUSEWAY_INTERNAL") return error;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return refuse("CAUSEWAY_AGENT_HANDLER_FAILED", message || "the handler failed without a message", { cause: thrown });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function isAsyncIterable(value: unknown): value is AsyncIterable<Data> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
