/**
 * The way out of messages: the outbox decides what leaves when, and what waits for the same agent leaves together, as one
 * packet in one MLS message, so that many messages share one signature. While two packets are on their way through
 * encryption, the next one fills. Acknowledgements travel along.
 */
import {
  agentOf,
  CausewayError,
  type Instant,
  type Random,
  refuse,
  type Scheduler,
  type SpiffeId,
} from "@causeway/core-base";
import { type ChannelState, Outbox, type OutEntry, type Progress, type SessionLimits } from "@causeway/core-session";
import { fromHex, toHex } from "../bytes.ts";
import { WakeUp } from "../clock.ts";
import type { HeaderFacts, SealedSender } from "../sealed-sender.ts";
import { bytesOf, type SessionBody } from "./messages.ts";
import { encodePacket, type PackedMessage } from "./packets.ts";
import { SilentInstances, silentInstanceMs } from "./silent-instances.ts";

/** What a sender asks of gateways. */
export interface GatewayWishes {
  /** The own gateway says that it passed the message on. */
  readonly wantsAccepted: boolean;
  /** The target's gateway stores it in any case, and says so. */
  readonly wantsStored: boolean;
  /** Hop records for `explain`. */
  readonly trace: boolean;
}

/** One message for the way out. */
export interface Parcel extends GatewayWishes {
  /** The target: an agent or one instance of it. */
  readonly to: SpiffeId;
  /** Hex. */
  readonly id: string;
  readonly body: SessionBody;
  readonly expiresUnixMs: number;
  readonly isBulk: boolean;
  readonly onProgress: (progress: Progress) => void;
  /** Once, with the error when it is settled badly. For a best-effort message: it left. */
  readonly onSettled: (error?: CausewayError) => void;
}

/** How a reliable message is brought over. */
export interface Promised {
  readonly lane: string;
  readonly timeoutMs: number;
  /** Each sign that the receiver has it starts `timeoutMs` again. */
  readonly patient: boolean;
}

export interface DeparturePorts {
  readonly limits: SessionLimits;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly sender: SealedSender;
  /** Acknowledgements for an address that are ready to travel along. */
  readonly takeAcks: (address: string) => readonly ChannelState[];
  readonly onSent: (messages: number, repeated: number) => void;
  /** The instance that messages under an agent's name went to is silent; the next ones are to meet one anew. */
  readonly onSilent: (context: Uint8Array) => void;
  /** Calls `run` when the process has read what there is to read. */
  readonly nextTurn: (run: () => void) => void;
}

interface Outgoing {
  readonly parcel: Parcel;
  contextsLost: number;
}

/** What waits for one target, of bulk or of all else. */
interface Line {
  readonly to: SpiffeId;
  readonly isBulk: boolean;
  reliable: OutEntry<Outgoing>[];
  /** Of `reliable`, those that have left. */
  gone: number;
  readonly plain: Parcel[];
  wantsAcks: boolean;
  isScheduled: boolean;
  /** Packets on their way through encryption and onto the link. */
  active: number;
  /** The instance that the last packet went to: acknowledgements for it may travel along. */
  address: string | undefined;
}

export class Departures {
  readonly #ports: DeparturePorts;
  readonly #outbox: Outbox<Outgoing>;
  readonly #lines = new Map<string, Line>();
  readonly #instances = new SilentInstances();
  readonly #retries: WakeUp;

  constructor(ports: DeparturePorts) {
    this.#ports = ports;
    this.#outbox = new Outbox(ports.limits, ports.random);
    this.#retries = new WakeUp(ports.scheduler, () => {
      this.#outbox.handleTimeout(this.#now());
      this.#pump();
    });
  }

  /** Sends until the other agent has taken it. Throws at a bound. */
  promise(parcel: Parcel, promised: Promised): void {
    const { to, id, isBulk } = parcel;
    const bytes = sizeOf(parcel);
    this.#outbox.add(this.#now(), {
      peer: to,
      agent: agentOf(to),
      id,
      bytes,
      body: { parcel, contextsLost: 0 },
      isBulk,
      ...promised,
    });
    this.#pump();
  }

  /** Sends once. */
  attempt(parcel: Parcel): void {
    sizeOf(parcel);
    const line = this.#line(parcel.to, parcel.isBulk);
    if (line.plain.length >= plainMax) {
      const problem = `expected at most ${plainMax} best-effort messages to wait for one agent; await earlier ones first`;
      throw refuse("CAUSEWAY_FORWARDING_OVERLOADED", problem);
    }
    line.plain.push(parcel);
    this.#schedule(line);
  }

  /** Sends the acknowledgements for an address soon, along with other things if there are any. */
  acknowledge(address: SpiffeId): void {
    const line = this.#line(address, false);
    line.wantsAcks = true;
    this.#schedule(line);
  }

  cancel(id: string, error: CausewayError): void {
    this.#outbox.cancel(this.#now(), id, error);
    this.#pump();
  }

  cancelLane(lane: string, error: CausewayError): void {
    this.#outbox.cancelLane(this.#now(), lane, error);
    this.#pump();
  }

  cancelAll(error: CausewayError): void {
    for (const line of this.#lines.values()) for (const { onSettled } of line.plain.splice(0)) onSettled(error);
    this.#outbox.cancelAll(this.#now(), error);
    this.#pump();
  }

  closeLane(lane: string): void {
    this.#outbox.closeLane(lane);
  }

  /** To whom there is a way from now on. */
  setReach(reaches: (to: SpiffeId) => boolean): void {
    this.#outbox.setReach(this.#now(), (peer) => reaches(peer as SpiffeId));
    this.#pump();
  }

  /** What an agent says of messages to it. */
  handleReport(from: string, reports: Parameters<Outbox<Outgoing>["handleReportOfChannel"]>[2][]): void {
    for (const report of reports) this.#outbox.handleReportOfChannel(this.#now(), from, report);
    if (reports.length > 0) this.#pump();
  }

  /** Something came from an agent, which has a name of its own when it is one of several instances. */
  handleHeard(address: string): void {
    this.#instances.noteHeard(address);
  }

  /** What a gateway says of messages. False when none of them is under way. */
  handleFate(ids: readonly string[], fate: "accepted" | "stored" | CausewayError): boolean {
    let isKnown = false;
    for (const id of ids) {
      if (!this.#outbox.bodyOf(id)) continue;
      isKnown = true;
      if (fate instanceof CausewayError) this.#outbox.handleReport(this.#now(), id, fate);
      else this.#outbox.handleProgress(this.#now(), id, fate);
    }
    this.#pump();
    return isKnown;
  }

  /** Their security context was lost: they leave again under a new one, a few times. */
  repeatInNewContext(ids: readonly string[], error: CausewayError): void {
    for (const id of ids) {
      const outgoing = this.#outbox.bodyOf(id);
      if (!outgoing) continue;
      outgoing.contextsLost++;
      if (outgoing.contextsLost <= contextsLostMax) this.#outbox.resend(this.#now(), id);
      else this.#outbox.handleReport(this.#now(), id, error);
    }
    this.#pump();
  }

  /** Performs what the outbox wants, until it wants nothing more. */
  #pump(): void {
    for (let effects = this.#outbox.drain(); effects.length > 0; effects = this.#outbox.drain()) {
      for (const effect of effects) {
        const { parcel } = effect.entry.body;
        if (effect.type === "progress") parcel.onProgress(effect.progress);
        else if (effect.type === "settled") {
          parcel.onSettled(effect.error);
          if (effect.error) this.#leaveSilent(parcel);
        } else {
          const line = this.#line(parcel.to, parcel.isBulk);
          line.reliable.push(effect.entry);
          this.#schedule(line);
        }
      }
    }
    this.#retries.set(this.#outbox.deadline());
  }

  /**
   * Ends the session with an instance that is silent. What left for it may have been taken, and nobody will know: it goes
   * to no other instance.
   */
  #leaveSilent({ to, isBulk }: Parcel): void {
    const silent = this.#instances.takeSilent(this.#now(), keyOf(to, isBulk));
    if (!silent) return;
    const problem = `nothing was heard from ${silent.address} for ${silentInstanceMs} ms; the message may have been taken`;
    const hasLeft = (entry: OutEntry<Outgoing>): boolean =>
      entry.body.parcel.to === to && entry.body.parcel.isBulk === isBulk && entry.attempts > 0;
    this.#outbox.cancelAll(this.#now(), refuse("CAUSEWAY_TIMEOUT", problem), hasLeft);
    this.#ports.onSilent(silent.context);
  }

  #line(to: SpiffeId, isBulk: boolean): Line {
    const key = keyOf(to, isBulk);
    let line = this.#lines.get(key);
    if (!line) {
      line = {
        to,
        isBulk,
        reliable: [],
        gone: 0,
        plain: [],
        wantsAcks: false,
        isScheduled: false,
        active: 0,
        address: undefined,
      };
      this.#lines.set(key, line);
    }
    return line;
  }

  /** At the end of this turn of the application, so that everything that it sends leaves together. */
  #schedule(line: Line): void {
    if (line.isScheduled || line.active >= activeMax) return;
    line.isScheduled = true;
    const depart = (): void => {
      line.isScheduled = false;
      void this.#depart(line);
    };
    // A backlog of bulk is encrypted for seconds; what is interactive gets its turn in between.
    if (line.isBulk) this.#ports.nextTurn(depart);
    else queueMicrotask(depart);
  }

  async #depart(line: Line): Promise<void> {
    const load = this.#load(line);
    if (!load) {
      if (line.active === 0) this.#lines.delete(keyOf(line.to, line.isBulk));
      return;
    }
    line.active++;
    if (line.active < activeMax && (line.reliable.length > 0 || line.plain.length > 0)) this.#schedule(line);
    const ids = load.entries.map(({ id }) => id);
    let failure: CausewayError | undefined;
    try {
      line.address = await this.#ports.sender.send(line.to, load.packetId, load.plaintext, load.facts, load.ids);
      const context = this.#ports.sender.departed(toHex(load.packetId))?.context;
      if (context && line.address !== line.to && load.entries.length > 0)
        this.#instances.noteSent(this.#now(), keyOf(line.to, line.isBulk), { address: line.address, context });
    } catch (thrown) {
      failure = CausewayError.from(thrown);
    }
    this.#ports.onSent(Math.max(1, load.ids.length), load.entries.filter(({ attempts }) => attempts > 1).length);
    line.active--;
    for (const { onSettled } of load.plain) onSettled(failure);
    this.#outbox.handleTransmitted(this.#now(), ids, failure);
    this.#pump();
    this.#schedule(line);
  }

  /** The next packet of a line; undefined when nothing waits. */
  #load(line: Line): Load | undefined {
    const room = new Room(line.isBulk);
    const entries: OutEntry<Outgoing>[] = [];
    for (; line.gone < line.reliable.length; line.gone++) {
      const entry = line.reliable[line.gone] as OutEntry<Outgoing>;
      // What was settled while it waited need not leave.
      if (!this.#outbox.bodyOf(entry.id)) continue;
      if (!room.takes(entry.body.parcel, entry.bytes, true)) break;
      entries.push(entry);
    }
    if (line.gone === line.reliable.length) {
      line.reliable = [];
      line.gone = 0;
    }
    const plain: Parcel[] = [];
    while (line.plain[0] && room.takes(line.plain[0], sizeOf(line.plain[0]), false))
      plain.push(line.plain.shift() as Parcel);
    const address = line.address ?? line.to;
    // Acknowledgements do not wait behind bulk: they leave by themselves, if nothing else does.
    const takesAcks = !line.isBulk && (line.wantsAcks || entries.length + plain.length > 0);
    const acks = takesAcks ? this.#ports.takeAcks(address) : [];
    line.wantsAcks = false;
    const ids = [...entries.map(({ id }) => id), ...plain.map(({ id }) => id)];
    if (ids.length === 0 && acks.length === 0) return undefined;
    return { ...this.#pack(line, entries, plain, acks, room), entries, plain, ids };
  }

  #pack(
    { to, isBulk }: Line,
    entries: readonly OutEntry<Outgoing>[],
    plain: readonly Parcel[],
    acks: readonly ChannelState[],
    { facts, bytes }: Room,
  ): Pick<Load, "packetId" | "plaintext" | "facts"> {
    const { channel, floor: channelFloor } =
      entries.length > 0 ? this.#outbox.channelOf(to, isBulk) : { channel: "", floor: 0 };
    const messages: PackedMessage[] = [];
    for (const { id, sequence, lane, body } of entries) {
      const position = this.#outbox.positionOf(id);
      if (!position) continue;
      const { body: content, expiresUnixMs } = body.parcel;
      messages.push({ id, body: content, expiresUnixMs, reliable: { ...position, lane, sequence } });
    }
    for (const { id, body, expiresUnixMs } of plain) messages.push({ id, body, expiresUnixMs });
    const [only] = messages;
    // One that travels alone is known to gateways by its own id, others by that of their packet.
    const id = only && messages.length === 1 ? only.id : toHex(this.#ports.sender.newId());
    const plaintext = encodePacket({ id, messages, channel, channelFloor, acks }, bytes + 1_024);
    return { packetId: fromHex(id), plaintext, facts };
  }

  #now(): Instant {
    return this.#ports.scheduler.now().instant;
  }
}

/** One packet on its way. */
interface Load {
  readonly packetId: Uint8Array;
  readonly plaintext: Uint8Array;
  readonly facts: HeaderFacts;
  readonly entries: readonly OutEntry<Outgoing>[];
  readonly plain: readonly Parcel[];
  /** Of all messages, hex. */
  readonly ids: readonly string[];
}

/** What still fits into a packet, and what its header says: only messages with the same wishes travel together. */
class Room {
  readonly #isBulk: boolean;
  readonly #bytesMax: number;
  #count = 0;
  #bytes = 0;
  #wishes: GatewayWishes | undefined;
  #expiresUnixMs = 0;
  #isReliable = false;

  constructor(isBulk: boolean) {
    this.#isBulk = isBulk;
    this.#bytesMax = isBulk ? bulkPacketBytesMax : packetBytesMax;
  }

  takes(parcel: Parcel, bytes: number, isReliable: boolean): boolean {
    const wishes = this.#wishes;
    if (wishes) {
      // A traced message travels alone: hop records are kept by the id in the header.
      if (wishes.trace || parcel.trace) return false;
      if (wishes.wantsAccepted !== parcel.wantsAccepted || wishes.wantsStored !== parcel.wantsStored) return false;
      if (this.#isReliable !== isReliable) return false;
      if (this.#count >= packetMessagesMax || this.#bytes + bytes > this.#bytesMax) return false;
    }
    this.#count++;
    this.#bytes += bytes;
    this.#expiresUnixMs =
      parcel.expiresUnixMs === 0 || (wishes && this.#expiresUnixMs === 0)
        ? 0
        : Math.max(this.#expiresUnixMs, parcel.expiresUnixMs);
    this.#wishes = parcel;
    this.#isReliable = isReliable;
    return true;
  }

  /** Of what it took. */
  get bytes(): number {
    return this.#bytes;
  }

  get facts(): HeaderFacts {
    const { trace = false, wantsAccepted = false, wantsStored = false } = this.#wishes ?? {};
    return {
      trace,
      wantsAccepted,
      wantsStored,
      expiresUnixMs: this.#expiresUnixMs,
      isReliable: this.#isReliable,
      isBulk: this.#isBulk,
    };
  }
}

const keyOf = (to: SpiffeId, isBulk: boolean): string => (isBulk ? `${to} bulk` : to);

/** Bytes of a message for the bounds. Throws when it is too large for any packet. */
function sizeOf({ body }: Parcel): number {
  const bytes = bytesOf(body);
  if (bytes > contentBytesMax) {
    const problem = `expected at most ${contentBytesMax} bytes of content and what goes with it, got ${bytes}; send it in parts`;
    throw refuse("CAUSEWAY_FORWARDING_TOO_LARGE", problem);
  }
  return bytes + overheadBytes;
}

/** Hex of a fresh 16-byte lane. */
export function newLane(random: Random): string {
  return toHex(random.bytes(16));
}

/**
 * Content of one message. Padding goes in steps of an eighth of a doubling, so the largest padded size below the 4 MiB of
 * an envelope is 15/16 of it; of that, acknowledgements and the fields around the content take up to 64 KiB.
 */
const contentBytesMax = (4_194_304 / 16) * 15 - 65_536;
const overheadBytes = 256;
/** A packet takes further messages up to these. */
const packetMessagesMax = 256;
const packetBytesMax = 131_072;
/** Of bulk, which keeps the process and the link busy for so much at a time. */
const bulkPacketBytesMax = 65_536;
/** Packets to one agent on their way through encryption. */
const activeMax = 2;
/** Best-effort messages that wait for one agent. */
const plainMax = 16_384;
/** New groups because of one message. */
const contextsLostMax = 3;
