/** Requests to other agents: correlation of answers, collected or as a stream. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, agentOf, CausewayError, refuse, type Scheduler, type SpiffeId } from "@causeway/core-base";
import { session } from "@causeway/core-wire";
import type { Answer, Ask, CallOptions, MessageOptions } from "../api.ts";
import { toHex } from "../bytes.ts";
import { cancelled } from "../clock.ts";
import { Content } from "../content.ts";
import type { Delivery, Messenger } from "../messenger.ts";
import { contentOf, dataOf, errorOf, type SessionBody } from "../session/messages.ts";
import { exchangeLimits, timeoutOf } from "./limits.ts";
import { type Part, PendingExchange } from "./pending.ts";

export class Asking {
  readonly #messenger: Messenger;
  readonly #scheduler: Scheduler;
  readonly #pending = new Map<string, PendingExchange>();

  constructor(messenger: Messenger, scheduler: Scheduler) {
    this.#messenger = messenger;
    this.#scheduler = scheduler;
  }

  /** Asks and collects the whole answer. */
  async request(peer: SpiffeId, ask: Ask, options: MessageOptions): Promise<Answer> {
    const timeoutMs = timeoutOf(options);
    const parts: Content[] = [];
    let bytes = 0;
    const exchange = this.#open(peer, requestBody(ask, timeoutMs), options, (part) => {
      bytes += part.content.bytes.length;
      if (bytes > exchangeLimits.answerBytesMax) {
        const problem = `expected an answer of at most ${exchangeLimits.answerBytesMax} bytes; use stream() for larger ones`;
        exchange.cancel(refuse("CAUSEWAY_LIMIT_COUNT", problem));
      } else parts.push(part.content);
      part.settle();
    });
    const { last } = await exchange.ended;
    if (last) parts.push(last);
    const content = parts.at(-1) ?? new Content("application/octet-stream", new Uint8Array());
    return {
      from: agentOf(peer),
      content,
      get data() {
        return content.data;
      },
      parts,
      messageId: exchange.id,
    };
  }

  /** Asks and yields the parts of the answer; `timeoutMs` bounds the silence before each. */
  async *stream(peer: SpiffeId, ask: Ask, options: MessageOptions): AsyncGenerator<Content, void, undefined> {
    const queue: Part[] = [];
    let wake: () => void = () => undefined;
    let outcome: { readonly error?: CausewayError } | undefined;
    const exchange = this.#open(peer, requestBody(ask, 0), options, (part) => {
      queue.push(part);
      // It is the consumer's turn now, who may take its time.
      exchange.rest();
      wake();
    });
    exchange.ended.then(
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
          exchange.wait();
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      for (const left of part ? [part, ...queue] : queue) left.settle();
      if (!outcome) exchange.cancel(refuse("CAUSEWAY_CANCELLED", "the caller left the stream before its end"));
    }
  }

  /** Asks a topic's owner for membership. */
  async join(owner: AgentId, join: session.TopicJoin, options: CallOptions): Promise<session.TopicGrant> {
    const { ended } = this.#open(owner, { case: "topicJoin", value: join }, options, (part) => part.settle());
    const { grant } = await ended;
    if (!grant) throw refuse("CAUSEWAY_FRAME_UNEXPECTED", `expected a grant for ${join.topic}, got an ordinary answer`);
    return grant;
  }

  /** Takes a part or the end of an answer. */
  handle(delivery: Delivery): void {
    const { body, from } = delivery;
    if (
      body.case !== "responseChunk" &&
      body.case !== "responseEnd" &&
      body.case !== "failure" &&
      body.case !== "topicGrant"
    )
      return;
    const exchange = this.#pending.get(toHex(body.value.exchange));
    // An answer of anyone but the agent that was asked is not an answer.
    if (exchange?.peer !== from) {
      delivery.settle({ code: "CAUSEWAY_CANCELLED", message: "the request is no longer under way" });
      return;
    }
    if (body.case === "responseChunk") {
      exchange.handlePart({ content: contentOf(body.value.data), settle: () => delivery.settle() });
      return;
    }
    delivery.settle();
    if (body.case === "responseEnd") exchange.end({ last: body.value.data && contentOf(body.value.data) });
    else if (body.case === "topicGrant") exchange.end({ grant: body.value });
    else exchange.fail(errorOf(body.value.error, "CAUSEWAY_AGENT_HANDLER_FAILED"));
  }

  /** Fails everything that waits. */
  close(error: CausewayError): void {
    for (const exchange of [...this.#pending.values()]) exchange.fail(error);
  }

  #open(peer: SpiffeId, body: SessionBody, options: MessageOptions, onPart: (part: Part) => void): PendingExchange {
    if (options.signal?.aborted) throw cancelled(options.signal);
    if (this.#pending.size >= exchangeLimits.outgoingMax) {
      const problem = `expected at most ${exchangeLimits.outgoingMax} requests under way; await earlier ones first`;
      throw refuse("CAUSEWAY_FORWARDING_OVERLOADED", problem);
    }
    const exchange = new PendingExchange(this.#messenger, this.#scheduler, peer, {
      ...options,
      timeoutMs: timeoutOf(options),
      onPart,
      onOver: () => this.#pending.delete(exchange.id),
    });
    this.#pending.set(exchange.id, exchange);
    exchange.start(body);
    return exchange;
  }
}

function requestBody(ask: Ask, timeoutMs: number): SessionBody {
  const { method = "", metadata = {} } = ask;
  const texts: readonly unknown[] = [method, ...Object.values(metadata)];
  if (texts.some((text) => typeof text !== "string"))
    throw refuse("CAUSEWAY_MISUSE", "expected strings as method and as values of metadata, got something else");
  if (Object.keys(metadata).length > exchangeLimits.metadataMax) {
    throw refuse(
      "CAUSEWAY_MISUSE",
      `expected at most ${exchangeLimits.metadataMax} entries of metadata, got ${Object.keys(metadata).length}`,
    );
  }
  return {
    case: "request",
    value: create(session.RequestSchema, {
      method,
      ...(ask.data !== undefined && { data: dataOf(Content.of(ask.data)) }),
      timeoutMs: BigInt(timeoutMs),
      metadata: { ...metadata },
    }),
  };
}
