/**
 * Targets that are a prefix: any one agent below it. The gateways choose, and a session stays with their choice as long
 * as it can be reached.
 */
import { CausewayError, type ErrorCode, parsePrefix, type SpiffeId } from "@causeway/core-base";

export class Anycast {
  readonly #choose: (prefix: string) => Promise<SpiffeId>;
  /** Choices by prefix and session; the one used least recently goes first. */
  readonly #chosen = new Map<string, Promise<SpiffeId>>();

  constructor(choose: (prefix: string) => Promise<SpiffeId>) {
    this.#choose = choose;
  }

  /**
   * Does something with the agent of a session. When that cannot be reached the session is over: what was done keeps its
   * outcome, and the next thing asks the gateways for an agent anew.
   */
  async use<T>(target: string, session: string, run: (to: SpiffeId) => Promise<T>): Promise<T> {
    const prefix = parsePrefix(target);
    const key = `${prefix} ${session}`;
    const choice = this.#chosen.get(key) ?? this.#choose(prefix);
    this.#remember(key, choice);
    let to: SpiffeId;
    try {
      to = await choice;
    } catch (thrown) {
      this.#forget(key, choice);
      throw CausewayError.from(thrown);
    }
    try {
      return await run(to);
    } catch (thrown) {
      if (goneCodes.has(CausewayError.from(thrown).code)) this.#forget(key, choice);
      throw thrown;
    }
  }

  #remember(key: string, choice: Promise<SpiffeId>): void {
    this.#chosen.delete(key);
    this.#chosen.set(key, choice);
    if (this.#chosen.size <= chosenMax) return;
    const oldest = this.#chosen.keys().next();
    if (!oldest.done) this.#chosen.delete(oldest.value);
  }

  #forget(key: string, choice: Promise<SpiffeId>): void {
    if (this.#chosen.get(key) === choice) this.#chosen.delete(key);
  }
}

/** What is said of an agent that is not there, or may not be. Where it is the gateways choose it again. */
const goneCodes: ReadonlySet<ErrorCode> = new Set([
  "CAUSEWAY_TIMEOUT",
  "CAUSEWAY_UNREACHABLE",
  "CAUSEWAY_FORWARDING_NO_ROUTE",
  "CAUSEWAY_FORWARDING_NOT_ATTACHED",
  "CAUSEWAY_FORWARDING_PEER_LOST",
  "CAUSEWAY_MAILBOX_CLOSED",
]);
const chosenMax = 1_024;
