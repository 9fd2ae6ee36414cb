/**
 * The network between processes: connections that deliver in order after a delay, and what goes wrong with them. A
 * blocked direction holds back what was sent, as a transport that retransmits does; a reset loses what is under way, and
 * may tell both ends, one, or none (half-open). Who is connected to whom is known by name; there is no other proof.
 */
import type { EventQueue } from "./event-queue.ts";
import type { SeededRandom } from "./random.ts";

/** What a connection carries: an AMSP session, messages between gateways, or an attachment. */
export type PipeKind = "sync" | "data" | "attach";

export interface PipeHandler {
  message(bytes: Uint8Array): void;
  /** Not called for one's own `close`. */
  closed(reason: string): void;
}

/** One end of a connection. */
export interface Pipe {
  readonly id: number;
  readonly kind: PipeKind;
  readonly remote: string;
  handler: PipeHandler | undefined;
  send(bytes: Uint8Array): void;
  /** What was sent before still arrives. */
  close(): void;
}

export interface FabricTimes {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  readonly jitterMs: number;
  readonly dialTimeoutMs: number;
  /** When an end that was not told finds out by itself; undefined for never. */
  readonly pingMs: Readonly<Record<PipeKind, number | undefined>>;
}

type Side = 0 | 1;
type Item = Uint8Array | "close";

interface Wire {
  readonly id: number;
  readonly kind: PipeKind;
  readonly ends: readonly [string, string];
  readonly delayMs: number;
  readonly handlers: [PipeHandler | undefined, PipeHandler | undefined];
  /** The side has closed, or knows that the other has. */
  readonly ended: [boolean, boolean];
  readonly stalled: readonly [Item[], Item[]];
  readonly arrivesAt: [number, number];
  readonly clogged: [boolean, boolean];
  /** The transport is gone: nothing moves any more. */
  isDead: boolean;
}

/** Takes a new connection; undefined to refuse it. */
export type Listener = (pipe: Pipe) => boolean;

export class Fabric {
  readonly #queue: EventQueue;
  readonly #now: () => number;
  readonly #random: Readonly<Record<PipeKind, SeededRandom>>;
  readonly #times: FabricTimes;
  readonly #listeners = new Map<string, Listener>();
  readonly #wires = new Map<number, Wire>();
  /** Blocked directions, each with how often it is blocked. */
  readonly #blocked = new Map<string, number>();
  #nextId = 1;

  /** `random`: one for each kind, so that what one protocol says does not change the delays of another. */
  constructor(
    queue: EventQueue,
    now: () => number,
    random: Readonly<Record<PipeKind, SeededRandom>>,
    times: FabricTimes,
  ) {
    this.#queue = queue;
    this.#now = now;
    this.#random = random;
    this.#times = times;
  }

  listen(name: string, listener: Listener | undefined): void {
    if (listener === undefined) this.#listeners.delete(name);
    else this.#listeners.set(name, listener);
  }

  /** Opens a connection. Exactly one of the two functions is called, unless the dialler crashes before. */
  dial(kind: PipeKind, from: string, to: string, opened: (pipe: Pipe) => void, failed: (reason: string) => void): void {
    if (this.isBlocked(from, to) || this.isBlocked(to, from)) {
      this.#after(this.#times.dialTimeoutMs, `dial ${from} ${to} times out`, () => failed("the dial timed out"));
      return;
    }
    const delayMs = this.#random[kind].between(this.#times.delayMsMin, this.#times.delayMsMax);
    this.#after(delayMs, `dial ${from} ${to}`, () => {
      const listener = this.#listeners.get(to);
      const wire: Wire = {
        id: this.#nextId++,
        kind,
        ends: [from, to],
        delayMs,
        handlers: [undefined, undefined],
        ended: [false, false],
        stalled: [[], []],
        arrivesAt: [0, 0],
        clogged: [false, false],
        isDead: false,
      };
      if (listener === undefined || !listener(this.#pipe(wire, 1))) {
        this.#after(delayMs, `${to} refuses ${from}`, () => failed("connection refused"));
        return;
      }
      this.#wires.set(wire.id, wire);
      const openAt = this.#now() + delayMs;
      wire.arrivesAt[1] = openAt;
      this.#queue.push(openAt, `${from} connected to ${to}`, () => {
        if (!wire.isDead) opened(this.#pipe(wire, 0));
        else if (!wire.ended[0]) failed("connection reset");
      });
    });
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}>${to}`);
  }

  block(from: string, to: string): void {
    const key = `${from}>${to}`;
    this.#blocked.set(key, (this.#blocked.get(key) ?? 0) + 1);
  }

  unblock(from: string, to: string): void {
    const key = `${from}>${to}`;
    const left = (this.#blocked.get(key) ?? 1) - 1;
    if (left > 0) this.#blocked.set(key, left);
    else this.#blocked.delete(key);
    for (const wire of this.#wires.values()) for (const side of [0, 1] as const) this.#flush(wire, side);
  }

  /** Connections that stand, for faults to choose from. */
  open(): readonly { readonly id: number; readonly kind: PipeKind; readonly ends: readonly [string, string] }[] {
    return [...this.#wires.values()].filter((wire) => !wire.isDead);
  }

  /** True while what is sent on either side can arrive. */
  isAlive(id: number): boolean {
    return this.#wires.get(id)?.isDead === false;
  }

  /** Ends the transport. `told` says which ends learn it at once. */
  reset(id: number, told: readonly [boolean, boolean]): void {
    const wire = this.#wires.get(id);
    if (wire !== undefined) this.#kill(wire, told);
  }

  clog(id: number, side: Side, isClogged: boolean): void {
    const wire = this.#wires.get(id);
    if (wire === undefined) return;
    wire.clogged[side] = isClogged;
    this.#flush(wire, side);
  }

  /** A process dies: nothing of it moves any more. `isSilent`: its machine, too, so that nobody is told. */
  crash(name: string, isSilent: boolean): void {
    this.#listeners.delete(name);
    for (const wire of [...this.#wires.values()]) {
      const side = wire.ends.indexOf(name);
      if (side < 0) continue;
      wire.ended[side as Side] = true;
      wire.handlers[side as Side] = undefined;
      this.#kill(wire, [!isSilent && side === 1, !isSilent && side === 0]);
    }
  }

  #pipe(wire: Wire, side: Side): Pipe {
    const fabric = this;
    return {
      id: wire.id,
      kind: wire.kind,
      remote: wire.ends[side === 0 ? 1 : 0],
      get handler() {
        return wire.handlers[side];
      },
      set handler(handler) {
        wire.handlers[side] = handler;
      },
      send: (bytes) => {
        if (!wire.ended[side] && !wire.isDead) fabric.#send(wire, side, bytes.slice());
      },
      close: () => {
        if (wire.ended[side]) return;
        wire.ended[side] = true;
        if (wire.isDead || wire.ended[side === 0 ? 1 : 0]) fabric.#forget(wire);
        else fabric.#send(wire, side, "close");
      },
    };
  }

  #send(wire: Wire, side: Side, item: Item): void {
    if (this.#isStalled(wire, side) || wire.stalled[side].length > 0) wire.stalled[side].push(item);
    else this.#schedule(wire, side, item);
  }

  #isStalled(wire: Wire, side: Side): boolean {
    return wire.clogged[side] || this.isBlocked(wire.ends[side], wire.ends[side === 0 ? 1 : 0]);
  }

  #flush(wire: Wire, side: Side): void {
    if (this.#isStalled(wire, side)) return;
    for (const item of wire.stalled[side].splice(0)) this.#schedule(wire, side, item);
  }

  #schedule(wire: Wire, side: Side, item: Item): void {
    const delayMs = wire.delayMs + this.#random[wire.kind].between(0, this.#times.jitterMs);
    const at = Math.max(wire.arrivesAt[side], this.#now() + delayMs);
    wire.arrivesAt[side] = at;
    this.#queue.push(at, `${wire.kind} ${wire.ends[side]} > ${wire.ends[side === 0 ? 1 : 0]}`, () => {
      const other = side === 0 ? 1 : 0;
      if (wire.isDead || wire.ended[other]) return;
      if (item !== "close") wire.handlers[other]?.message(item);
      else this.#end(wire, other, "closed by the other side");
    });
  }

  #kill(wire: Wire, told: readonly [boolean, boolean]): void {
    if (wire.isDead) return;
    wire.isDead = true;
    for (const side of [0, 1] as const) {
      const waitMs = told[side] ? wire.delayMs : this.#times.pingMs[wire.kind];
      if (wire.ended[side] || waitMs === undefined) continue;
      this.#after(waitMs, `${wire.ends[side]} learns of a reset`, () => this.#end(wire, side, "connection reset"));
    }
    this.#forget(wire);
  }

  #end(wire: Wire, side: Side, reason: string): void {
    if (wire.ended[side]) return;
    wire.ended[side] = true;
    this.#forget(wire);
    wire.handlers[side]?.closed(reason);
  }

  #forget(wire: Wire): void {
    this.#wires.delete(wire.id);
    wire.isDead ||= wire.ended[0] && wire.ended[1];
  }

  #after(ms: number, label: string, run: () => void): void {
    this.#queue.push(this.#now() + ms, label, run);
  }
}
