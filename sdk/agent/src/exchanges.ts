/** Requests and their answers, both sides. */
import type { AgentId, CausewayError, Scheduler, SpiffeId } from "@causeway/core-base";
import type { session } from "@causeway/core-wire";
import type { Answer, Ask, CallOptions, MessageOptions, RequestHandler } from "./api.ts";
import type { Content } from "./content.ts";
import { Asking } from "./exchange/asking.ts";
import { type JoinHandler, Serving } from "./exchange/serving.ts";
import type { Delivery, Messenger } from "./messenger.ts";

export class Exchanges {
  readonly #asking: Asking;
  readonly #serving: Serving;

  constructor(messenger: Messenger, scheduler: Scheduler, onJoin: JoinHandler) {
    this.#asking = new Asking(messenger, scheduler);
    this.#serving = new Serving(messenger, scheduler, onJoin);
  }

  onRequest(method: string, handler: RequestHandler): () => void {
    return this.#serving.onRequest(method, handler);
  }

  request(peer: SpiffeId, ask: Ask, options: MessageOptions): Promise<Answer> {
    return this.#asking.request(peer, ask, options);
  }

  stream(peer: SpiffeId, ask: Ask, options: MessageOptions): AsyncGenerator<Content, void, undefined> {
    return this.#asking.stream(peer, ask, options);
  }

  join(owner: AgentId, join: session.TopicJoin, options: CallOptions): Promise<session.TopicGrant> {
    return this.#asking.join(owner, join, options);
  }

  /** Takes what belongs to an exchange. */
  handle(delivery: Delivery): void {
    const { body } = delivery;
    if (body.case === "request" || body.case === "topicJoin" || body.case === "cancel") this.#serving.handle(delivery);
    else if (answerKinds.has(body.case)) this.#asking.handle(delivery);
    else {
      const message = `expected a part of an exchange, got ${body.case}`;
      delivery.settle({ code: "CAUSEWAY_FRAME_UNEXPECTED", message });
    }
  }

  /** Aborts every handler and fails every wait. */
  close(error: CausewayError): void {
    this.#serving.close(error);
    this.#asking.close(error);
  }
}

const answerKinds: ReadonlySet<string> = new Set(["responseChunk", "responseEnd", "failure", "topicGrant"]);
