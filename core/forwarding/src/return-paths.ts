/**
 * The way back to senders that no record tells of: an agent that is attached and not advertised can be answered by
 * those it wrote to, and reached by nobody else (ANA-97). A pair (sender, contact) is remembered when a frame of the
 * sender passes, and lasts a time after the last such frame; answering does not prolong it. The neighbour is remembered
 * once for each sender: it is where the sender was heard of last.
 *
 * Both tables are bounded, the least recently heard of go first. Names are compared in full: an equal hash is no pass.
 * Knows nothing of links: the table of neighbours says who is lost.
 */
import type { AgentId, GatewayUri, UnixMs } from "@causeway/core-base";
import { type FrameScan, TargetKind } from "@causeway/core-wire";
import type { PeerState } from "./agent-entry.ts";
import { asciiBytes, endOfAgent, hashBytes, isEqual } from "./name-map.ts";
import type { Verdict } from "./verdict.ts";

/** A neighbour with its ready-made verdict. */
export interface PeerRoute {
  readonly peer: PeerState;
  readonly verdict: Verdict;
}

export interface ReturnPathOptions {
  /** How long a way back lasts after the sender's last frame. */
  readonly lastsMs: number;
  /** Pairs of sender and contact, and senders, that are remembered. */
  readonly entriesMax: number;
}

/** Where a sender was heard of last. */
interface Sender {
  readonly name: Uint8Array;
  route: PeerRoute;
  /** The neighbour is of the sender's own domain or of ours. */
  isVouchedFor: boolean;
  at: UnixMs;
}

/** That a sender wrote to this agent, or to an agent below this prefix. */
interface Contact {
  readonly sender: Sender;
  readonly name: Uint8Array;
  isPrefix: boolean;
  at: UnixMs;
}

/** Ways back to senders without an entry in the forwarding table. */
export class ReturnPaths {
  #lastsMs: number;
  #max: number;
  /** By hash of the name, the least recently heard of first. */
  readonly #senders = new Map<number, Sender>();
  /** By hashes of both names, the least recently used first. One whose sender was forgotten leads nowhere. */
  readonly #contacts = new Map<number, Contact>();

  constructor(options: ReturnPathOptions) {
    this.#lastsMs = options.lastsMs;
    this.#max = Math.max(1, options.entriesMax);
  }

  /** How many times a first sender was learned: while it stays and there was none, there is none. */
  version = 0;

  /** Other bounds from now on. */
  setBounds({ lastsMs, entriesMax }: ReturnPathOptions): void {
    this.#lastsMs = lastsMs;
    this.#max = Math.max(1, entriesMax);
    for (const map of [this.#senders, this.#contacts]) {
      for (const key of map.keys()) {
        if (map.size <= this.#max) break;
        map.delete(key);
      }
    }
  }

  /** Number of senders. */
  get size(): number {
    return this.#senders.size;
  }

  /**
   * Notes that the scanned frame's source, without instance up to `sourceEnd`, came over `route` and wrote to the
   * target. While a neighbour vouches for the sender, one that does not cannot take its answers over.
   */
  note(scan: FrameScan, sourceEnd: number, route: PeerRoute, isVouchedFor: boolean, now: UnixMs): void {
    const { buf, sourceStart, targetStart } = scan;
    const hash = hashBytes(buf, sourceStart, sourceEnd);
    let sender = this.#senderAt(hash, buf, sourceStart, sourceEnd, now);
    if (sender === undefined) {
      if (this.#senders.size === 0) this.version++;
      sender = { name: copyOf(buf, sourceStart, sourceEnd), route, isVouchedFor, at: now };
      this.#keep(this.#senders, hash, sender);
    } else if (sender.route !== route || sender.isVouchedFor !== isVouchedFor) {
      if (sender.isVouchedFor && !isVouchedFor) return;
      sender.route = route;
      sender.isVouchedFor = isVouchedFor;
    }
    if (this.#isDue(sender, now)) this.#touch(this.#senders, hash, sender, now);
    const targetEnd = endOfContact(scan);
    const key = keyOf(hash, hashBytes(buf, targetStart, targetEnd));
    const contact = this.#contacts.get(key);
    const isPrefix = scan.targetKind === TargetKind.prefix;
    if (contact?.sender !== sender || !isEqual(contact.name, buf, targetStart, targetEnd)) {
      this.#keep(this.#contacts, key, { sender, name: copyOf(buf, targetStart, targetEnd), isPrefix, at: now });
      return;
    }
    contact.isPrefix ||= isPrefix;
    if (this.#isDue(contact, now)) this.#touch(this.#contacts, key, contact, now);
  }

  /** The way back to the target if it wrote to the source, or to a prefix that covers it. Ends are those of the agents. */
  find(scan: FrameScan, targetEnd: number, sourceEnd: number, now: UnixMs): PeerRoute | undefined {
    const { buf, targetStart, sourceStart } = scan;
    const hash = hashBytes(buf, targetStart, targetEnd);
    const sender = this.#senderAt(hash, buf, targetStart, targetEnd, now);
    if (sender === undefined) return undefined;
    for (let end = sourceEnd; end > sourceStart + schemeBytes; end = parentOf(buf, sourceStart, end)) {
      const contact = this.#contacts.get(keyOf(hash, hashBytes(buf, sourceStart, end)));
      if (contact?.sender !== sender || !this.#isFresh(contact, now)) continue;
      if ((end === sourceEnd || contact.isPrefix) && isEqual(contact.name, buf, sourceStart, end)) return sender.route;
    }
    return undefined;
  }

  /** The way back to a sender, whoever asks: for what gateways themselves have to say. */
  findSender(buf: Uint8Array, start: number, end: number, now: UnixMs): PeerRoute | undefined {
    return this.#senderAt(hashBytes(buf, start, end), buf, start, end, now)?.route;
  }

  /** Every remembered sender and where it was heard of, the least recently heard of first. */
  *senders(): Generator<{ readonly agentId: AgentId; readonly peer: GatewayUri; readonly at: UnixMs }> {
    for (const { name, route, at } of this.#senders.values()) {
      yield { agentId: String.fromCharCode(...name) as AgentId, peer: route.peer.uri, at };
    }
  }

  /** The agent has come, gone or been withdrawn: what was known of its whereabouts says nothing any more. */
  forget(agentId: AgentId): void {
    if (this.#senders.size === 0) return;
    const name = asciiBytes(agentId);
    const hash = hashBytes(name, 0, name.length);
    const sender = this.#senders.get(hash);
    if (sender !== undefined && isEqual(sender.name, name, 0, name.length)) this.#senders.delete(hash);
  }

  /** The neighbour is lost, and with it all that it led to. */
  forgetPeer(peer: GatewayUri): void {
    for (const [hash, sender] of this.#senders) if (sender.route.peer.uri === peer) this.#senders.delete(hash);
  }

  /** Takes out what has lasted its time. */
  expire(now: UnixMs): void {
    for (const [hash, sender] of this.#senders) {
      if (this.#isFresh(sender, now)) break;
      this.#senders.delete(hash);
    }
    for (const [key, contact] of this.#contacts) {
      if (this.#isFresh(contact, now)) break;
      this.#contacts.delete(key);
    }
  }

  #senderAt(hash: number, buf: Uint8Array, start: number, end: number, now: UnixMs): Sender | undefined {
    const sender = this.#senders.get(hash);
    if (sender === undefined || !this.#isFresh(sender, now)) return undefined;
    return isEqual(sender.name, buf, start, end) ? sender : undefined;
  }

  #isFresh(entry: { readonly at: UnixMs }, now: UnixMs): boolean {
    return now - entry.at <= this.#lastsMs;
  }

  /** Times are noted coarsely, so that a stream of messages does not move its entry with each of them. */
  #isDue(entry: { readonly at: UnixMs }, now: UnixMs): boolean {
    return now - entry.at > this.#lastsMs / coarseness;
  }

  #touch<T extends { at: UnixMs }>(map: Map<number, T>, key: number, value: T, now: UnixMs): void {
    value.at = now;
    this.#keep(map, key, value);
  }

  #keep<T>(map: Map<number, T>, key: number, value: T): void {
    map.delete(key);
    map.set(key, value);
    if (map.size <= this.#max) return;
    const { value: oldest } = map.keys().next();
    if (oldest !== undefined) map.delete(oldest);
  }
}

/** `slice` of a Node buffer copies nothing, and one name would hold on to all that was read with it. */
const copyOf = (buf: Uint8Array, start: number, end: number): Uint8Array => new Uint8Array(buf.subarray(start, end));

/** Where the name of the contacted ends: without instance, and without the slash at the end of a prefix. */
function endOfContact(scan: FrameScan): number {
  const { buf, targetStart, targetEnd } = scan;
  if (scan.targetKind === TargetKind.prefix) return buf[targetEnd - 1] === slash ? targetEnd - 1 : targetEnd;
  return endOfAgent(buf, targetStart, targetEnd);
}

/** Where the name without its last segment ends. */
function parentOf(buf: Uint8Array, start: number, end: number): number {
  let i = end - 1;
  while (i > start && buf[i] !== slash) i--;
  return i;
}

const keyOf = (sender: number, contact: number): number => (sender & 0x1fffff) * 0x100000000 + (contact >>> 0);

const slash = 0x2f;
/** Length of "spiffe://". */
const schemeBytes = 9;
const coarseness = 32;
