/**
 * The sending half of reliable messages (AGP-58): a synchronous machine that repeats each message under the same number
 * until the other endpoint has acknowledged or refused it, its time is over, or a gateway says that it can never
 * arrive. Numbers count the messages of one channel: this run to one peer. Lanes keep order: a message also has a
 * position in its lane and the lane's floor, below which nothing is worth waiting for. It knows no encryption and no
 * link: the driver packs the messages of `transmit` effects as it likes.
 */
import { type CausewayError, type Instant, later, type Random, refuse } from "@causeway/core-base";
import type { SessionLimits } from "./limits.ts";
import type { NumberRange } from "./ranges.ts";
import { RoundTrip } from "./round-trip.ts";
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
  readonly attempts: number;
}

export interface OutMessage<Body> {
  /** The conversation: one channel and one window. */
  readonly peer: string;
  /** Bulk is a conversation of its own, with its own window: what is not bulk never waits for it. Default false. */
  readonly isBulk?: boolean;
  /** Who may say what became of it. Default `peer`. */
  readonly agent?: string;
  /** Hex of the 16-byte message id. */
  readonly id: string;
  readonly lane: string;
  readonly bytes: number;
  readonly body: Body;
  /** Milliseconds until it fails. */
  readonly timeoutMs: number;
  /** True: each sign that the receiver has it starts `timeoutMs` again. */
  readonly patient?: boolean;
  /**
   * True: part of a whole. When it fails, everything behind it in its lane fails with it, so that the receiver never gets
   * the rest without it. Default `patient`.
   */
  readonly chained?: boolean;
}

/** How far a message has come without being settled. */
export type Progress = "accepted" | "stored" | "received";

export type OutboxEffect<Body> =
  | { readonly type: "transmit"; readonly entry: OutEntry<Body> }
  /** Each at most once, and none after `settled`. */
  | { readonly type: "progress"; readonly entry: OutEntry<Body>; readonly progress: Progress }
  /** Final: taken when `error` is undefined. */
  | { readonly type: "settled"; readonly entry: OutEntry<Body>; readonly error: CausewayError | undefined };

/** Where a message stands, as its next transmission says it. */
export interface OutPosition {
  readonly number: number;
  readonly laneFloor: number;
}

/** What a receiver says of the numbers of one channel. */
export interface ChannelReport {
  readonly channel: string;
  readonly taken: readonly NumberRange[];
  readonly received: readonly NumberRange[];
  readonly refused: ReadonlyMap<number, CausewayError>;
}

interface Tracked<Body> extends OutEntry<Body> {
  attempts: number;
  /** Undefined before the first transmission. */
  number: number | undefined;
  readonly of: Peer<Body>;
  readonly in: Lane<Body>;
  /** queued: before its first turn; waiting: for its time; sending: being encrypted; resting: will not be repeated. */
  state: "queued" | "waiting" | "sending" | "resting";
  readonly timeoutMs: number;
  readonly patient: boolean;
  readonly chained: boolean;
  expiresAt: Instant;
  /** Transmissions of which no gateway said that they failed. */
  unreported: number;
  /** Packet of its last transmission. */
  packet: number;
  /** Bits of `progressBits`. */
  progress: number;
  /** Counts in the window of its peer. */
  isInFlight: boolean;
  sentAt: Instant | undefined;
  /** Asked for again while it was being sent. */
  isWanted: boolean;
  /** To be repeated at its time even while its peer confirms other messages. */
  isUrgent: boolean;
  lastError: CausewayError | undefined;
}

interface Peer<Body> {
  readonly name: string;
  readonly isBulk: boolean;
  readonly agent: string;
  readonly channel: string;
  nextNumber: number;
  /** Transmitted and not settled, by number, ascending. */
  readonly numbered: Map<number, Tracked<Body>>;
  inFlight: number;
  bytesInFlight: number;
  /** Packets so far. */
  packets: number;
  /** There is a way to it now. */
  isReachable: boolean;
  /** When it last confirmed something, or a time-out made us repeat something. */
  calmSince: Instant | undefined;
  /** Not transmitted yet, in the order in which they were added. */
  readonly queue: Set<Tracked<Body>>;
  readonly roundTrip: RoundTrip;
  lastError: CausewayError | undefined;
}

interface Lane<Body> {
  readonly name: string;
  nextSequence: number;
  /** Unsettled, by sequence, ascending. */
  readonly entries: Map<number, Tracked<Body>>;
  isClosing: boolean;
}

export class Outbox<Body> {
  readonly #limits: SessionLimits;
  readonly #random: Random;
  readonly #lanes = new Map<string, Lane<Body>>();
  readonly #peers = new Map<string, Peer<Body>>();
  readonly #channels = new Map<string, Peer<Body>>();
  readonly #entries = new Map<string, Tracked<Body>>();
  readonly #due = new Schedule<Tracked<Body>>();
  readonly #expiry = new Schedule<Tracked<Body>>();
  #effects: OutboxEffect<Body>[] = [];
  /** Where new lanes begin: a lane that is used again after its end goes on behind it. */
  #laneStart = 1;
  #bytes = 0;
  /** Of these, bulk. */
  #bulkBytes = 0;
  #reaches: (peer: string) => boolean = () => false;

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
    const lane = this.#lane(message.lane);
    const { isBulk = false } = message;
    const { laneQueueMax } = this.#limits;
    const bytesMax = isBulk ? this.#limits.bulkBytesMax : this.#limits.bytesMax;
    const bytesHeld = isBulk ? this.#bulkBytes : this.#bytes;
    if (lane.entries.size >= laneQueueMax || bytesHeld + message.bytes > bytesMax) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${laneQueueMax} unsettled messages to one agent and ${bytesMax} bytes${isBulk ? " of bulk" : ""} in all; await earlier messages first`,
        {
          details: { limit: lane.entries.size >= laneQueueMax ? "laneQueueMax" : isBulk ? "bulkBytesMax" : "bytesMax" },
        },
      );
    }
    const peer = this.#peer(message.peer, message.agent ?? message.peer, isBulk);
    const entry: Tracked<Body> = {
      peer: message.peer,
      id: message.id,
      lane: message.lane,
      sequence: lane.nextSequence++,
      bytes: message.bytes,
      body: message.body,
      attempts: 0,
      number: undefined,
      of: peer,
      in: lane,
      state: "queued",
      timeoutMs: message.timeoutMs,
      patient: message.patient ?? false,
      chained: message.chained ?? message.patient ?? false,
      expiresAt: later(now, message.timeoutMs),
      unreported: 0,
      packet: 0,
      progress: 0,
      isInFlight: false,
      sentAt: undefined,
      isWanted: false,
      isUrgent: false,
      lastError: undefined,
    };
    this.#bytes += message.bytes;
    if (isBulk) this.#bulkBytes += message.bytes;
    this.#entries.set(entry.id, entry);
    lane.entries.set(entry.sequence, entry);
    this.#expiry.set(entry, entry.expiresAt);
    peer.queue.add(entry);
    this.#fill(peer);
  }

  /** Nothing is transmitted while there is no link; with a new one, everything unsettled is sent again. */
  setOnline(now: Instant, isOnline: boolean): void {
    this.setReach(now, () => isOnline);
  }

  /**
   * The same for each peer: `reaches` says to whom there is a way from now on. What is unsettled with a peer to whom there
   * was none is sent again.
   */
  setReach(now: Instant, reaches: (peer: string) => boolean): void {
    this.#reaches = reaches;
    const isNew = (peer: Peer<Body>): boolean => !peer.isReachable && reaches(peer.name);
    const again = new Set([...this.#peers.values()].filter(isNew));
    for (const peer of this.#peers.values()) peer.isReachable = reaches(peer.name);
    for (const entry of again.size > 0 ? this.#entries.values() : []) {
      if (!again.has(entry.of)) continue;
      // What never left has nothing to do with transmissions that were in vain.
      if (entry.state === "resting" && !mayHaveArrived(entry)) {
        entry.state = "waiting";
        entry.attempts = 0;
      }
      if (entry.state !== "waiting") continue;
      if ((entry.progress & progressBits.stored) === 0) this.#urge(entry, now);
      else this.#plan(entry, later(now, this.#patience(entry)));
    }
    for (const peer of again) this.#fill(peer);
    this.#transmitDue(now);
  }

  /** Where messages to a peer are counted, as the next transmission says it. */
  channelOf(peer: string, isBulk = false): { readonly channel: string; readonly floor: number } {
    const known = this.#peers.get(keyOf(peer, isBulk));
    if (!known) return { channel: "", floor: 0 };
    return { channel: known.channel, floor: floorOf(known.numbered, known.nextNumber) };
  }

  /** What the next transmission of a message says of its place; undefined when it was settled meanwhile. */
  positionOf(id: string): OutPosition | undefined {
    const entry = this.#entries.get(id);
    if (entry?.number === undefined) return undefined;
    return { number: entry.number, laneFloor: floorOf(entry.in.entries, entry.in.nextSequence) };
  }

  /** One packet with these messages, all to one peer, left this endpoint (`error` undefined) or could not. */
  handleTransmitted(now: Instant, ids: readonly string[], error?: CausewayError): void {
    let packet: number | undefined;
    let lateAt = now;
    for (const id of ids) {
      const entry = this.#entries.get(id);
      if (entry?.state !== "sending") continue;
      if (packet === undefined) {
        packet = ++entry.of.packets;
        lateAt = later(now, this.#jittered(entry.of.roundTrip.timeoutMs));
      }
      entry.packet = packet;
      entry.state = "waiting";
      if (error) {
        this.#fail(entry, error);
        if (!error.retryable && !mayHaveArrived(entry)) {
          this.#settle(entry, error);
          continue;
        }
      } else {
        entry.unreported++;
        entry.sentAt = now;
      }
      if (entry.isWanted) this.#urge(entry, now);
      else if (error) this.#urge(entry, later(now, Math.max(this.#backoff(entry), error.retryAfterMs)));
      else this.#plan(entry, isWithReceiver(entry) ? later(now, this.#backoff(entry)) : lateAt);
      entry.isWanted = false;
    }
    // One that settled may have made room.
    this.#transmitDue(now);
  }

  /** What `from` says of the messages of a channel. Only the agent that they are for is heard. */
  handleReportOfChannel(now: Instant, from: string, report: ChannelReport): void {
    const peer = this.#channels.get(report.channel);
    if (peer?.agent !== from) return;
    const { taken, received, refused } = report;
    const settled: Tracked<Body>[] = [];
    let latest = 0;
    let [atTaken, atReceived] = [0, 0];
    // All three ascend.
    for (const [number, entry] of peer.numbered) {
      while ((taken[atTaken]?.[1] ?? Infinity) < number) atTaken++;
      while ((received[atReceived]?.[1] ?? Infinity) < number) atReceived++;
      const isTaken = (taken[atTaken]?.[0] ?? Infinity) <= number;
      if (!isTaken && !refused.has(number) && (received[atReceived]?.[0] ?? Infinity) > number) continue;
      // Of a repetition one does not know which copy arrived.
      if (entry.attempts === 1) latest = Math.max(latest, entry.packet);
      this.#measure(now, entry);
      if (isTaken || refused.has(number)) settled.push(entry);
      else this.#handleReceived(now, entry);
    }
    if (settled.length > 0) {
      peer.calmSince = now;
      peer.roundTrip.reset();
    }
    for (const entry of settled) this.#settle(entry, refused.get(entry.number ?? 0));
    this.#repeatLost(now, peer, latest);
    this.#fill(peer);
    this.#transmitDue(now);
  }

  /** A gateway says that a transmission failed. */
  handleReport(now: Instant, id: string, error: CausewayError): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.unreported = Math.max(0, entry.unreported - 1);
    this.#fail(entry, error);
    if (!error.retryable && !mayHaveArrived(entry)) this.#settle(entry, error);
    else if (entry.state === "waiting")
      this.#urge(entry, later(now, Math.max(this.#backoff(entry), error.retryAfterMs)));
    this.#transmitDue(now);
  }

  /** A gateway says that it took the message over, or stored it. */
  handleProgress(now: Instant, id: string, progress: "accepted" | "stored"): void {
    const entry = this.#entries.get(id);
    if (!entry || (entry.progress & progressBits[progress]) !== 0) return;
    this.#note(entry, progress);
    // The gateway keeps it now; a repetition only makes sure.
    if (progress !== "stored") return;
    this.#release(entry);
    if (entry.state === "waiting") this.#plan(entry, later(now, this.#patience(entry)));
    this.#fill(entry.of);
  }

  /** Sends it again at once, for example under a new security context. */
  resend(now: Instant, id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    if (entry.state === "sending") entry.isWanted = true;
    if (entry.state !== "waiting" && entry.state !== "resting") return;
    entry.state = "waiting";
    this.#urge(entry, now);
    this.#transmitDue(now);
  }

  /** Gives up on one message. */
  cancel(now: Instant, id: string, error: CausewayError): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#settle(entry, error);
    this.#transmitDue(now);
  }

  /** Gives up on everything that `selects`. */
  cancelAll(now: Instant, error: CausewayError, selects: (entry: OutEntry<Body>) => boolean = () => true): void {
    for (const entry of [...this.#entries.values()]) if (selects(entry)) this.#settle(entry, error);
    this.#transmitDue(now);
  }

  /** Gives up on everything of one lane. */
  cancelLane(now: Instant, lane: string, error: CausewayError): void {
    for (const entry of [...(this.#lanes.get(lane)?.entries.values() ?? [])]) this.#settle(entry, error);
    this.#transmitDue(now);
  }

  /** Forgets a lane when its last message is settled. */
  closeLane(lane: string): void {
    const known = this.#lanes.get(lane);
    if (!known) return;
    known.isClosing = true;
    if (known.entries.size === 0) this.#forgetLane(known);
  }

  handleTimeout(now: Instant): void {
    for (let entry = this.#expiry.take(now); entry; entry = this.#expiry.take(now)) {
      this.#settle(entry, this.#expired(entry));
    }
    this.#transmitDue(now);
  }

  deadline(): Instant | undefined {
    const expiry = this.#expiry.deadline();
    const due = this.#due.deadline();
    if (expiry === undefined) return due;
    return due === undefined || expiry < due ? expiry : due;
  }

  drain(): readonly OutboxEffect<Body>[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #lane(name: string): Lane<Body> {
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { name, nextSequence: this.#laneStart, entries: new Map(), isClosing: false };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #forgetLane({ name, nextSequence }: Lane<Body>): void {
    this.#lanes.delete(name);
    this.#laneStart = Math.max(this.#laneStart, nextSequence);
  }

  #peer(name: string, agent: string, isBulk: boolean): Peer<Body> {
    const key = keyOf(name, isBulk);
    const known = this.#peers.get(key);
    if (known) return known;
    const peer: Peer<Body> = {
      name,
      isBulk,
      agent,
      channel: [...this.#random.bytes(8)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
      nextNumber: 1,
      numbered: new Map(),
      inFlight: 0,
      bytesInFlight: 0,
      packets: 0,
      isReachable: this.#reaches(name),
      calmSince: undefined,
      queue: new Set(),
      roundTrip: new RoundTrip(this.#limits),
      lastError: undefined,
    };
    this.#peers.set(key, peer);
    this.#channels.set(peer.channel, peer);
    if (this.#peers.size > peersMax) this.#forgetIdlePeer(key);
    return peer;
  }

  /** Forgets one with whom nothing is under way; the next message to it opens a new channel. */
  #forgetIdlePeer(except: string): void {
    let looked = 0;
    for (const [key, peer] of this.#peers) {
      if (key !== except && peer.numbered.size === 0 && peer.queue.size === 0) {
        this.#peers.delete(key);
        this.#channels.delete(peer.channel);
        return;
      }
      if (++looked >= peersLookedAtMax) return;
    }
  }

  /** Lets in what the window has room for. */
  #fill(peer: Peer<Body>): void {
    if (!peer.isReachable) return;
    for (const entry of peer.queue) {
      if (!this.#hasRoom(peer, entry)) return;
      peer.queue.delete(entry);
      this.#transmit(entry);
    }
  }

  #transmitDue(now: Instant): void {
    for (let entry = this.#due.take(now); entry; entry = this.#due.take(now)) {
      // Planned anew when there is a way again.
      if (!entry.of.isReachable) continue;
      if (entry.attempts >= this.#limits.attemptsMax) entry.state = "resting";
      else if (entry.isUrgent || isWithReceiver(entry)) this.#transmit(entry);
      else this.#handleLate(now, entry);
    }
  }

  /**
   * RFC 6298 (5.3 to 5.6): as long as the peer confirms what was sent before, nothing is late, and what it lacks shows as
   * a gap. When it confirms nothing, the first few messages ask for a sign; to repeat everything would only add to what
   * holds it up.
   */
  #handleLate(now: Instant, entry: Tracked<Body>): void {
    const { of: peer } = entry;
    const { roundTrip, calmSince } = peer;
    const lateAt = calmSince === undefined ? now : later(calmSince, roundTrip.timeoutMs);
    if (lateAt > now) {
      this.#plan(entry, lateAt);
      return;
    }
    roundTrip.backOff();
    peer.calmSince = now;
    let asking = 0;
    for (const first of peer.numbered.values()) {
      if (asking >= askingMax) break;
      if (first.state !== "waiting" || isWithReceiver(first) || first.attempts >= this.#limits.attemptsMax) continue;
      this.#due.clear(first);
      this.#transmit(first);
      asking++;
    }
    if (entry.state === "waiting") this.#plan(entry, later(now, roundTrip.timeoutMs));
  }

  #transmit(entry: Tracked<Body>): void {
    const peer = entry.of;
    if (!entry.isInFlight && !isWithReceiver(entry)) {
      entry.isInFlight = true;
      peer.inFlight++;
      peer.bytesInFlight += entry.bytes;
    }
    if (entry.number === undefined) {
      entry.number = peer.nextNumber++;
      peer.numbered.set(entry.number, entry);
    }
    entry.state = "sending";
    entry.isUrgent = false;
    entry.attempts++;
    this.#effects.push({ type: "transmit", entry });
  }

  #hasRoom(peer: Peer<Body>, entry: Tracked<Body>): boolean {
    const { peerWindow, peerWindowBytes, channelSpanMax } = this.#limits;
    if (peer.inFlight === 0) return true;
    const span = peer.nextNumber - floorOf(peer.numbered, peer.nextNumber);
    return (
      span < channelSpanMax / 2 && peer.inFlight < peerWindow && peer.bytesInFlight + entry.bytes <= peerWindowBytes
    );
  }

  #plan(entry: Tracked<Body>, at: Instant): void {
    this.#due.set(entry, at);
  }

  /** To be repeated then, whatever its peer confirms meanwhile. */
  #urge(entry: Tracked<Body>, at: Instant): void {
    entry.isUrgent = true;
    this.#due.set(entry, at);
  }

  /** The other endpoint has it; it may take its time. */
  #handleReceived(now: Instant, entry: Tracked<Body>): void {
    this.#note(entry, "received");
    this.#release(entry);
    if (entry.patient) {
      entry.expiresAt = later(now, entry.timeoutMs);
      this.#expiry.set(entry, entry.expiresAt);
    }
    if (entry.state === "waiting") this.#plan(entry, later(now, this.#patience(entry)));
  }

  /** Repeats without waiting for its time what the receiver lacks though it has later packets. */
  #repeatLost(now: Instant, peer: Peer<Body>, latest: number): void {
    const lost = latest - this.#limits.reorderPacketsMax;
    if (lost <= 0) return;
    for (const entry of peer.numbered.values()) {
      if (entry.packet > lost) {
        // Later numbers left later, unless they are repetitions.
        if (entry.attempts === 1) return;
        continue;
      }
      if (entry.state === "waiting" && !isWithReceiver(entry)) this.#urge(entry, now);
    }
  }

  #note(entry: Tracked<Body>, progress: Progress): void {
    if ((entry.progress & progressBits[progress]) !== 0) return;
    entry.progress |= progressBits[progress];
    this.#effects.push({ type: "progress", entry, progress });
  }

  #release(entry: Tracked<Body>): void {
    if (!entry.isInFlight) return;
    entry.isInFlight = false;
    entry.of.inFlight--;
    entry.of.bytesInFlight -= entry.bytes;
  }

  #measure(now: Instant, entry: Tracked<Body>): void {
    if (entry.attempts !== 1 || entry.sentAt === undefined) return;
    entry.of.roundTrip.measure(now - entry.sentAt);
    entry.of.lastError = undefined;
    entry.sentAt = undefined;
  }

  #fail(entry: Tracked<Body>, error: CausewayError): void {
    entry.lastError = error;
    entry.of.lastError = error;
  }

  /** Why an entry whose time is over has failed: unknown only when a transmission may have arrived. */
  #expired(entry: Tracked<Body>): CausewayError {
    const { peer, timeoutMs, attempts, lastError } = entry;
    if (attempts === 0) {
      return (
        entry.of.lastError ??
        refuse(
          "CAUSEWAY_UNREACHABLE",
          `the message to ${peer} could not be sent within ${timeoutMs} ms; it was not taken`,
        )
      );
    }
    if (!mayHaveArrived(entry) && lastError) return lastError;
    return refuse(
      "CAUSEWAY_TIMEOUT",
      `expected ${peer} to take the message, got no acknowledgement within ${timeoutMs} ms and ${attempts} transmissions; it may have been taken`,
      { details: { messageId: entry.id, ...(lastError && { lastError: lastError.code }) } },
    );
  }

  /** Wait after a transmission. */
  #patience(entry: Tracked<Body>): number {
    return isWithReceiver(entry) ? this.#backoff(entry) : this.#jittered(entry.of.roundTrip.timeoutMs);
  }

  /** Wait that doubles with each attempt: for what failed, and for what is with the receiver. */
  #backoff(entry: Tracked<Body>): number {
    const { receivedRetryMsMin, retryMsFirst, retryMsMax } = this.#limits;
    const first = isWithReceiver(entry) ? receivedRetryMsMin : retryMsFirst;
    return this.#jittered(Math.min(retryMsMax, first * 2 ** Math.min(entry.attempts - 1, 20)));
  }

  #jittered(ms: number): number {
    return Math.round(ms * (1 + 0.2 * this.#random.fraction()));
  }

  #settle(entry: Tracked<Body>, error: CausewayError | undefined): void {
    if (!this.#entries.has(entry.id)) return;
    this.#finish(entry, error);
    if (error && entry.chained) this.#failBehind(entry, error);
    this.#fill(entry.of);
  }

  /** Before anything else leaves, since the next transmission tells the receiver to wait for `failed` no longer. */
  #failBehind(failed: Tracked<Body>, error: CausewayError): void {
    const behind = [...failed.in.entries.values()].filter(({ sequence }) => sequence > failed.sequence);
    for (const entry of behind) this.#finish(entry, error);
    for (const peer of new Set(behind.map(({ of }) => of))) if (peer !== failed.of) this.#fill(peer);
  }

  #finish(entry: Tracked<Body>, error: CausewayError | undefined): void {
    const { of: peer, in: lane } = entry;
    this.#entries.delete(entry.id);
    this.#due.clear(entry);
    this.#expiry.clear(entry);
    this.#bytes -= entry.bytes;
    if (peer.isBulk) this.#bulkBytes -= entry.bytes;
    this.#release(entry);
    peer.queue.delete(entry);
    if (entry.number !== undefined) peer.numbered.delete(entry.number);
    this.#effects.push({ type: "settled", entry, error });
    lane.entries.delete(entry.sequence);
    if (lane.isClosing && lane.entries.size === 0) this.#forgetLane(lane);
  }
}

/** The lowest key; `next` when there is none. */
function floorOf(held: ReadonlyMap<number, unknown>, next: number): number {
  const first = held.keys().next();
  return first.done ? next : first.value;
}

const keyOf = (peer: string, isBulk: boolean): string => (isBulk ? `${peer} bulk` : peer);

const progressBits = { accepted: 1, stored: 2, received: 4 } as const;

/** True when the receiver has it, or the gateway that will hand it over. */
function isWithReceiver({ progress }: Tracked<unknown>): boolean {
  return (progress & (progressBits.received | progressBits.stored)) !== 0;
}

/** True when a transmission may have brought it to the other endpoint, or surely has. */
function mayHaveArrived(entry: Tracked<unknown>): boolean {
  return entry.progress !== 0 || entry.unreported > 0 || entry.state === "sending";
}

/** Messages that are repeated when a peer confirms nothing. */
const askingMax = 64;
/** Peers whose channel and round trip are remembered when nothing is under way to them. */
const peersMax = 4_096;
const peersLookedAtMax = 64;
