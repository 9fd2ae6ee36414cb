/** Targets that are a prefix: any one agent below it. The gateways choose, and a session stays with their choice. */
import { CausewayError, type SpiffeId } from "@causeway/core-base";

export class Anycast {
  readonly #choose: (prefix: string) => Promise<SpiffeId>;
  /** Choices by prefix and session; the one used least recently goes first. */
  readonly #chosen = new Map<string, Promise<SpiffeId>>();

  constructor(choose: (prefix: string) => Promise<SpiffeId>) {
    this.#choose = choose;
  }

  /** The agent for a session; chosen anew when the last choice could not be made. */
  async resolve(target: string, session: string): Promise<SpiffeId> {
    const bare = target.slice(0, -1);
    const prefix = bare.startsWith("spiffe://") ? bare : `spiffe://${bare}`;
    const key = `${prefix} ${session}`;
    const known = this.#chosen.get(key);
    const choice = known ?? this.#choose(prefix);
    this.#chosen.delete(key);
    this.#chosen.set(key, choice);
    if (this.#chosen.size > chosenMax) {
      const oldest = this.#chosen.keys().next();
      if (!oldest.done) this.#chosen.delete(oldest.value);
    }
    try {
      return await choice;
    } catch (thrown) {
      if (this.#chosen.get(key) === choice) this.#chosen.delete(key);
      throw CausewayError.from(thrown);
    }
  }
}

const chosenMax = 1_024;
