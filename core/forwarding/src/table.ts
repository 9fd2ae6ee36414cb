/**
 * The Message Forwarding Table (AAP-23, AMSP-24): Agent IDs and prefixes to a local attachment or a next-hop gateway.
 * It is a function of what was put into it: the order of deltas for different keys doesn't matter. It changes by
 * `apply` only; lookups keep nothing but the memory of sticky choices and the place where the next choice begins.
 */
import { type AgentId, agentOf, type Domain, type GatewayUri, refuse } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";
import { AgentEntry, InstanceSlot, type PeerState } from "./agent-entry.ts";
import { asciiBytes, NameMap } from "./name-map.ts";
import { type PrefixGroup, PrefixGroups } from "./prefix-groups.ts";
import { reasonTexts } from "./reasons.ts";
import type { LocalAttachment, RouteCandidate, RouteExplanation, TableDelta } from "./route.ts";
import { StickyChoices } from "./sticky.ts";
import type { Verdict } from "./verdict.ts";

export interface ForwardingTableOptions {
  /** This gateway's URI: candidates of this origin are our own records. */
  readonly self: GatewayUri;
  readonly domain: Domain;
  /** Sources whose choice of instance is remembered. Default 65,536; beyond, the least recently asked are forgotten. */
  readonly stickyMax?: number;
  /** Random at each start, against names chosen to collide. Default 0. */
  readonly hashSeed?: number;
}

/** A neighbour behind a prefix or as uplink, with its ready-made verdict. */
export interface PeerRoute {
  readonly peer: PeerState;
  readonly verdict: Verdict;
}

/** The chosen way of each agent in plain data; two tables with equal snapshots forward alike. */
export type TableSnapshot = Readonly<Record<AgentId, { readonly via: string; readonly reason: string }>>;

/** The Message Forwarding Table. */
export class ForwardingTable {
  readonly self: GatewayUri;
  readonly domain: Domain;
  readonly domainBytes: Uint8Array;
  /** Choices of instance and of anycast member. */
  readonly sticky: StickyChoices<InstanceSlot | AgentEntry>;
  readonly #entries: NameMap<AgentEntry>;
  readonly #prefixRoutes: NameMap<PeerRoute>;
  readonly #groups: PrefixGroups;
  readonly #skills = new Map<string, Set<AgentEntry>>();
  readonly #peers = new Map<GatewayUri, PeerState>();
  #peersVersion = 0;
  #uplink: PeerRoute | undefined;
  #nextNumber = 1;

  constructor(options: ForwardingTableOptions) {
    this.self = options.self;
    this.domain = options.domain;
    this.domainBytes = asciiBytes(options.domain);
    this.sticky = new StickyChoices(options.stickyMax ?? 65_536);
    const seed = options.hashSeed ?? 0;
    this.#entries = new NameMap(seed);
    this.#prefixRoutes = new NameMap(seed);
    this.#groups = new PrefixGroups(seed);
  }

  /** Makes one change. */
  apply(delta: TableDelta): void {
    switch (delta.kind) {
      case "put":
        return this.#put(delta.candidate);
      case "withdraw":
        return this.#withdraw(delta.agentId, delta.origin);
      case "attach":
        return this.#attach(delta.attachment);
      case "detach":
        return this.#detach(delta);
      case "peer":
        this.#peer(delta.peer).isUp = delta.isUp;
        this.#peersVersion++;
        return;
      case "prefix":
        return this.#setPrefix(delta.prefix, delta.peer);
      case "uplink":
        this.#uplink = delta.peer && this.#routeTo(delta.peer, "default-uplink");
    }
  }

  /** Number of agents with an entry. */
  get size(): number {
    return this.#entries.size;
  }

  /** What is known of one agent, the chosen origin first. */
  candidates(agentId: AgentId): readonly RouteCandidate[] {
    const entry = this.#entries.getName(agentId);
    if (entry === undefined) return [];
    const order = this.#ranked(entry).ways.map((way) => way.origin as string);
    return [...entry.candidates.values()].sort((a, b) => order.indexOf(a.origin) - order.indexOf(b.origin));
  }

  /** Every live attachment of this gateway. */
  attachments(): readonly LocalAttachment[] {
    return [...this.#entries.values()].flatMap((entry) => [...entry.instances.values()].map((slot) => slot.attachment));
  }

  /** The entry of the agent whose name, without instance, is `[start, end)`. */
  lookup(buf: Uint8Array, start: number, end: number): AgentEntry | undefined {
    const entry = this.#entries.get(buf, start, end);
    return entry && this.#ranked(entry);
  }

  /** The agents below a prefix target. */
  lookupGroup(buf: Uint8Array, start: number, end: number): PrefixGroup | undefined {
    return this.#groups.get(buf, start, end);
  }

  /** Brings a group's member up to date. */
  fresh(entry: AgentEntry): AgentEntry {
    return this.#ranked(entry);
  }

  /** The longest prefix route that covers the name. */
  lookupPrefix(buf: Uint8Array, start: number, end: number): PeerRoute | undefined {
    return this.#prefixRoutes.size === 0 ? undefined : this.#prefixRoutes.longestPrefix(buf, start, end, start + 9);
  }

  get uplink(): PeerRoute | undefined {
    return this.#uplink;
  }

  hash(buf: Uint8Array, start: number, end: number): number {
    return this.#entries.hash(buf, start, end);
  }

  /** True when this gateway is the serving gateway of the scanned message's target agent. */
  serves(scan: FrameScan): boolean {
    const entry = this.#entries.get(scan.buf, scan.targetStart, endOfAgent(scan.buf, scan.targetStart, scan.targetEnd));
    return entry?.isServedBy(this.self) ?? false;
  }

  /** An agent with the skill (AMSP-25): attached here first, then by the ranking of ways, then by name. */
  resolveSkill(skill: string): AgentId | undefined {
    let best: AgentEntry | undefined;
    for (const entry of this.#skills.get(skill) ?? []) {
      if (best === undefined || isBetterChoice(this.#ranked(entry), this.#ranked(best))) best = entry;
    }
    return best?.agentId;
  }

  /** Why a message to `target` (full or short name, instance allowed) takes the way that it takes. */
  explain(target: string): RouteExplanation {
    const name = target.startsWith("spiffe://") ? target : `spiffe://${target}`;
    const agentId = agentOf(name as AgentId);
    const entry = this.#entries.getName(agentId);
    if (entry === undefined) return this.#explainUnknown(name);
    const { ways, live, reason, instances } = this.#ranked(entry);
    const first = ways[0];
    const chosen = first && {
      via: first.peer?.uri ?? ("local" as const),
      reason: live.length === 0 && first.peer === undefined ? this.#heldReason(entry) : reason,
    };
    return {
      target: name,
      ...(chosen && { chosen }),
      candidates: this.candidates(agentId),
      attachments: [...instances.values()].map((slot) => slot.attachment),
      text: chosen
        ? `${agentId} goes ${chosen.via === "local" ? "to its attachment at this gateway" : `to ${chosen.via}`}: ${first.isUsable ? reasonTexts[chosen.reason] : reasonTexts["peer-lost"]}`
        : `${agentId}: ${reasonTexts["no-entry"]}`,
    };
  }

  /** The decisions in plain data. */
  snapshot(): TableSnapshot {
    const rows = [...this.#entries.values()].map((entry) => {
      const { ways, reason } = this.#ranked(entry);
      return [entry.agentId, { via: ways[0]?.peer?.uri ?? "local", reason }] as const;
    });
    return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #heldReason(entry: AgentEntry): "attachment-stale" | "not-attached" {
    return entry.instances.size > 0 ? "attachment-stale" : "not-attached";
  }

  #explainUnknown(name: string): RouteExplanation {
    const key = asciiBytes(name);
    const prefix = this.lookupPrefix(key, 0, key.length);
    const route = prefix ?? this.#uplink;
    const reason = prefix ? "longest-prefix" : "default-uplink";
    return {
      target: name,
      ...(route && { chosen: { via: route.peer.uri, reason } }),
      candidates: [],
      attachments: [],
      text: route ? `${name} goes to ${route.peer.uri}: ${reasonTexts[reason]}` : `${name}: ${reasonTexts["no-entry"]}`,
    };
  }

  #put(candidate: RouteCandidate): void {
    const entry = this.#entry(candidate.agentId);
    this.#unindex(entry, entry.candidates.get(candidate.origin)?.skills);
    entry.candidates.set(candidate.origin, candidate);
    this.#index(entry);
    entry.rankedAt = -1;
  }

  #withdraw(agentId: AgentId, origin: GatewayUri): void {
    const entry = this.#entries.getName(agentId);
    const held = entry?.candidates.get(origin);
    if (entry === undefined || held === undefined) return;
    this.#unindex(entry, held.skills);
    entry.candidates.delete(origin);
    this.#index(entry);
    entry.rankedAt = -1;
    this.#dropIfEmpty(entry);
  }

  #attach(attachment: LocalAttachment): void {
    const entry = this.#entry(attachment.agentId);
    const slot = new InstanceSlot(attachment);
    const held = entry.instances.get(attachment.instance);
    if (held?.attachment.link === attachment.link) slot.sources = held.sources;
    entry.instances.set(attachment.instance, slot);
    entry.rankedAt = -1;
  }

  #detach(gone: { readonly agentId: AgentId; readonly instance: string; readonly link: number }): void {
    const entry = this.#entries.getName(gone.agentId);
    // A link that was taken over must not take its successor's entry with it.
    if (entry?.instances.get(gone.instance)?.attachment.link !== gone.link) return;
    entry.instances.delete(gone.instance);
    entry.rankedAt = -1;
    this.#dropIfEmpty(entry);
  }

  #setPrefix(prefix: string, peer: GatewayUri | undefined): void {
    const bare = prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
    if (!bare.startsWith("spiffe://") || bare.length <= 9) {
      throw refuse("CAUSEWAY_MISUSE", `expected a prefix like spiffe://green.example, got ${JSON.stringify(prefix)}`);
    }
    if (peer === undefined) this.#prefixRoutes.delete(bare);
    else this.#prefixRoutes.set(bare, this.#routeTo(peer, "longest-prefix"));
  }

  #routeTo(peer: GatewayUri, reason: "longest-prefix" | "default-uplink"): PeerRoute {
    return { peer: this.#peer(peer), verdict: Object.freeze({ action: "relay", peer, reason }) };
  }

  #peer(uri: GatewayUri): PeerState {
    let peer = this.#peers.get(uri);
    if (peer === undefined) {
      peer = { uri, isUp: false };
      this.#peers.set(uri, peer);
    }
    return peer;
  }

  #entry(agentId: AgentId): AgentEntry {
    let entry = this.#entries.getName(agentId);
    if (entry === undefined) {
      entry = new AgentEntry(agentId, this.#nextNumber++);
      this.#entries.set(agentId, entry);
      this.#groups.add(entry);
    }
    return entry;
  }

  #dropIfEmpty(entry: AgentEntry): void {
    if (!entry.isEmpty) return;
    this.#entries.delete(entry.agentId);
    this.#groups.remove(entry);
  }

  #ranked(entry: AgentEntry): AgentEntry {
    if (entry.rankedAt !== this.#peersVersion) entry.rank(this.self, (uri) => this.#peer(uri), this.#peersVersion);
    return entry;
  }

  #index(entry: AgentEntry): void {
    for (const candidate of entry.candidates.values()) {
      for (const skill of candidate.skills ?? []) {
        const holders = this.#skills.get(skill);
        if (holders === undefined) this.#skills.set(skill, new Set([entry]));
        else holders.add(entry);
      }
    }
  }

  #unindex(entry: AgentEntry, skills: readonly string[] | undefined): void {
    for (const skill of skills ?? []) {
      const holders = this.#skills.get(skill);
      holders?.delete(entry);
      if (holders?.size === 0) this.#skills.delete(skill);
    }
  }
}

/** Builds a table from records, attachments and neighbours: the function that every sequence of deltas amounts to. */
export function tableOf(
  options: ForwardingTableOptions,
  facts: {
    readonly candidates: Iterable<RouteCandidate>;
    readonly attachments: Iterable<LocalAttachment>;
    readonly peersUp: Iterable<GatewayUri>;
  },
): ForwardingTable {
  const table = new ForwardingTable(options);
  for (const peer of facts.peersUp) table.apply({ kind: "peer", peer, isUp: true });
  for (const candidate of facts.candidates) table.apply({ kind: "put", candidate });
  for (const attachment of facts.attachments) table.apply({ kind: "attach", attachment });
  return table;
}

/** Where the Agent ID ends in a name that may have an instance: before its last "/@". */
export function endOfAgent(buf: Uint8Array, start: number, end: number): number {
  for (let i = end - 1; i > start; i--) if (buf[i] === 0x2f) return buf[i + 1] === 0x40 ? i : end;
  return end;
}

/** Order of members for a choice among agents: attached here, usable, online, near, then by name. */
export function isBetterChoice(a: AgentEntry, b: AgentEntry): boolean {
  const [x, y] = [costOf(a), costOf(b)];
  return x === y ? a.agentId < b.agentId : x < y;
}

function costOf(entry: AgentEntry): number {
  if (entry.live.length > 0) return 0;
  const first = entry.ways[0];
  if (first === undefined || !first.isUsable) return 1e9;
  return first.status * 1e6 + first.hops;
}
