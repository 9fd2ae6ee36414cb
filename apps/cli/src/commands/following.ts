/** Following several services at once: one that is down, or ends, hides nothing of the others and is asked again. */
import { CausewayError, defaults } from "@causeway/core-base";
import { named } from "./asking.ts";

/** What can be followed. */
export interface Source {
  readonly service: string;
  /** Calls `onOpen` once it has accepted to be followed; resolves when the service ends it, rejects when it fails. */
  follow(onOpen: () => void, signal: AbortSignal): Promise<void>;
}

export interface FollowOptions {
  readonly signal: AbortSignal;
  /** Rejects when it is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** It does not answer, or not any more: told once until it is back. The message begins with the name of the service. */
  readonly onLost: (service: string, error: CausewayError) => void;
  readonly onBack: (service: string) => void;
}

/**
 * Follows all until aborted. One that is lost is asked again, after `defaults.reconnectMsMin` at first and twice as long
 * each time, up to `defaults.reconnectMsMax`. Rejects with an error of theirs when none has answered a first time, and
 * when each refuses what time does not mend.
 */
export async function followAll(sources: readonly Source[], options: FollowOptions): Promise<void> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, options.signal]);
  const unanswered = new Map<Source, CausewayError>();
  let hasAnswered = false;
  const followOne = async (source: Source): Promise<void> => {
    let pauseMs: number = defaults.reconnectMsMin;
    let isLost = false;
    while (!signal.aborted) {
      let error: CausewayError;
      let isOpen = false;
      try {
        await source.follow(() => {
          isOpen = true;
          hasAnswered = true;
          pauseMs = defaults.reconnectMsMin;
          if (isLost) options.onBack(source.service);
          isLost = false;
        }, signal);
        error = named(source.service, new CausewayError({ code: "CAUSEWAY_GATEWAY_DRAINING", message: endedText }));
      } catch (thrown) {
        error = named(source.service, thrown);
      }
      if (signal.aborted) return;
      unanswered.set(source, error);
      if (!hasAnswered && unanswered.size === sources.length) throw error;
      if (!isLost) options.onLost(source.service, error);
      isLost = true;
      // One that was open is asked again whatever it broke with: the connection's certificate may have been the reason.
      if (!isOpen && isFinal(error)) throw error;
      await options.wait(pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(defaults.reconnectMsMax, pauseMs * 2);
    }
  };
  const outcomes = await Promise.allSettled(
    sources.map((source) =>
      followOne(source).catch((thrown: unknown) => {
        // Nobody answered: the others need not be asked again.
        if (!hasAnswered && unanswered.size === sources.length) ended.abort();
        throw thrown;
      }),
    ),
  );
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined && !options.signal.aborted) throw failed.reason;
}

/** A call that was cancelled was so by a service that goes. */
const isFinal = ({ code, family, retryable }: CausewayError): boolean =>
  family === "misuse" || (family === "refused" && !retryable && code !== "CAUSEWAY_CANCELLED");

const endedText = "has ended its events; it goes out of service";
