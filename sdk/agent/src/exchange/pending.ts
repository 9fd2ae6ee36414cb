/** One request that waits for its answer: its end, its time-out and its cancellation. */
import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  agentOf,
  CausewayError,
  later,
  refuse,
  type Scheduler,
  type SpiffeId,
} from "@causeway/core-base";
import { session } from "@causeway/core-wire";
import type { MessageOptions } from "../api.ts";
import { fromHex } from "../bytes.ts";
import { cancelled } from "../clock.ts";
import type { Content } from "../content.ts";
import type { Messenger } from "../messenger.ts";
import { isBulk } from "../priority.ts";
import type { SessionBody } from "../session/messages.ts";

/** One part of an answer; settling it makes room for another. */
export interface Part {
  readonly content: Content;
  settle(): void;
}

/** How an exchange ended well. */
export interface Ending {
  /** Last part, when it came with the end. */
  readonly last?: Content | undefined;
  readonly grant?: session.TopicGrant;
}

export interface PendingOptions extends MessageOptions {
  readonly timeoutMs: number;
  readonly onPart: (part: Part) => void;
  readonly onOver: () => void;
}

interface Settle {
  readonly resolve: (ending: Ending) => void;
  readonly reject: (error: CausewayError) => void;
}

export class PendingExchange {
  /** Hex of the request's message id. */
  readonly id: string;
  readonly peer: AgentId;
  readonly #to: SpiffeId;
  readonly ended: Promise<Ending>;
  readonly #messenger: Messenger;
  readonly #scheduler: Scheduler;
  readonly #options: PendingOptions;
  readonly #isBulk: boolean;
  #settle: Settle | undefined;
  #stopTimer: () => void = () => undefined;

  constructor(messenger: Messenger, scheduler: Scheduler, to: SpiffeId, options: PendingOptions) {
    this.id = messenger.newId();
    this.peer = agentOf(to);
    this.#to = to;
    this.#messenger = messenger;
    this.#scheduler = scheduler;
    this.#options = options;
    this.#isBulk = isBulk(options.priority);
    this.ended = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.ended.catch(() => undefined);
  }

  /** Sends the request and starts the time-out. */
  start(body: SessionBody): void {
    const { signal, timeoutMs, trace = false } = this.#options;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.wait();
    this.#messenger
      .post(this.#to, body, { lane: this.id, id: this.id, timeoutMs, trace, isBulk: this.#isBulk })
      .catch((error: unknown) => this.fail(CausewayError.from(error)));
  }

  /** Starts the time-out anew. */
  wait(): void {
    const { timeoutMs } = this.#options;
    this.rest();
    if (!this.#settle) return;
    this.#stopTimer = this.#scheduler.at(later(this.#scheduler.now().instant, timeoutMs), () => {
      const problem = `expected an answer of ${this.peer} within ${timeoutMs} ms, got none; the outcome is unknown`;
      this.cancel(refuse("CAUSEWAY_TIMEOUT", problem));
    });
  }

  /** Stops the time-out: the next move is not the other side's. */
  rest(): void {
    this.#stopTimer();
    this.#stopTimer = () => undefined;
  }

  handlePart(part: Part): void {
    this.#options.onPart(part);
  }

  end(ending: Ending): void {
    this.#finish()?.resolve(ending);
    this.#messenger.closeLane(this.id);
  }

  fail(error: CausewayError): void {
    this.#finish()?.reject(error);
    this.#messenger.closeLane(this.id);
  }

  /** Fails here, and tells the other side to stop. */
  cancel(error: CausewayError): void {
    const settle = this.#finish();
    if (!settle) return;
    settle.reject(error);
    this.#messenger.cancel(this.id, error);
    // In the same lane, which stays open for it: a receiver that lacks the request then does not wait for it.
    const value = create(session.CancelSchema, { exchange: fromHex(this.id), reason: error.code });
    // A cancellation that does not arrive costs the other side its silence limit, nothing else.
    this.#messenger
      .post(this.#to, { case: "cancel", value }, { lane: this.id, timeoutMs: noticeMs, isBulk: this.#isBulk })
      .catch(() => undefined);
    this.#messenger.closeLane(this.id);
  }

  readonly #onAbort = (): void => {
    const { signal } = this.#options;
    if (signal) this.cancel(CausewayError.from(cancelled(signal)));
  };

  #finish(): Settle | undefined {
    const settle = this.#settle;
    this.#settle = undefined;
    this.rest();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    if (settle) this.#options.onOver();
    return settle;
  }
}

/** How long a cancellation is repeated. */
const noticeMs = 30_000;
