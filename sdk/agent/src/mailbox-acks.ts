/**
 * Tells the own gateway which reliable messages are settled, so that they leave the agent's mailbox. Whatever is not told
 * comes again at the next attachment, and is recognised then. Batched: one frame for many messages.
 */
import { type CausewayError, later, type Scheduler } from "@causeway/core-base";
import { type agp, encodeFrame } from "@causeway/core-wire";
import { detailOf } from "./session/messages.ts";

export interface MailboxAckPorts {
  readonly scheduler: Scheduler;
  readonly transmit: (frame: Uint8Array) => Promise<void>;
}

interface Settled {
  readonly source: string;
  readonly messageId: Uint8Array;
  readonly error: CausewayError | undefined;
}

export class MailboxAcks {
  readonly #ports: MailboxAckPorts;
  #settled: Settled[] = [];
  /** True while the gateway keeps a mailbox for this agent. */
  #isOn = false;
  #cancel: (() => void) | undefined;

  constructor(ports: MailboxAckPorts) {
    this.#ports = ports;
  }

  /** Attached: the gateway has the feature, or not. */
  setOn(isOn: boolean): void {
    this.#isOn = isOn;
    if (!isOn) this.#settled = [];
  }

  /** A message is settled for good, or can never be taken (`error`). */
  add({ source, messageId }: agp.RoutingHeader, error: CausewayError | undefined): void {
    if (!this.#isOn) return;
    this.#settled.push({ source, messageId, error });
    if (this.#settled.length >= idsMax) this.flush();
    else if (!this.#cancel) {
      const { scheduler } = this.#ports;
      this.#cancel = scheduler.at(later(scheduler.now().instant, waitMs), () => this.flush());
    }
  }

  /** Sends what waits. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const settled = this.#settled.splice(0, idsMax);
    if (settled.length === 0) return;
    const bySource = new Map<string, Uint8Array[]>();
    const entries: { source: string; messageIds: Uint8Array[]; error?: ReturnType<typeof detailOf> }[] = [];
    for (const { source, messageId, error } of settled) {
      const ids = bySource.get(source);
      if (error) entries.push({ source, messageIds: [messageId], error: detailOf(error) });
      else if (ids) ids.push(messageId);
      else {
        const messageIds = [messageId];
        bySource.set(source, messageIds);
        entries.push({ source, messageIds });
      }
    }
    // Without a link it is lost, and what it told of comes again.
    this.#ports.transmit(encodeFrame({ case: "mailboxAck", value: { entries } })).catch(() => undefined);
    if (this.#settled.length > 0) this.flush();
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#settled = [];
    this.#isOn = false;
  }
}

/** Message ids in one frame; the protocol's bound. */
const idsMax = 1_024;
/** How long one waits for company. */
const waitMs = 20;
