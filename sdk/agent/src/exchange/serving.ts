/** Requests of other agents: who handles them, and until when. */
import { type AgentId, type CausewayError, later, refuse, type Scheduler } from "@causeway/core-base";
import type { session } from "@causeway/core-wire";
import type { IncomingRequest, RequestHandler } from "../api.ts";
import { toHex } from "../bytes.ts";
import type { Data } from "../content.ts";
import type { Delivery, Messenger } from "../messenger.ts";
import { contentOf } from "../session/messages.ts";
import { Answers, handlerError } from "./answers.ts";
import { exchangeLimits } from "./limits.ts";

/** What the topics answer a join with, as part of an exchange. */
export type JoinHandler = (
  from: AgentId,
  join: session.TopicJoin,
) => Promise<Omit<session.TopicGrant, "exchange" | "$typeName">>;

interface Incoming {
  readonly abort: AbortController;
  readonly answers: Answers;
}

export class Serving {
  readonly #messenger: Messenger;
  readonly #scheduler: Scheduler;
  readonly #onJoin: JoinHandler;
  readonly #incoming = new Map<string, Incoming>();
  readonly #countOf = new Map<AgentId, number>();
  readonly #handlers = new Map<string, RequestHandler>();

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

  /** Takes a request, the wish to join a topic, or a cancellation. */
  handle(delivery: Delivery): void {
    const { body } = delivery;
    if (body.case === "request") this.#handleRequest(delivery, body.value);
    else if (body.case === "topicJoin") this.#handleJoin(delivery, body.value);
    else if (body.case === "cancel") {
      const incoming = this.#incoming.get(`${delivery.from} ${toHex(body.value.exchange)}`);
      const code = body.value.reason === "CAUSEWAY_TIMEOUT" ? "CAUSEWAY_TIMEOUT" : "CAUSEWAY_CANCELLED";
      incoming?.abort.abort(refuse(code, "the requester wants no further answer"));
      delivery.settle();
    }
  }

  /** Aborts every handler, and says so to those who wait for an answer. */
  close(reason: CausewayError): void {
    for (const { abort, answers } of this.#incoming.values()) {
      void answers.fail(reason);
      abort.abort(reason);
    }
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
    const { incomingMax, incomingPerPeerMax } = exchangeLimits;
    const count = this.#countOf.get(delivery.from) ?? 0;
    if (this.#incoming.size >= incomingMax || count >= incomingPerPeerMax) {
      delivery.settle({
        code: "CAUSEWAY_FORWARDING_OVERLOADED",
        message: `expected at most ${incomingPerPeerMax} requests of one agent and ${incomingMax} of all at once; retry later`,
      });
      return undefined;
    }
    this.#countOf.set(delivery.from, count + 1);
    const abort = new AbortController();
    const answers = new Answers(this.#messenger, delivery, abort);
    const incoming: Incoming = { abort, answers };
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
    const { answers } = incoming;
    try {
      await work(answers);
      await answers.end();
    } catch (thrown) {
      await answers.fail(handlerError(thrown)).catch(() => undefined);
    } finally {
      this.#incoming.delete(`${delivery.from} ${delivery.messageId}`);
      const left = (this.#countOf.get(delivery.from) ?? 1) - 1;
      if (left > 0) this.#countOf.set(delivery.from, left);
      else this.#countOf.delete(delivery.from);
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
}

function isAsyncIterable(value: unknown): value is AsyncIterable<Data> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
