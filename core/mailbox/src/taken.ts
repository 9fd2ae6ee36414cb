/**
 * What other gateways have handed over here. An offer whose answer comes too late, or to a gateway that has restarted, is
 * made again when the message may be settled already: it is answered like the first time, and nobody gets it twice.
 */
import type { AgentId } from "@causeway/core-base";

/** What names a message in a mailbox. */
interface Named {
  readonly agentId: AgentId;
  readonly source: string;
  readonly id: string;
}

export class Taken {
  readonly #keys = new Set<string>();

  has(mail: Named): boolean {
    return this.#keys.size > 0 && this.#keys.has(keyOf(mail));
  }

  add(mail: Named): void {
    this.#keys.add(keyOf(mail));
    const [oldest] = this.#keys;
    if (this.#keys.size > takenMax && oldest !== undefined) this.#keys.delete(oldest);
  }

  /** It was not stored after all, or has gone to another gateway, from which it may come back. */
  forget(mail: Named): void {
    if (this.#keys.size > 0) this.#keys.delete(keyOf(mail));
  }
}

const keyOf = ({ agentId, source, id }: Named): string => `${agentId} ${source} ${id}`;
/** Those before them count as new when they are offered again. */
const takenMax = 16_384;
