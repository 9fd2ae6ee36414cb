/**
 * Acknowledgements on their way back. They wait a moment, so that one tells of many messages or travels along with
 * others, and what they say is stored first: what its sender believes taken is not taken again after a restart.
 */
import { CausewayError, type Log, later, type Scheduler } from "@causeway/core-base";
import type { ChannelState } from "@causeway/core-session";

export interface AcknowledgementPorts {
  readonly scheduler: Scheduler;
  readonly log: Log;
  /** What is known of a channel now. */
  readonly report: (sender: string, channel: string) => ChannelState | undefined;
  /** Stores what is remembered of a sender, as it is at the call. */
  readonly store: (sender: string) => Promise<void>;
  /** Has a packet for `sender` sent soon, which will `take` what is ready. */
  readonly depart: (sender: string) => void;
}

interface Queue {
  /** Channels of which there is news. */
  readonly news: Set<string>;
  /** True when some of the news is not stored. */
  isUnsaved: boolean;
  /** Reports that are stored. */
  readonly ready: Map<string, ChannelState>;
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

  /** There is news of a channel; when `isDurable`, it has to be stored before it is told. */
  add(sender: string, channel: string, isDurable: boolean): void {
    if (this.#isClosed) return;
    let queue = this.#queues.get(sender);
    if (!queue) {
      queue = { news: new Set(), isUnsaved: false, ready: new Map(), storing: undefined, cancel: undefined };
      this.#queues.set(sender, queue);
    }
    queue.news.add(channel);
    if (isDurable) queue.isUnsaved = true;
    if (queue.isUnsaved) queue.storing ??= this.#store(sender, queue);
    else if (!queue.storing) this.#arm(sender, queue);
  }

  /** Takes what is ready for `sender`. */
  take(sender: string): readonly ChannelState[] {
    const queue = this.#queues.get(sender);
    if (!queue) return [];
    // Reports of now would run ahead of what is stored.
    if (!queue.storing && !queue.isUnsaved) this.#collect(sender, queue);
    const reports = [...queue.ready.values()];
    queue.ready.clear();
    queue.cancel?.();
    queue.cancel = undefined;
    if (!queue.storing && !queue.isUnsaved && queue.news.size === 0) this.#queues.delete(sender);
    return reports;
  }

  /** Stores and sends everything now. */
  async flush(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(({ storing }) => storing));
    for (const sender of [...this.#queues.keys()]) this.#ports.depart(sender);
  }

  close(): void {
    this.#isClosed = true;
    for (const { cancel } of this.#queues.values()) cancel?.();
    this.#queues.clear();
  }

  #collect(sender: string, queue: Queue): void {
    for (const channel of queue.news) {
      const report = this.#ports.report(sender, channel);
      if (report) queue.ready.set(channel, report);
    }
    queue.news.clear();
  }

  /** What comes while something is being stored is stored together, afterwards. */
  async #store(sender: string, queue: Queue): Promise<void> {
    // What else this turn settles is stored along with it.
    await Promise.resolve();
    while (queue.isUnsaved) {
      queue.isUnsaved = false;
      const before = new Map(queue.ready);
      const news = [...queue.news];
      this.#collect(sender, queue);
      const collected = new Map(queue.ready);
      queue.ready.clear();
      for (const [channel, report] of before) queue.ready.set(channel, report);
      try {
        await this.#ports.store(sender);
        for (const [channel, report] of collected) queue.ready.set(channel, report);
      } catch (thrown) {
        // Not stored, not acknowledged: the senders repeat their messages, and then there is another attempt.
        this.#ports.log.warn("agent.ack_failed", { peer: sender, code: CausewayError.from(thrown).code });
        for (const channel of news) queue.news.add(channel);
        queue.isUnsaved = true;
        queue.storing = undefined;
        return;
      }
      this.#arm(sender, queue);
    }
    queue.storing = undefined;
    if (queue.news.size > 0) this.#arm(sender, queue);
  }

  #arm(sender: string, queue: Queue): void {
    if (this.#isClosed || queue.cancel) return;
    const { scheduler } = this.#ports;
    queue.cancel = scheduler.at(later(scheduler.now().instant, waitMs), () => {
      queue.cancel = undefined;
      this.#ports.depart(sender);
    });
  }
}

/** How long an acknowledgement waits for company. */
const waitMs = 2;
