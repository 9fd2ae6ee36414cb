/**
 * What happens at gateways, for those who ask to hear of it (AGP-11). Every gateway of the agent is asked, and the preferred
 * one is heard: which one that is may change without a new attachment.
 */
import { CausewayError } from "@causeway/core-base";
import type { agp } from "@causeway/core-wire";
import type { CallOptions, NetworkEvent, NetworkEventListener, Watch } from "./api.ts";
import type { At, Attachments } from "./attachments.ts";
import { timeoutOf } from "./exchange/limits.ts";
import { Serial } from "./serial.ts";
import { errorOf } from "./session/messages.ts";

interface Watcher {
  readonly types: readonly string[];
  readonly listener: NetworkEventListener;
}

export class NetworkEvents {
  readonly #session: () => Attachments;
  readonly #onError: (error: CausewayError) => void;
  readonly #watchers = new Set<Watcher>();
  readonly #serial = new Serial();

  constructor(session: () => Attachments, onError: (error: CausewayError) => void) {
    this.#session = session;
    this.#onError = onError;
  }

  async watch(types: readonly string[], listener: NetworkEventListener, options: CallOptions): Promise<Watch> {
    const watcher = { types: [...types], listener };
    this.#watchers.add(watcher);
    try {
      await this.#ask("each", options);
    } catch (thrown) {
      this.#watchers.delete(watcher);
      throw thrown;
    }
    const close = async (): Promise<void> => {
      if (this.#watchers.delete(watcher)) await this.#ask("each", {}).catch(() => undefined);
    };
    return { types: watcher.types, close, [Symbol.asyncDispose]: close };
  }

  /** Attached: gateways forget what was asked with the link that it came over. */
  async handleAttached(at: At): Promise<void> {
    if (this.#watchers.size === 0) return;
    await this.#ask(at, {}).catch((thrown: unknown) => this.#onError(CausewayError.from(thrown)));
  }

  handle({ type, atUnixMs, subject, cause, missed }: agp.Event): void {
    const event: NetworkEvent = { type, atUnixMs: Number(atUnixMs), subject, cause, missed: Number(missed) };
    for (const { types, listener } of this.#watchers) {
      if (!types.some((each) => (each.endsWith(".") ? type.startsWith(each) : type === each))) continue;
      try {
        listener(event);
      } catch (thrown) {
        this.#onError(CausewayError.from(thrown));
      }
    }
  }

  /** Tells gateways what all watchers together want. One at a time: the last one told counts. */
  #ask(at: At, options: CallOptions): Promise<void> {
    return this.#serial.run("watch", async () => {
      const types = [...new Set([...this.#watchers].flatMap((each) => each.types))];
      const answer = await this.#session().call((request) => ({ case: "eventWatch", value: { request, types } }), {
        at,
        timeoutMs: timeoutOf(options),
        signal: options.signal,
        expected: "the gateway to tell its events",
      });
      if (answer.case === "subscriptionResult" && answer.value.error)
        throw errorOf(answer.value.error, "CAUSEWAY_INTERNAL");
    });
  }
}
