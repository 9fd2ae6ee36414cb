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

interface Queue {
  /** Final ones that are not stored yet. */
  fresh: Map<string, session.AckEntry>;
  ready: Map<string, session.AckEntry>;
  storing: Promise<void> | undefined;
  cancel: (() => void) | undefined;
}

export class Acknowledgements {
  readonly #ports: AcknowledgementPorts;
  readonly #queues = new Map<string, Queue>();
  #isClosed = false;

  constructor(ports: AcknowledgementPorts) {
    this.#ports = ports;
  }

  /** Adds one; a newer one for the same message replaces it. */
  add(sender: string, id: string, level: session.AckLevel, refusal?: Refusal): void {
    if (this.#isClosed) return;
    const queue = this.#queues.get(sender) ?? {
      fresh: new Map(),
      ready: new Map(),
      storing: undefined,
      cancel: undefined,
    };
    this.#queues.set(sender, queue);
    const error = refusal && { error: detailOfRefusal(refusal) };
    const entry = create(session.AckEntrySchema, { messageId: fromHex(id), level, ...error });
    if (level === session.AckLevel.RECEIVED) {
      queue.ready.set(id, entry);
      this.#arm(sender, queue);
    } else {
      queue.fresh.set(id, entry);
      queue.storing ??= this.#store(sender, queue);
    }
  }

  /** Takes what is ready for `sender` and fits in one message, perhaps beside other content. */
  take(sender: string): readonly session.AckEntry[] {
    const queue = this.#queues.get(sender);
    if (!queue || queue.ready.size === 0) return [];
    const entries: session.AckEntry[] = [];
    let bytes = 0;
    for (const [id, entry] of queue.ready) {
      bytes += entryBytes + 3 * (entry.error?.message.length ?? 0);
      if (bytes > bytesMax) break;
      queue.ready.delete(id);
      entries.push(entry);
    }
    queue.cancel?.();
    queue.cancel = undefined;
    if (queue.ready.size > 0) this.#arm(sender, queue);
    else if (!queue.storing) this.#queues.delete(sender);
    return entries;
  }

  /** Sends everything now. */
  async flush(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(({ storing }) => storing));
    await Promise.all([...this.#queues.keys()].map((sender) => this.#send(sender)));
  }

  close(): void {
    this.#isClosed = true;
    for (const { cancel } of this.#queues.values()) cancel?.();
    this.#queues.clear();
  }

  /** What comes while something is being stored is stored together, afterwards. */
  async #store(sender: string, queue: Queue): Promise<void> {
    while (queue.fresh.size > 0) {
      const batch = queue.fresh;
      queue.fresh = new Map();
      try {
        await this.#ports.store(sender);
        for (const [id, entry] of batch) queue.ready.set(id, entry);
      } catch (thrown) {
        // Not stored, not acknowledged: the senders repeat their messages, and then there is another attempt.
        this.#ports.log.warn("agent.ack_failed", { peer: sender, code: CausewayError.from(thrown).code });
      }
      this.#arm(sender, queue);
    }
    queue.storing = undefined;
  }

  #arm(sender: string, queue: Queue): void {
    if (this.#isClosed || queue.cancel || queue.ready.size === 0) return;
    const { scheduler } = this.#ports;
    queue.cancel = scheduler.at(later(scheduler.now().instant, waitMs), () => void this.#send(sender));
  }

  async #send(sender: string): Promise<void> {
    const entries = this.take(sender);
    if (entries.length === 0) return;
    try {
      await this.#ports.send(sender, entries);
    } catch (thrown) {
      // The sender repeats its message, and then gets the acknowledgement again.
      this.#ports.log.debug("agent.ack_failed", { peer: sender, code: CausewayError.from(thrown).code });
    }
  }
}

/** Bytes of acknowledgements in one message, and of one without its sentence. */
const bytesMax = 32_768;
const entryBytes = 128;
/** How long an acknowledgement waits for company. */
const waitMs = 2;
