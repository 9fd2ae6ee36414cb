/**
 * Which instance of an agent messages under the agent's name go to, and since when it has not been heard (BEY-7). A
 * session stays with the instance that it met (ADR 22); one that is gone for good would keep it waiting for ever.
 */
import type { Instant } from "@causeway/core-base";

/** Where messages for a name went last. */
export interface Chosen {
  /** With the instance. */
  readonly address: string;
  /** Security context of the messages. */
  readonly context: Uint8Array;
}

export class SilentInstances {
  /** By what the sender named; the one used least recently goes first. */
  readonly #chosen = new Map<string, Chosen>();
  /** First message to an address since it was heard. */
  readonly #unheardSince = new Map<string, Instant>();

  /** A message for `name` left for an instance that the name does not say. */
  noteSent(now: Instant, name: string, chosen: Chosen): void {
    put(this.#chosen, name, chosen);
    if (!this.#unheardSince.has(chosen.address)) put(this.#unheardSince, chosen.address, now);
  }

  noteHeard(address: string): void {
    this.#unheardSince.delete(address);
  }

  /** The choice for `name` if it has been silent for too long; it is forgotten then. */
  takeSilent(now: Instant, name: string): Chosen | undefined {
    const chosen = this.#chosen.get(name);
    const since = chosen && this.#unheardSince.get(chosen.address);
    if (since === undefined || now - since < silentInstanceMs) return undefined;
    this.#chosen.delete(name);
    return chosen;
  }
}

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= chosenMax) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}

/** Silence after which a message that fails ends the session with an instance; the next one meets one anew. */
export const silentInstanceMs = 60_000;
/** Names and addresses that are remembered. */
const chosenMax = 4_096;
