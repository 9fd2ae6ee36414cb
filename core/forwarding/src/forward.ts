/**
 * The data plane's one decision (AAP-31, AAP-75 to AAP-78): routing header, table, policy and time in, a shared verdict
 * out. Makes no objects and no strings on its usual paths. It gets the scan of a frame and reads only the header's
 * ranges: the payload cannot influence it (AAP-97). The caller acts on the verdict at once, before the next change.
 */
import type { UnixMs } from "@causeway/core-base";
import { type FrameScan, type SeenName, TargetKind } from "@causeway/core-wire";
import type { AgentEntry, InstanceSlot } from "./agent-entry.ts";
import { asksForAnswer, isFromGateway } from "./control-frame.ts";
import { endOfAgent } from "./name-map.ts";
import { covers, type ForwardingPolicy } from "./policy.ts";
import type { PrefixGroup } from "./prefix-groups.ts";
import { reasonTexts } from "./reasons.ts";
import { recall, remember } from "./recent-verdict.ts";
import type { PeerRoute } from "./return-paths.ts";
import type { Arrival, RouteReason } from "./route.ts";
import { type ForwardingTable, isBetterChoice } from "./table.ts";
import type { Verdict } from "./verdict.ts";

/** Members of a prefix group that one choice looks at, at most. */
const anycastMembersMax = 256;

/**
 * Decides what happens to one message or control frame. Changes nothing but the table's memory of choices and of senders
 * without entry.
 */
export function forward(
  scan: FrameScan,
  table: ForwardingTable,
  policy: ForwardingPolicy,
  arrival: Arrival,
  now: UnixMs,
): Verdict {
  if (scan.expiresUnixMs !== 0 && scan.expiresUnixMs < now) return drops.expired;
  const { known } = scan;
  if (known !== undefined) {
    const verdict = recall(known, table, policy, arrival);
    if (verdict !== undefined) return verdict;
  }
  const found = decide(scan, table, policy, arrival, now);
  if (known !== undefined) remember(known, scan.targetKind, table, policy, arrival, found);
  return found;
}

function decide(
  scan: FrameScan,
  table: ForwardingTable,
  policy: ForwardingPolicy,
  arrival: Arrival,
  now: UnixMs,
): Verdict {
  const refused = checkSource(scan, table, arrival) ?? policy.check(scan);
  if (refused !== undefined) return refused;
  if (scan.targetKind === TargetKind.topic) return topicVerdict;
  const found =
    scan.targetKind === TargetKind.prefix ? toPrefix(scan, table, arrival, now) : toAgent(scan, table, arrival, now);
  // A TTL of n passes n gateways; the last may still deliver (AAP-71).
  if (found.action === "relay" && scan.hopTtl <= 1) return drops.ttlExhausted;
  if (arrival.kind === "peer" && found.action !== "drop") rememberSender(scan, table, arrival, now);
  return found;
}

/**
 * A sender that no record tells of can be answered the way it came. An agent attached here has an entry, and what came
 * over the uplink is answered by default over the uplink, so that only frames of other neighbours are looked at; unless
 * answers would be asked for instead.
 */
function rememberSender(
  scan: FrameScan,
  table: ForwardingTable,
  arrival: Extract<Arrival, { kind: "peer" }>,
  now: UnixMs,
): void {
  if (table.uplink?.peer.uri === arrival.peer && table.unknownTargets === "default-route") return;
  const end = endOfAgentIn(scan.sourceName, scan.buf, scan.sourceStart, scan.sourceEnd);
  const name = end === scan.sourceEnd ? scan.sourceName : undefined;
  if (table.has(scan.buf, scan.sourceStart, end, name)) return;
  if (!asksForAnswer(scan)) return;
  const isVouchedFor = arrival.domain === table.domain || isOfDomain(scan, arrival.domain);
  table.returnPaths.note(scan, end, table.wayBack(arrival.peer), isVouchedFor, now);
}

/** Where the Agent ID ends; known of a name that was seen before. */
function endOfAgentIn(name: SeenName | undefined, buf: Uint8Array, start: number, end: number): number {
  return name === undefined || name.hasInstance ? endOfAgent(buf, start, end) : end;
}

function isOfDomain(scan: FrameScan, domain: string): boolean {
  const from = scan.sourceStart + schemeBytes;
  return startsWith(scan.buf, from, scan.sourceEnd - from, domain) && scan.buf[from + domain.length] === 0x2f;
}

/** AAP-42: an agent speaks for itself only. And nobody outside speaks for an agent of our domain. */
function checkSource(scan: FrameScan, table: ForwardingTable, arrival: Arrival): Verdict | undefined {
  if (arrival.kind === "agent") return isSourceOf(scan, arrival) ? undefined : drops.sourceNotAttached;
  if (arrival.kind === "own" || arrival.domain === table.domain) return undefined;
  return covers(table.domainBytes, scan.buf, scan.sourceStart, scan.sourceEnd) ? drops.sourceFromOutside : undefined;
}

/** Looks at the bytes once for each seen name and link in a row. */
function isSourceOf(scan: FrameScan, arrival: Extract<Arrival, { kind: "agent" }>): boolean {
  const name = scan.sourceName;
  if (name !== undefined && name === provenName && arrival === provenArrival) return true;
  if (!hasBytesOf(scan, arrival.agentId, arrival.instance)) return false;
  provenName = name;
  provenArrival = arrival;
  return true;
}

function hasBytesOf(scan: FrameScan, agentId: string, instance: string): boolean {
  const { buf, sourceStart, sourceEnd } = scan;
  const length = sourceEnd - sourceStart;
  if (!startsWith(buf, sourceStart, length, agentId)) return false;
  const rest = length - agentId.length;
  if (rest === 0) return true;
  const at = sourceStart + agentId.length;
  return (
    rest === instance.length + 2 &&
    buf[at] === 0x2f &&
    buf[at + 1] === 0x40 &&
    startsWith(buf, at + 2, rest - 2, instance)
  );
}

function startsWith(buf: Uint8Array, start: number, length: number, text: string): boolean {
  if (length < text.length) return false;
  for (let i = 0; i < text.length; i++) if (buf[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

function toAgent(scan: FrameScan, table: ForwardingTable, arrival: Arrival, now: UnixMs): Verdict {
  const { buf, targetStart, targetEnd } = scan;
  const agentEnd = endOfAgentIn(scan.targetName, buf, targetStart, targetEnd);
  const entry = table.lookup(buf, targetStart, agentEnd, agentEnd === targetEnd ? scan.targetName : undefined);
  if (entry === undefined) return toUnknown(scan, table, arrival, now);
  if (agentEnd === targetEnd) return toEntry(entry, scan, table, arrival);
  return toInstance(entry, scan, agentEnd + 2, arrival);
}

/** One named instance (BEY-7): here, or wherever else the agent is attached. */
function toInstance(entry: AgentEntry, scan: FrameScan, nameStart: number, arrival: Arrival): Verdict {
  for (const [name, slot] of entry.instances) {
    if (name.length === scan.targetEnd - nameStart && startsWith(scan.buf, nameStart, name.length, name)) {
      return slot.attachment.stale ? entry.stale : slot.named;
    }
  }
  return takeWay(entry, arrival, true);
}

function toEntry(entry: AgentEntry, scan: FrameScan, table: ForwardingTable, arrival: Arrival): Verdict {
  if (entry.relay !== undefined && (arrival.kind !== "peer" || arrival.peer !== entry.relayTo)) return entry.relay;
  const first = entry.ways[0];
  if (first?.peer === undefined && entry.live.length > 0) return toLive(entry, scan, table);
  const verdict = takeWay(entry, arrival, false);
  // The better way may lead back to the arrival while an attachment here is alive.
  return verdict.action === "relay" || entry.live.length === 0 ? verdict : toLive(entry, scan, table);
}

function toLive(entry: AgentEntry, scan: FrameScan, table: ForwardingTable): Verdict {
  const only = entry.live[0];
  if (only !== undefined && entry.live.length === 1) return only.only;
  const source = table.hash(scan.buf, scan.sourceStart, scan.sourceEnd);
  const before = table.sticky.get(source, entry.number) as InstanceSlot | undefined;
  const held = before && entry.instances.get(before.attachment.instance);
  // The slot object changes when the instance turns stale and back; the link tells whether it is the same attachment.
  // Live are the instances that run well; the degraded ones only when there are no others.
  const isLive =
    held !== undefined &&
    !held.attachment.stale &&
    (held.attachment.degraded !== true || entry.live[0]?.attachment.degraded === true);
  if (isLive && held.attachment.link === before?.attachment.link) return held.sticky;
  let best: InstanceSlot | undefined;
  for (const slot of entry.live) if (best === undefined || slot.sources < best.sources) best = slot;
  if (best === undefined) return entry.stale;
  best.sources++;
  table.sticky.set(source, entry.number, best);
  return best.leastLoaded;
}

/** The best way that doesn't lead back to where the message came from. */
function takeWay(entry: AgentEntry, arrival: Arrival, isRemoteOnly: boolean): Verdict {
  let isBackOnly = false;
  for (const way of entry.ways) {
    if (way.peer === undefined) {
      if (!isRemoteOnly) return way.verdict;
      continue;
    }
    if (!way.isUsable) continue;
    if (arrival.kind === "peer" && arrival.peer === way.peer.uri) {
      isBackOnly = true;
      continue;
    }
    return way.verdict;
  }
  const here = entry.ways.find((way) => way.peer === undefined);
  if (here !== undefined)
    return here.verdict.action === "hold" && entry.live.length === 0 ? here.verdict : notAttached(entry);
  return isBackOnly ? drops.onlyWayIsBack : drops.peerLost;
}

/** The agent is attached here, but not as the instance that was named. */
function notAttached(entry: AgentEntry): Verdict {
  return { action: "hold", agentId: entry.agentId, code: "CAUSEWAY_FORWARDING_NOT_ATTACHED", reason: "not-attached" };
}

function toUnknown(scan: FrameScan, table: ForwardingTable, arrival: Arrival, now: UnixMs): Verdict {
  const prefix = table.lookupPrefix(scan.buf, scan.targetStart, scan.targetEnd);
  if (prefix !== undefined) return toPeer(prefix, arrival);
  const back = table.returnPaths.size === 0 ? undefined : wayBack(scan, table, arrival, now);
  if (back !== undefined) return toPeer(back, arrival);
  if (table.unknownTargets === "query" && canBeAskedFor(scan, arrival)) return askVerdict;
  // Only what starts here goes up by default: an edge gateway carries nothing from one neighbour to another.
  if (table.uplink !== undefined && arrival.kind !== "peer") return toPeer(table.uplink, arrival);
  return drops.noEntry;
}

/** What an agent here sends to one agent, and waits for. Answers and reports go by default, as nobody waits for them. */
function canBeAskedFor(scan: FrameScan, arrival: Arrival): boolean {
  return arrival.kind === "agent" && scan.targetKind === TargetKind.agent && asksForAnswer(scan);
}

/** For the agents that the target wrote to; and for the gateways on the way, which say what became of it. */
function wayBack(scan: FrameScan, table: ForwardingTable, arrival: Arrival, now: UnixMs): PeerRoute | undefined {
  if (scan.targetKind !== TargetKind.agent) return undefined;
  const { buf, targetStart, sourceStart } = scan;
  const targetEnd = endOfAgent(buf, targetStart, scan.targetEnd);
  if (!asksForAnswer(scan) && (arrival.kind === "own" || isFromGateway(scan)))
    return table.returnPaths.findSender(buf, targetStart, targetEnd, now);
  return table.returnPaths.find(scan, targetEnd, endOfAgent(buf, sourceStart, scan.sourceEnd), now);
}

function toPeer(route: PeerRoute, arrival: Arrival): Verdict {
  if (!route.peer.isUp) return drops.peerLost;
  return arrival.kind === "peer" && arrival.peer === route.peer.uri ? drops.unknownWayIsBack : route.verdict;
}

/** Any one agent below the prefix (AAP-69); the same one for the same source while it can be reached. */
function toPrefix(scan: FrameScan, table: ForwardingTable, arrival: Arrival, now: UnixMs): Verdict {
  const group = table.lookupGroup(scan.buf, scan.targetStart, scan.targetEnd);
  if (group === undefined) return toUnknown(scan, table, arrival, now);
  const source = table.hash(scan.buf, scan.sourceStart, scan.sourceEnd);
  const before = table.sticky.get(source, group.number) as AgentEntry | undefined;
  if (before?.positions.has(group)) {
    const verdict = toEntry(table.fresh(before), scan, table, arrival);
    if (verdict.action === "deliver" || verdict.action === "relay") return verdict;
  }
  const chosen = chooseMember(group, table, arrival);
  if (chosen === undefined) return drops.onlyWayIsBack;
  table.sticky.set(source, group.number, chosen);
  return toEntry(chosen, scan, table, arrival);
}

/**
 * Attached here first. For messages of our own agents choices go round; a message from a neighbour takes the nearest
 * member, so that every hop brings it nearer and it cannot circle.
 */
function chooseMember(group: PrefixGroup, table: ForwardingTable, arrival: Arrival): AgentEntry | undefined {
  const { members } = group;
  const count = Math.min(members.length, anycastMembersMax);
  let best: AgentEntry | undefined;
  for (let i = 0; i < count; i++) {
    const entry = table.fresh(members[(group.cursor + i) % members.length] as AgentEntry);
    if (arrival.kind === "peer" && entry.live.length === 0 && entry.ways[0]?.peer?.uri === arrival.peer) continue;
    if (best === undefined || isBetterMember(entry, best, arrival)) best = entry;
  }
  group.cursor = (group.cursor + 1) % members.length;
  return best;
}

function isBetterMember(a: AgentEntry, b: AgentEntry, arrival: Arrival): boolean {
  if (arrival.kind === "peer") return isBetterChoice(a, b);
  // Among equals the one that the cursor reached first stays.
  return rankOf(a) < rankOf(b);
}

function rankOf(entry: AgentEntry): number {
  if (entry.live.length > 0) return 0;
  const first = entry.ways[0];
  return first?.isUsable ? first.status : 9;
}

function drop(
  code: Extract<Verdict, { action: "drop" }>["code"],
  reason: RouteReason & keyof typeof reasonTexts,
): Verdict {
  return Object.freeze({ action: "drop", code, reason, text: reasonTexts[reason] });
}

const drops = {
  expired: drop("CAUSEWAY_FORWARDING_EXPIRED", "expired"),
  ttlExhausted: drop("CAUSEWAY_FORWARDING_TTL_EXHAUSTED", "ttl-exhausted"),
  sourceNotAttached: drop("CAUSEWAY_IDENTITY_MISMATCH", "source-not-attached"),
  sourceFromOutside: drop("CAUSEWAY_FORWARDING_NOT_ALLOWED", "source-of-own-domain-from-outside"),
  noEntry: drop("CAUSEWAY_FORWARDING_NO_ROUTE", "no-entry"),
  // Two gateways that each take the other for nearer: so it is for a moment when an agent moves, and not for good.
  onlyWayIsBack: drop("CAUSEWAY_FORWARDING_NOT_ATTACHED", "only-way-is-back"),
  // Of an agent that is not known: neither of them will ever know more.
  unknownWayIsBack: drop("CAUSEWAY_FORWARDING_NO_ROUTE", "unknown-way-is-back"),
  peerLost: drop("CAUSEWAY_FORWARDING_PEER_LOST", "peer-lost"),
} as const;

// Both are immutable, so that remembering changes no outcome.
let provenName: SeenName | undefined;
let provenArrival: Arrival | undefined;

/** Length of "spiffe://". */
const schemeBytes = 9;

const askVerdict: Verdict = Object.freeze({ action: "resolve", reason: "asked-for" });
const topicVerdict: Verdict = Object.freeze({ action: "topic", reason: "topic" });
