/** One mailbox: its messages in order, what of each sender is in it, and what is handed to the agent right now. */
import type { AgentId, Instant, StoredMail, UnixMs } from "@causeway/core-base";
import type { MailLink } from "./effects.ts";

/**
 * `waiting` in the order of the mailbox; `parked` for an instance that is not attached; `under-way` handed to the agent
 * and not acknowledged; `transferring` offered to another gateway.
 */
type ItemState = "waiting" | "parked" | "under-way" | "transferring" | "gone";

/** One stored message. */
export class Item {
  readonly mail: StoredMail;
  readonly box: SourceBox;
  state: ItemState = "waiting";
  /** Where it is under way. */
  link = 0;
  attempts = 0;

  constructor(mail: StoredMail, box: SourceBox) {
    this.mail = mail;
    this.box = box;
  }

  get endsAt(): UnixMs {
    return this.mail.expiresAt;
  }

  get order(): number {
    return this.mail.sequence;
  }

  get isGone(): boolean {
    return this.state === "gone";
  }
}

/** What one sender has in a mailbox. */
export class SourceBox {
  readonly items = new Map<string, Item>();
  bytes = 0;
  /** Of `items`, those that wait or are offered to another gateway: new messages of the sender go behind them. */
  ahead = 0;
  /** Where its last message went, so that an agent's instances are not mixed within a sender. */
  link = 0;
}

/** An offer to another gateway that is not answered, or the pause before the next one. */
export interface Transfer {
  readonly number: number;
  readonly items: readonly Item[];
  readonly dueAt: Instant;
}

/** The mailbox of one agent. Changes of the state of an item go through here, so that the counts are right. */
export class Lane {
  readonly agentId: AgentId;
  readonly boxes = new Map<string, SourceBox>();
  links: readonly MailLink[];
  messages = 0;
  bytes = 0;
  underWay = 0;
  underWayBytes = 0;
  /** Handed to links that do not acknowledge since there was room on them. */
  burst = 0;
  burstBytes = 0;
  /** Its messages belong to the gateway where the agent is attached now. */
  isMoved = false;
  transfer: Transfer | undefined;
  /** Pause after the next offer that fails. */
  transferWaitMs = 0;
  /** By sequence, from `#head` on. May hold items that are in another state by now. */
  #queue: Item[] = [];
  #head = 0;
  #parked: Item[] = [];

  constructor(agentId: AgentId, links: readonly MailLink[]) {
    this.agentId = agentId;
    this.links = links;
  }

  /** Puts a message in at the end, or where its sequence belongs. */
  add(mail: StoredMail): Item {
    let box = this.boxes.get(mail.source);
    if (box === undefined) {
      box = new SourceBox();
      this.boxes.set(mail.source, box);
    }
    const item = new Item(mail, box);
    box.items.set(mail.id, item);
    box.bytes += mail.bytes;
    box.ahead++;
    this.messages++;
    this.bytes += mail.bytes;
    const last = this.#queue.at(-1);
    this.#queue.push(item);
    if (last !== undefined && last.mail.sequence > mail.sequence) this.#sort();
    return item;
  }

  /** Takes a message out for good. */
  drop(item: Item): void {
    this.#leave(item);
    item.state = "gone";
    const { mail, box } = item;
    box.items.delete(mail.id);
    box.bytes -= mail.bytes;
    if (box.items.size === 0) this.boxes.delete(mail.source);
    this.messages--;
    this.bytes -= mail.bytes;
  }

  hand(item: Item, link: number): void {
    this.#leave(item);
    item.state = "under-way";
    item.link = link;
    item.attempts++;
    item.box.link = link;
    this.underWay++;
    this.underWayBytes += item.mail.bytes;
  }

  offer(item: Item): void {
    this.#leave(item);
    item.state = "transferring";
    item.box.ahead++;
  }

  park(item: Item): void {
    this.#leave(item);
    item.state = "parked";
    this.#parked.push(item);
  }

  /** Puts items back in their order. */
  putBack(items: readonly Item[]): void {
    if (items.length === 0) return;
    for (const item of items) {
      this.#leave(item);
      item.state = "waiting";
      item.box.ahead++;
      this.#queue.push(item);
    }
    this.#sort();
  }

  /** What is parked may have a place to go to again. */
  unpark(): void {
    const parked = this.#parked.filter((item) => item.state === "parked");
    this.#parked = [];
    this.putBack(parked);
  }

  /** The first waiting item; it stays where it is. */
  peek(): Item | undefined {
    for (; this.#head < this.#queue.length; this.#head++) {
      const item = this.#queue[this.#head];
      if (item?.state === "waiting") return item;
    }
    this.#queue = [];
    this.#head = 0;
    return undefined;
  }

  /** Every item, by sequence. */
  items(): Item[] {
    return [...this.boxes.values()]
      .flatMap((box) => [...box.items.values()])
      .sort((a, b) => a.mail.sequence - b.mail.sequence);
  }

  find(source: string, id: string): Item | undefined {
    return this.boxes.get(source)?.items.get(id);
  }

  #leave(item: Item): void {
    if (item.state === "waiting" || item.state === "transferring") item.box.ahead--;
    if (item.state !== "under-way") return;
    this.underWay--;
    this.underWayBytes -= item.mail.bytes;
  }

  #sort(): void {
    const waiting = this.#queue.slice(this.#head).filter((item) => item.state === "waiting");
    this.#queue = [...new Set(waiting)].sort((a, b) => a.mail.sequence - b.mail.sequence);
    this.#head = 0;
  }
}
