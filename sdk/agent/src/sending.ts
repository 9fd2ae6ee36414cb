/** `send`: how a message is brought over, in which session, and how far it has to come before the caller hears of it. */
import { CausewayError, defaults, later, refuse, type Scheduler, type SpiffeId } from "@causeway/core-base";
import type { Progress } from "@causeway/core-session";
import type { Receipt, SendOptions } from "./api.ts";
import { cancelled } from "./clock.ts";
import { Content, type Data } from "./content.ts";
import { timeoutOf } from "./exchange/limits.ts";
import type { Messenger } from "./messenger.ts";
import { isBulk } from "./priority.ts";
import { dataOf, type SessionBody } from "./session/messages.ts";

type Reached = Receipt["reached"];

export class Sending {
  readonly #messenger: Messenger;
  readonly #scheduler: Scheduler;
  /** Lanes of the sessions with others, by target and session; the one used least recently starts a new lane. */
  readonly #lanes = new Map<string, string>();

  constructor(messenger: Messenger, scheduler: Scheduler) {
    this.#messenger = messenger;
    this.#scheduler = scheduler;
  }

  send(to: SpiffeId, data: Data, options: SendOptions): Promise<Receipt> {
    const { signal, mode = "reliable" } = options;
    if (signal?.aborted) throw cancelled(signal);
    const body: SessionBody = { case: "message", value: dataOf(Content.of(data)) };
    return mode === "best-effort" ? this.#attempt(to, body, options) : this.#promise(to, body, options);
  }

  #attempt(to: SpiffeId, body: SessionBody, options: SendOptions): Promise<Receipt> {
    const { ack, trace = false, priority } = options;
    if (ack !== undefined && ack !== "accepted") {
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected ack "accepted" or none of a best-effort message, got ${JSON.stringify(ack)}; send it reliably`,
      );
    }
    const timeoutMs = expiryOf(options, timeoutOf(options));
    const wantsAccepted = ack === "accepted";
    const messageId = this.#messenger.newId();
    return new Promise((resolve, reject) => {
      const finish = this.#bounded(options, messageId, reject);
      this.#messenger
        .attempt(to, body, {
          id: messageId,
          timeoutMs,
          trace,
          isBulk: isBulk(priority),
          wantsAccepted,
          onProgress: () => finish(() => resolve({ messageId, reached: "accepted" })),
          onFailed: (error) => finish(() => reject(error)),
        })
        .then(
          () => {
            if (!wantsAccepted) finish(() => resolve({ messageId, reached: "sent" }));
          },
          (error: unknown) => finish(() => reject(CausewayError.from(error))),
        );
    });
  }

  #promise(to: SpiffeId, body: SessionBody, options: SendOptions): Promise<Receipt> {
    const { ack = "processed", session = "", trace = false, signal } = options;
    const asBulk = isBulk(options.priority);
    const waitMs = timeoutOf(options);
    const timeoutMs = expiryOf(options, ack === "stored" ? defaults.mailboxMs : waitMs);
    const id = this.#messenger.newId();
    return new Promise((resolve, reject) => {
      const arrive = (reached: Reached): void => finish(() => resolve({ messageId: id, reached }));
      // Most messages need no timer of their own: their time ends with the caller's patience.
      const finish =
        timeoutMs > waitMs
          ? this.#bounded(options, id, reject)
          : signal
            ? this.#cancellable(signal, id, reject)
            : (settle: () => void): void => settle();
      this.#messenger.promise(
        to,
        body,
        {
          lane: this.#laneOf(to, session, asBulk),
          isBulk: asBulk,
          id,
          timeoutMs,
          trace,
          wantsAccepted: ack === "accepted",
          wantsStored: ack === "stored",
          ...(ack !== "processed" && {
            onProgress: (progress: Progress) => {
              if (isEnough(ack, progress)) arrive(progress === "received" ? "delivered" : progress);
            },
          }),
        },
        (error) => (error ? finish(() => reject(error)) : arrive("processed")),
      );
    });
  }

  /** Ends the wait at its time-out or when the caller cancels. The returned function settles it, once. */
  #bounded(options: SendOptions, id: string, reject: (error: CausewayError) => void): (settle: () => void) => void {
    const waitMs = timeoutOf(options);
    const end = (code: "CAUSEWAY_TIMEOUT" | "CAUSEWAY_CANCELLED", message: string): void => {
      const error = refuse(code, message, { details: { messageId: id } });
      this.#messenger.cancel(id, error);
      finish(() => reject(error));
    };
    const stop = this.#scheduler.at(later(this.#scheduler.now().instant, waitMs), () =>
      end(
        "CAUSEWAY_TIMEOUT",
        `expected the message to get as far as ${options.ack ?? "asked for"} within ${waitMs} ms; the outcome is unknown`,
      ),
    );
    const onAbort = (): void => end("CAUSEWAY_CANCELLED", cancelledText);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    let isSettled = false;
    const finish = (settle: () => void): void => {
      if (isSettled) return;
      isSettled = true;
      stop();
      options.signal?.removeEventListener("abort", onAbort);
      settle();
    };
    return finish;
  }

  #cancellable(signal: AbortSignal, id: string, reject: (error: CausewayError) => void): (settle: () => void) => void {
    const onAbort = (): void => {
      const error = refuse("CAUSEWAY_CANCELLED", cancelledText, { cause: signal.reason });
      this.#messenger.cancel(id, error);
      reject(error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    return (settle) => {
      signal.removeEventListener("abort", onAbort);
      settle();
    };
  }

  #laneOf(to: SpiffeId, session: string, asBulk: boolean): string {
    const key = asBulk ? `${to} bulk ${session}` : session === "" ? to : `${to} of ${session}`;
    const lane = this.#lanes.get(key) ?? this.#messenger.newLane();
    this.#lanes.delete(key);
    this.#lanes.set(key, lane);
    if (this.#lanes.size > lanesMax) {
      const oldest = this.#lanes.entries().next();
      if (!oldest.done) {
        this.#lanes.delete(oldest.value[0]);
        this.#messenger.closeLane(oldest.value[1]);
      }
    }
    return lane;
  }
}

/** What a sender asked for has happened, or something that includes it. */
function isEnough(ack: NonNullable<SendOptions["ack"]>, progress: Progress): boolean {
  // That the other side has it in memory does not put it on a disk.
  if (ack === "stored") return progress === "stored";
  return ack === "accepted" || (ack === "delivered" && progress === "received");
}

function expiryOf({ expiresMs }: SendOptions, otherwise: number): number {
  if (expiresMs === undefined) return otherwise;
  if (!(expiresMs > 0 && expiresMs <= defaults.mailboxMsMax)) {
    throw refuse("CAUSEWAY_MISUSE", `expected expiresMs from 1 to ${defaults.mailboxMsMax}, got ${expiresMs}`);
  }
  return Math.ceil(expiresMs);
}

const cancelledText = "the caller cancelled the operation; the message may have been taken";
const lanesMax = 4_096;
