/** Offers of what is stored to the gateway where its agent is attached now. */
import { type ErrorFacts, errorTable, type Instant, later, type Now } from "@causeway/core-base";
import type { HandOver } from "./hand-over.ts";
import type { Holdings } from "./holdings.ts";
import type { Lane } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";
import { MailState } from "./mail-rows.ts";

export class Transfers {
  readonly #held: Holdings;
  readonly #handOver: HandOver;
  readonly #limits: MailboxLimits;
  #last = 0;

  constructor(held: Holdings, handOver: HandOver, limits: MailboxLimits) {
    this.#held = held;
    this.#handOver = handOver;
    this.#limits = limits;
  }

  /** Offers what waits first, when the agent is attached elsewhere and no offer is open. */
  offerFrom(now: Now, lane: Lane): void {
    if (!lane.isMoved || lane.links.length > 0 || lane.transfer !== undefined) return;
    const held = this.#held.rows;
    const rows: number[] = [];
    const sequences: number[] = [];
    let bytes = 0;
    lane.unpark();
    for (let row = lane.peek(); row >= 0; row = lane.peek()) {
      bytes += held.bytes(row);
      const isFull = rows.length >= this.#limits.mailboxTransferMessages || bytes > this.#limits.mailboxTransferBytes;
      if (isFull && rows.length > 0) break;
      lane.offer(row);
      rows.push(row);
      sequences.push(held.sequence(row));
    }
    if (rows.length === 0) return;
    const number = ++this.#last;
    // An answer that takes longer than the last wait is waited for longer, or it would always come too late.
    const waitMs = Math.max(this.#limits.mailboxTransferMs, lane.transferWaitMs);
    lane.transfer = { number, rows, sequences, dueAt: later(now.instant, waitMs) };
    this.#held.transferring.set(number, lane);
    const mails = rows.map((row) => held.mail(row));
    this.#held.tell({ kind: "transfer", transfer: number, agentId: lane.agentId, mails });
  }

  /** The other gateway has stored the first `count` of an offer; `error` says why not the rest. */
  handleAnswer(now: Now, transfer: number, count: number, error: ErrorFacts | undefined): void {
    const lane = this.#held.transferring.get(transfer);
    if (lane?.transfer?.number !== transfer) return;
    const { rows, sequences } = lane.transfer;
    const rest: number[] = [];
    for (const [index, row] of rows.entries()) {
      if (!this.#isOffered(row, sequences[index] ?? 0)) continue;
      if (index < count) this.#held.remove(lane, row, "handed-over");
      else if (index === count && error !== undefined && !errorTable[error.code].retryable) {
        this.#held.bury(now, lane, row, error, true);
      } else rest.push(row);
    }
    this.#end(now, lane, rest, count >= rows.length);
  }

  /**
   * The agent is here again: what is offered is handed to it, in order, without waiting for the answer. Should the other
   * gateway have stored it, there are two copies, and the agent takes one.
   */
  withdraw(now: Now, lane: Lane): void {
    const { transfer } = lane;
    if (transfer === undefined || transfer.rows.length === 0) return;
    const rest = transfer.rows.filter((row, index) => this.#isOffered(row, transfer.sequences[index] ?? 0));
    this.#held.transferring.delete(transfer.number);
    lane.transfer = undefined;
    this.#handOver.takeBack(now, lane, rest);
  }

  handleTimeout(now: Now): void {
    for (const lane of [...this.#held.transferring.values()]) {
      const { transfer } = lane;
      if (transfer === undefined || transfer.dueAt > now.instant) continue;
      const { rows, sequences, number } = transfer;
      if (rows.length > 0) {
        const rest = rows.filter((row, index) => this.#isOffered(row, sequences[index] ?? 0));
        this.#end(now, lane, rest, false);
      } else this.#retry(now, lane, number);
    }
  }

  /** When the next answer or pause is over. */
  deadlines(): readonly (Instant | undefined)[] {
    if (this.#held.transferring.size === 0) return none;
    return [...this.#held.transferring.values()].map((lane) => lane.transfer?.dueAt);
  }

  #isOffered(row: number, sequence: number): boolean {
    return this.#held.rows.holds(row, sequence) && this.#held.rows.state(row) === MailState.transferring;
  }

  #end(now: Now, lane: Lane, rest: readonly number[], isProgress: boolean): void {
    const number = lane.transfer?.number;
    if (number !== undefined) this.#held.transferring.delete(number);
    lane.transfer = undefined;
    this.#handOver.takeBack(now, lane, rest);
    if (isProgress) {
      lane.transferWaitMs = 0;
      this.offerFrom(now, lane);
    } else if (lane.messages > 0 && lane.isMoved) {
      const { mailboxTransferMs, mailboxTransferMsMax } = this.#limits;
      lane.transferWaitMs = Math.min(mailboxTransferMsMax, Math.max(mailboxTransferMs, lane.transferWaitMs * 2));
      const pause = ++this.#last;
      const dueAt = later(now.instant, lane.transferWaitMs);
      lane.transfer = { number: pause, rows: [], sequences: [], dueAt };
      this.#held.transferring.set(pause, lane);
    }
    this.#handOver.pump(now, lane);
  }

  #retry(now: Now, lane: Lane, number: number): void {
    this.#held.transferring.delete(number);
    lane.transfer = undefined;
    this.offerFrom(now, lane);
  }
}

const none: readonly Instant[] = [];
