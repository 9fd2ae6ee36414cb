/**
 * The sending half of reliable messages (AGP-58): a synchronous machine that repeats each message under the same id
 * until the other endpoint has acknowledged or refused it, its time is over, or a gateway says that it can never
 * arrive. Lanes keep order: every transmission carries the position in its lane and the lane's floor, below which
 * nothing is worth waiting for. It knows no encryption and no link; `transmit` effects ask for both.
 */
import { type CausewayError, type Instant, later, type Random, refuse } from "@causeway/core-base";
import type { SessionLimits } from "./limits.ts";
import { Schedule } from "./schedule.ts";

/** One message on its way. */
export interface OutEntry<Body> {
  readonly peer: string;
  readonly id: string;
  readonly lane: string;
  readonly sequence: number;
  readonly bytes: number;
  readonly body: Body;
  /** Transmissions so far. */
  attempts: number;
}

export interface OutMessage<Body> {
  readonly peer: string;
  /** Hex of the 16-byte message id. */
  readonly id: string;
  readonly lane: string;
  readonly bytes: number;
  readonly body: Body;
  /** Milliseconds until it fails. */
  readonly timeoutMs: number;
  /** True: each sign that the receiver has it starts `timeoutMs` again. */
  readonly patient?: boolean;
}

export type OutboxEffect<Body> =
  | { readonly type: "transmit"; readonly entry: OutEntry<Body>; readonly floor: number }
  /** Final: taken when `error` is undefined. */
  | { readonly type: "settled"; readonly entry: OutEntry<Body>; readonly error: CausewayError | undefined };

interface Tracked<Body> extends OutEntry<Body> {
  /** queued: the lane's window is full; blocked: the peer's is; waiting: for its time; sending: being encrypted. */
  state: "queued" | "blocked" | "waiting" | "sending";
  readonly timeoutMs: number;
  readonly patient: boolean;
  expiresAt: Instant;
  dueAt: Instant;
  /** Transmissions of which no gateway said that they failed. */
  unreported: number;
  isReceived: boolean;
  /** Counts in the window of its peer. */
  isInFlight: boolean;
  sentAt: Instant | undefined;
  /** Asked for again while it was being sent. */
  isWanted: boolean;
  lastError: CausewayError | undefined;
}

interface Peer<Body> {
  readonly name: string;
  inFlight: number;
  bytesInFlight: number;
  /** In the order in which they became due. */
  readonly blocked: Set<Tracked<Body>>;
  /** Smoothed round trip. */
  roundTripMs: number;
  lastError: CausewayError | undefined;
}

interface Lane<Body> {
  readonly name: string;
  readonly peer: string;
  nextSequence: number;
  /** By sequence, ascending. */
  readonly entries: Map<number, Tracked<Body>>;
  active: number;
  isClosing: boolean;
}

export class Outbox<Body> {
  readonly #limits: SessionLimits;
  readonly #random: Random;
  readonly #lanes = new Map<string, Lane<Body>>();
  readonly #peers = new Map<string, Peer<Body>>();
  readonly #entries = new Map<string, Tracked<Body>>();
  readonly #due = new Schedule<Tracked<Body>>();
  readonly #expiry = new Schedule<Tracked<Body>>();
  #effects: OutboxEffect<Body>[] = [];
  #bytes = 0;
  #isOnline = false;

  constructor(limits: SessionLimits, random: Random) {
    this.#limits = limits;
    this.#random = random;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** What was added under this id and is not settled yet. */
  bodyOf(id: string): Body | undefined {
    return this.#entries.get(id)?.body;
  }

  /** Adds a message to its lane. Throws `CAUSEWAY_FORWARDING_OVERLOADED` at a bound. */
  add(now: Instant, message: OutMessage<Body>): void {
    const lane = this.#lane(message.peer, message.lane);
    const { laneQueueMax, bytesMax } = this.#limits;
    if (lane.entries.size >= laneQueueMax || this.#bytes + message.bytes > bytesMax) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${laneQueueMax} unsettled messages to one agent and ${bytesMax} bytes in all; await earlier messages first`,
        { details: { limit: lane.entries.size >= laneQueueMax ? "laneQueueMax" : "bytesMax" } },
      );
    }
    const entry: Tracked<Body> = {
      peer: message.peer,
      id: message.id,
      lane: message.lane,
      sequence: lane.nextSequence++,
      bytes: message.bytes,
      body: message.body,
      attempts: 0,
      state: "queued",
      timeoutMs: message.timeoutMs,
      patient: message.patient ?? false,
      expiresAt: later(now, message.timeoutMs),
      dueAt: now,
      unreported: 0,
      isReceived: false,
      isInFlight: false,
      sentAt: undefined,
      isWanted: false,
      lastError: undefined,
    };
    this.#bytes += message.bytes;
    this.#entries.set(entry.id, entry);
    lane.entries.set(entry.sequence, entry);
    this.#expiry.set(entry, entry.expiresAt);
    this.#fill(now, lane);
  }

  /** Nothing is transmitted while there is no link; with a new one, everything unsettled is sent again. */
  setOnline(now: Instant, isOnline: boolean): void {
    if (this.#isOnline === isOnline) return;
    this.#isOnline = isOnline;
    if (!isOnline) return;
    for (const { blocked } of this.#peers.values()) {
      for (const entry of blocked) {
        entry.state = "waiting";
        this.#plan(entry, now);
      }
      blocked.clear();
    }
    for (const entry of this.#entries.values()) {
      if (entry.state === "waiting") this.#plan(entry, now);
    }
    this.#transmitDue(now);
  }

  /** A transmission that `transmit` asked for left this endpoint (`error` undefined) or could not. */
  handleTransmitted(now: Instant, id: string, error?: CausewayError): void {
    const entry = this.#entries.get(id);
    if (entry?.state !== "sending") return;
    entry.state = "waiting";
    if (error) {
      this.#fail(entry, error);
      if (!error.retryable && !mayHaveArrived(entry)) {
        this.#settle(now, entry, error);
        return;
      }
    } else {
      entry.unreported++;
      entry.sentAt = now;
    }
    const wait = entry.isWanted ? 0 : Math.max(this.#backoff(entry), error?.retryAfterMs ?? 0);
    entry.isWanted = false;
    this.#plan(entry, later(now, wait));
  }

  /** The other endpoint has it; it may take its time. */
  handleReceived(now: Instant, peer: string, id: string): void {
    const entry = this.#entryOf(peer, id);
    if (!entry) return;
    entry.isReceived = true;
    this.#measure(now, entry);
    this.#release(entry);
    if (entry.patient) {
      entry.expiresAt = later(now, entry.timeoutMs);
      this.#expiry.set(entry, entry.expiresAt);
    }
    if (entry.state === "waiting") this.#plan(entry, later(now, this.#backoff(entry)));
    this.#transmitDue(now);
  }

  /** The other endpoint took it, or refused it. */
  handleSettled(now: Instant, peer: string, id: string, error?: CausewayError): void {
    const entry = this.#entryOf(peer, id);
    if (!entry) return;
    this.#measure(now, entry);
    this.#settle(now, entry, error);
  }

  /** A gateway says that a transmission failed. */
  handleReport(now: Instant, id: string, error: CausewayError): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.unreported = Math.max(0, entry.unreported - 1);
    this.#fail(entry, error);
    if (!error.retryable && !mayHaveArrived(entry)) this.#settle(now, entry, error);
    else if (entry.state === "waiting")
      this.#plan(entry, later(now, Math.max(this.#backoff(entry), error.retryAfterMs)));
  }

  /** Sends it again at once, for example under a new security context. */
  resend(now: Instant, id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    if (entry.state === "sending") entry.isWanted = true;
    if (entry.state !== "waiting") return;
    this.#plan(entry, now);
    this.#transmitDue(now);
  }

  /** Gives up on one message. */
  cancel(now: Instant, id: string, error: CausewayError): void {
    const entry = this.#entries.get(id);
    if (entry) this.#settle(now, entry, error);
  }

  /** Gives up on everything that `selects`. */
  cancelAll(now: Instant, error: CausewayError, selects: (entry: OutEntry<Body>) => boolean = () => true): void {
    for (const entry of [...this.#entries.values()]) if (selects(entry)) this.#settle(now, entry, error);
  }

  /** Forgets a lane when its last message is settled. */
  closeLane(lane: string): void {
    const known = this.#lanes.get(lane);
    if (!known) return;
    known.isClosing = true;
    if (known.entries.size === 0) this.#lanes.delete(lane);
  }

  handleTimeout(now: Instant): void {
    for (let entry = this.#expiry.take(now); entry; entry = this.#expiry.take(now)) {
      this.#settle(now, entry, this.#expired(entry));
    }
    this.#transmitDue(now);
  }

  deadline(): Instant | undefined {
    const expiry = this.#expiry.deadline();
    const due = this.#isOnline ? this.#due.deadline() : undefined;
    if (expiry === undefined) return due;
    return due === undefined || expiry < due ? expiry : due;
  }

  drain(): readonly OutboxEffect<Body>[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #entryOf(peer: string, id: string): Tracked<Body> | undefined {
    const entry = this.#entries.get(id);
    // Only the agent that a message is for may say what became of it.
    return entry?.peer === peer ? entry : undefined;
  }

  #lane(peer: string, name: string): Lane<Body> {
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { name, peer, nextSequence: 1, entries: new Map(), active: 0, isClosing: false };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #fill(now: Instant, lane: Lane<Body>): void {
    if (lane.active < this.#limits.laneWindow) {
      for (const entry of lane.entries.values()) {
        if (entry.state !== "queued") continue;
        entry.state = "waiting";
        lane.active++;
        this.#plan(entry, now);
        if (lane.active >= this.#limits.laneWindow) break;
      }
    }
    this.#transmitDue(now);
  }

  #plan(entry: Tracked<Body>, at: Instant): void {
    entry.dueAt = at;
    this.#due.set(entry, at);
  }

  #transmitDue(now: Instant): void {
    if (!this.#isOnline) return;
    for (let entry = this.#due.take(now); entry; entry = this.#due.take(now)) {
      const peer = this.#peer(entry.peer);
      if (entry.isInFlight || entry.attempts > 0 || this.#hasRoom(peer, entry)) this.#transmit(peer, entry);
      else {
        entry.state = "blocked";
        peer.blocked.add(entry);
      }
    }
  }

  #transmit(peer: Peer<Body>, entry: Tracked<Body>): void {
    if (!entry.isInFlight && !entry.isReceived) {
      entry.isInFlight = true;
      peer.inFlight++;
      peer.bytesInFlight += entry.bytes;
    }
    entry.state = "sending";
    entry.attempts++;
    this.#effects.push({ type: "transmit", entry, floor: this.#floor(entry.lane) });
  }

  #hasRoom(peer: Peer<Body>, entry: Tracked<Body>): boolean {
    const { peerWindow, peerWindowBytes } = this.#limits;
    return peer.inFlight === 0 || (peer.inFlight < peerWindow && peer.bytesInFlight + entry.bytes <= peerWindowBytes);
  }

  /** Takes an entry out of its peer's window and lets the next ones in. */
  #release(entry: Tracked<Body>): void {
    const peer = this.#peers.get(entry.peer);
    if (!peer) return;
    peer.blocked.delete(entry);
    if (entry.isInFlight) {
      entry.isInFlight = false;
      peer.inFlight--;
      peer.bytesInFlight -= entry.bytes;
    }
    for (const next of peer.blocked) {
      if (!this.#isOnline || !this.#hasRoom(peer, next)) break;
      peer.blocked.delete(next);
      this.#transmit(peer, next);
    }
    if (peer.inFlight === 0 && peer.blocked.size === 0 && this.#peers.size > peersMax) this.#peers.delete(peer.name);
  }

  #peer(name: string): Peer<Body> {
    const known = this.#peers.get(name);
    if (known) return known;
    const peer = {
      name,
      inFlight: 0,
      bytesInFlight: 0,
      blocked: new Set<Tracked<Body>>(),
      roundTripMs: 0,
      lastError: undefined,
    };
    this.#peers.set(name, peer);
    return peer;
  }

  /** Only what was sent once tells the round trip: of a repetition one does not know which one was answered. */
  #measure(now: Instant, entry: Tracked<Body>): void {
    if (entry.attempts !== 1 || entry.sentAt === undefined) return;
    const peer = this.#peer(entry.peer);
    const measured = now - entry.sentAt;
    peer.roundTripMs = peer.roundTripMs === 0 ? measured : peer.roundTripMs * 0.875 + measured * 0.125;
    peer.lastError = undefined;
    entry.sentAt = undefined;
  }

  #fail(entry: Tracked<Body>, error: CausewayError): void {
    entry.lastError = error;
    this.#peer(entry.peer).lastError = error;
  }

  /** Why an entry whose time is over has failed: unknown only when a transmission may have arrived. */
  #expired(entry: Tracked<Body>): CausewayError {
    const { peer, timeoutMs, attempts, lastError } = entry;
    const never = refuse(
      "CAUSEWAY_UNREACHABLE",
      `the message to ${peer} could not be sent within ${timeoutMs} ms; it was not taken`,
    );
    if (attempts === 0) return this.#peers.get(peer)?.lastError ?? never;
    if (!mayHaveArrived(entry) && lastError) return lastError;
    return refuse(
      "CAUSEWAY_TIMEOUT",
      `expected ${peer} to take the message, got no acknowledgement within ${timeoutMs} ms and ${attempts} transmissions; it may have been taken`,
      { details: { messageId: entry.id, ...(lastError && { lastError: lastError.code }) } },
    );
  }

  #floor(name: string): number {
    const lane = this.#lanes.get(name);
    const first = lane?.entries.keys().next();
    return first && !first.done ? first.value : (lane?.nextSequence ?? 1);
  }

  #backoff(entry: Tracked<Body>): number {
    const { retryMsMin, retryMsMax, receivedRetryMsMin } = this.#limits;
    const first = Math.max(retryMsMin, 3 * (this.#peers.get(entry.peer)?.roundTripMs ?? 0));
    const doubled = Math.min(retryMsMax, first * 2 ** Math.min(entry.attempts - 1, 20));
    const base = entry.isReceived ? Math.max(doubled, receivedRetryMsMin) : doubled;
    return Math.round(base * (0.8 + 0.4 * this.#random.fraction()));
  }

  #settle(now: Instant, entry: Tracked<Body>, error: CausewayError | undefined): void {
    this.#entries.delete(entry.id);
    this.#due.clear(entry);
    this.#expiry.clear(entry);
    this.#bytes -= entry.bytes;
    this.#release(entry);
    this.#effects.push({ type: "settled", entry, error });
    const lane = this.#lanes.get(entry.lane);
    if (!lane) return;
    lane.entries.delete(entry.sequence);
    if (entry.state !== "queued") lane.active--;
    if (lane.isClosing && lane.entries.size === 0) this.#lanes.delete(lane.name);
    else this.#fill(now, lane);
  }
}

/** True when a transmission may have brought it to the other endpoint, or surely has. */
function mayHaveArrived(entry: Tracked<unknown>): boolean {
  return entry.isReceived || entry.unreported > 0 || entry.state === "sending";
}

/** Peers whose round trip is remembered when nothing is under way to them. */
const peersMax = 4_096;
