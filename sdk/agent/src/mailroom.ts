/**
 * Hands messages to the application: one at a time and in order for each sender and priority, which are independent of
 * each other.
 */
import { later, refuse, type Scheduler } from "@causeway/core-base";
import type { MessageHandler } from "./api.ts";
import { handlerError } from "./exchange/answers.ts";
import { type Delivery, expired } from "./session/arrivals.ts";
import { contentOf } from "./session/messages.ts";

export class Mailroom {
  /** What waits for the handler, by sender and priority; present while its handler runs. */
  readonly #waiting = new Map<string, Delivery[]>();
  #handler: MessageHandler | undefined;
  /** Settles when there is a handler, or when it is too late to wait for the first one. */
  readonly #ready: Promise<void>;
  #open: (() => void) | undefined;
  readonly #scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.#ready = new Promise((resolve) => {
      this.#open = () => {
        this.#open = undefined;
        resolve();
      };
    });
  }

  /** The application has the agent from now on, and some time to set its handler. */
  begin(): void {
    const scheduler = this.#scheduler;
    scheduler.at(later(scheduler.now().instant, firstHandlerMs), () => this.#open?.());
  }

  /** Sets the handler. Returns the function that ends it. */
  onMessage(handler: MessageHandler): () => void {
    if (this.#handler) throw refuse("CAUSEWAY_MISUSE", "expected one handler for messages, got a second one");
    this.#handler = handler;
    this.#open?.();
    return () => {
      if (this.#handler === handler) this.#handler = undefined;
    };
  }

  /** Takes a message; settles it when the handler has returned. */
  handle(delivery: Delivery): void {
    const queue = delivery.isBulk ? `${delivery.from} bulk` : delivery.from;
    const waiting = this.#waiting.get(queue);
    if (waiting) {
      waiting.push(delivery);
      return;
    }
    const running = this.#run(delivery);
    if (!running) return;
    this.#waiting.set(queue, []);
    void this.#goOn(queue, running);
  }

  async #goOn(queue: string, first: Promise<void>): Promise<void> {
    await first;
    const waiting = this.#waiting.get(queue) ?? [];
    // More may come while these run.
    for (let i = 0; i < waiting.length; i++) {
      const delivery = waiting[i];
      const running = delivery && this.#run(delivery);
      if (running) await running;
      if (i < tidyAt) continue;
      waiting.splice(0, i + 1);
      i = -1;
    }
    this.#waiting.delete(queue);
  }

  /** Runs the handler. Undefined when it has returned already, as handlers that only keep something do. */
  #run(delivery: Delivery): Promise<void> | undefined {
    const { body, from, messageId } = delivery;
    if (body.case !== "message") return undefined;
    if (delivery.isExpired()) {
      delivery.settle(expired);
      return undefined;
    }
    const handler = this.#handler;
    if (!handler && this.#open) {
      // What was stored comes as soon as the agent is attached; the application has not had its turn yet.
      return this.#ready.then(() => this.#run(delivery));
    }
    if (!handler) {
      delivery.settle({
        code: "CAUSEWAY_AGENT_NO_HANDLER",
        message: "the agent does not take messages; it has no handler for them",
      });
      return undefined;
    }
    const content = contentOf(body.value);
    const message = {
      from,
      content,
      get data() {
        return content.data;
      },
      messageId,
    };
    const fail = (thrown: unknown): void => {
      const { code, message: text } = handlerError(thrown);
      delivery.settle({ code, message: text });
    };
    try {
      const result = handler(message);
      if (result !== undefined) return Promise.resolve(result).then(() => delivery.settle(), fail);
      delivery.settle();
    } catch (thrown) {
      fail(thrown);
    }
    return undefined;
  }
}

/** How long messages wait for an application to set its handler, from when it has the agent. */
const firstHandlerMs = 5_000;
/** Handled deliveries that stay in a queue before it is shortened. */
const tidyAt = 1_024;
