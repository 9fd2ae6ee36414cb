/**
 * Acknowledgements on their way back. They wait a moment, so that they leave together or travel along with a message,
 * and final ones are stored first: what its sender believes taken is not taken again after a restart.
 */
import { create } from "@bufbuild/protobuf";
import { CausewayError, type Log, later, type Scheduler } from "@causeway/core-base";
import { session } from "@causeway/core-wire";
import { fromHex } from "../bytes.ts";
import type { Refusal } from "./inbox.ts";
import { detailOfRefusal } from "./messages.ts";

export interface AcknowledgementPorts {
  readonly scheduler: Scheduler;
  readonly log: Log;
  /** Stores what is remembered of a sender. */
  readonly store: (sender: string) => Promise<void>;
  /** Sends acknowledgements in a message of their own. */
  readonly send: (sender: string, entries: readonly session.AckEntry[]) => Promise<void>;
}

interface Waiting {
  readonly entries: Map<string, session.AckEntry>;
  isFinal: boolean;
  cancel: () => void;
}

export class Acknowledgements {
  readonly #ports: AcknowledgementPorts;
  readonly #waiting = new Map<string, Waiting>();
  #isClosed = false;

  constructor(ports: AcknowledgementPorts) {
    this.#ports = ports;
  }

  /** Adds one; a newer one for the same message replaces it. */
  add(sender: string, id: string, level: session.AckLevel, refusal?: Refusal): void {
    if (this.#isClosed) return;
    const { scheduler } = this.#ports;
    let waiting = this.#waiting.get(sender);
    if (!waiting) {
      const cancel = scheduler.at(later(scheduler.now().instant, waitMs), () => void this.#flush(sender));
      waiting = { entries: new Map(), isFinal: false, cancel };
      this.#waiting.set(sender, waiting);
    }
    const error = refusal && { error: detailOfRefusal(refusal) };
    waiting.entries.set(id, create(session.AckEntrySchema, { messageId: fromHex(id), level, ...error }));
    waiting.isFinal ||= level !== session.AckLevel.RECEIVED;
  }

  /** Takes what waits for `sender`, stored and ready to travel along with a message. */
  async take(sender: string): Promise<readonly session.AckEntry[]> {
    const waiting = this.#waiting.get(sender);
    if (!waiting) return [];
    this.#waiting.delete(sender);
    waiting.cancel();
    try {
      if (waiting.isFinal) await this.#ports.store(sender);
      return [...waiting.entries.values()];
    } catch (thrown) {
      // Not stored, not acknowledged: the sender repeats its message, and then there is another attempt.
      this.#ports.log.warn("agent.ack_failed", { peer: sender, code: CausewayError.from(thrown).code });
      return [];
    }
  }

  /** Sends everything now. */
  async flush(): Promise<void> {
    await Promise.all([...this.#waiting.keys()].map((sender) => this.#flush(sender)));
  }

  close(): void {
    this.#isClosed = true;
    for (const { cancel } of this.#waiting.values()) cancel();
    this.#waiting.clear();
  }

  async #flush(sender: string): Promise<void> {
    const entries = await this.take(sender);
    if (entries.length === 0) return;
    try {
      await this.#ports.send(sender, entries);
    } catch (thrown) {
      // The sender repeats its message, and then gets the acknowledgement again.
      this.#ports.log.debug("agent.ack_failed", { peer: sender, code: CausewayError.from(thrown).code });
    }
  }
}

/** How long an acknowledgement waits for company. */
const waitMs = 2;
