/** Hands messages to the application: one at a time and in order for each sender, senders independently of each other. */
import { refuse } from "@causeway/core-base";
import type { MessageHandler } from "./api.ts";
import { handlerError } from "./exchange/answers.ts";
import type { Delivery } from "./messenger.ts";
import { Serial } from "./serial.ts";
import { contentOf } from "./session/messages.ts";

export class Mailroom {
  readonly #serial = new Serial();
  #handler: MessageHandler | undefined;

  /** Sets the handler. Returns the function that ends it. */
  onMessage(handler: MessageHandler): () => void {
    if (this.#handler) throw refuse("CAUSEWAY_MISUSE", "expected one handler for messages, got a second one");
    this.#handler = handler;
    return () => {
      if (this.#handler === handler) this.#handler = undefined;
    };
  }

  /** Takes a message; settles it when the handler has returned. */
  handle(delivery: Delivery): void {
    if (delivery.body.case !== "message") return;
    const content = contentOf(delivery.body.value);
    void this.#serial.run(delivery.from, async () => {
      const handler = this.#handler;
      if (!handler) {
        delivery.settle({
          code: "CAUSEWAY_AGENT_NO_HANDLER",
          message: "the agent does not take messages; it has no handler for them",
        });
        return;
      }
      try {
        await handler({
          from: delivery.from,
          content,
          get data() {
            return content.data;
          },
          messageId: delivery.messageId,
        });
        delivery.settle();
      } catch (thrown) {
        const { code, message } = handlerError(thrown);
        delivery.settle({ code, message });
      }
    });
  }
}
