/** The answering side of one exchange: parts in order, held back by a slow requester, ended once. */
import { create } from "@bufbuild/protobuf";
import { CausewayError, refuse, type SpiffeId } from "@causeway/core-base";
import { session } from "@causeway/core-wire";
import type { Reply } from "../api.ts";
import { fromHex } from "../bytes.ts";
import { Content, type Data } from "../content.ts";
import type { Delivery, Messenger } from "../messenger.ts";
import { dataOf, detailOf, type SessionBody } from "../session/messages.ts";
import { exchangeLimits } from "./limits.ts";

export class Answers implements Reply {
  readonly #messenger: Messenger;
  readonly #peer: SpiffeId;
  readonly #id: string;
  readonly #isBulk: boolean;
  readonly #abort: AbortController;
  #ahead = 0;
  /** Calls of `send` that wait for room. */
  #waiting: (() => void)[] = [];
  #isEnded = false;

  constructor(
    messenger: Messenger,
    request: Pick<Delivery, "address" | "messageId" | "isBulk">,
    abort: AbortController,
  ) {
    this.#messenger = messenger;
    this.#peer = request.address;
    this.#id = request.messageId;
    this.#isBulk = request.isBulk;
    this.#abort = abort;
    abort.signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  async send(data: Data): Promise<void> {
    this.#check();
    while (this.#ahead >= exchangeLimits.partsAheadMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#check();
    }
    const value = create(session.ResponseChunkSchema, { exchange: fromHex(this.#id), data: dataOf(Content.of(data)) });
    this.#ahead++;
    void this.#post({ case: "responseChunk", value })
      // The requester does not want it, or is gone: the handler need not go on.
      .catch((error: unknown) => this.#abort.abort(error))
      .finally(() => {
        this.#ahead--;
        this.#wake();
      });
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
      isBulk: this.#isBulk,
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #check(): void {
    if (this.#isEnded) throw refuse("CAUSEWAY_MISUSE", "expected no answer after the last one, got another");
    if (this.#abort.signal.aborted) throw this.#abort.signal.reason;
  }
}

/** What a handler threw, as the other side gets it. */
export function handlerError(thrown: unknown): CausewayError {
  const error = CausewayError.from(thrown);
  if (error.code !== "CAUSEWAY_INTERNAL") return error;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return refuse("CAUSEWAY_AGENT_HANDLER_FAILED", message || "the handler failed without a message", { cause: thrown });
}
