/**
 * The Message Forwarding Table (AAP-23, AMSP-24): Agent IDs and prefixes to a local attachment or a next-hop gateway.
 * It is a function of what was put into it: the order of deltas for different keys doesn't matter. It changes by
 * `apply` only; lookups keep nothing but the memory of sticky choices and the place where the next choice begins.
 */
import { type AgentId, type Domain, type GatewayUri, refuse, type UnixMs } from "@causeway/core-base";
import type { FrameScan, SeenName } from "@causeway/core-wire";
import { AgentEntry, InstanceSlot, PeerState } from "./agent-entry.ts";
import { explainRoute } from "./explanation.ts";
import { asciiBytes, endOfAgent, NameMap } from "./name-map.ts";
import { type PrefixGroup, PrefixGroups } from "./prefix-groups.ts";
import { RecentEntries } from "./recent-entries.ts";
import { type PeerRoute, ReturnPaths } from "./return-paths.ts";
import type { LocalAttachment, RouteCandidate, RouteExplanation, TableDelta } from "./route.ts";
import { SkillIndex } from "./skill-index.ts";
import { StickyChoices } from "./sticky.ts";

export interface ForwardingTableOptions {
  /** This gateway's URI: candidates of this origin are our own records. */
  readonly self: GatewayUri;
  readonly domain: Domain;
  /** Sources whose choice of instance is remembered. Default 65,536; beyond, the least recently asked are forgotten. */
  readonly stickyMax?: number;
  /** Random at each start, against names chosen to collide. Default 0. */
  readonly hashSeed?: number;
  /** How long a sender without entry can be answered after its last frame. Default 300,000. */
  readonly returnPathMs?: number;
  /** Senders without entry, and whom they wrote to. Default 100,000; beyond, the least recently heard of are forgotten. */
  readonly returnPathsMax?: number;
  /** What happens to messages of own agents to one that nobody here knows. Default `default-route`. */
  readonly unknownTargets?: UnknownTargets;
}

/** `default-route`: the uplink decides. `query`: the neighbours are asked first, and the message waits (ADR 50). */
export type UnknownTargets = "default-route" | "query";

/** The chosen way of each agent in plain data; two tables with equal snapshots forward alike. */
export type TableSnapshot = Readonly<Record<AgentId, { readonly via: string; readonly reason: string }>>;

/** The Message Forwarding Table. */
export class ForwardingTable {
  readonly self: GatewayUri;
  readonly domain: Domain;
  readonly domainBytes: Uint8Array;
  readonly unknownTargets: UnknownTargets;
  /** Choices of instance and of anycast member. */
  readonly sticky: StickyChoices<InstanceSlot | AgentEntry>;
  /** Where senders without entry were heard of. */
  readonly returnPaths: ReturnPaths;
  readonly #entries: NameMap<AgentEntry>;
  readonly #recent = new RecentEntries();
  readonly #prefixRoutes: NameMap<PeerRoute>;
  readonly #groups: PrefixGroups;
  readonly #skills = new SkillIndex();
  readonly #peers = new Map<GatewayUri, PeerState>();
  readonly #waysBack = new Map<GatewayUri, PeerRoute>();
  #peersVersion = 0;
  #version = 0;
  #uplink: PeerRoute | undefined;
  #nextNumber = 1;

  constructor(options: ForwardingTableOptions) {
    this.self = options.self;
    this.domain = options.domain;
    this.domainBytes = asciiBytes(options.domain);
    this.unknownTargets = options.unknownTargets ?? "default-route";
    this.sticky = new StickyChoices(options.stickyMax ?? 65_536);
    this.returnPaths = new ReturnPaths({
      lastsMs: options.returnPathMs ?? 300_000,
      entriesMax: options.returnPathsMax ?? 100_000,
    });
    const seed = options.hashSeed ?? 0;
    this.#entries = new NameMap(seed);
    this.#prefixRoutes = new NameMap(seed);
    this.#groups = new PrefixGroups(seed);
  }

  /** Makes one change. */
  apply(delta: TableDelta): void {
    this.#version++;
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
        if (!delta.isUp) this.returnPaths.forgetPeer(delta.peer);
        return;
      case "prefix":
        return this.#setPrefix(delta.prefix, delta.peer);
      case "uplink":
        this.#uplink = delta.peer && this.#routeTo(delta.peer, "default-uplink");
    }
  }

  /** Changes made so far, learned ways back included: while it stays, the table answers alike but for sticky choices. */
  get version(): number {
    return this.#version + this.returnPaths.version;
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

  /** The entry of the agent whose name, without instance, is `[start, end)`; `name` when it was seen before. */
  lookup(buf: Uint8Array, start: number, end: number, name?: SeenName): AgentEntry | undefined {
    const entry = this.#find(buf, start, end, name);
    return entry && this.#ranked(entry);
  }

  /** True when that agent has an entry. */
  has(buf: Uint8Array, start: number, end: number, name?: SeenName): boolean {
    return this.#find(buf, start, end, name) !== undefined;
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

  /** The way to a neighbour as a way back. */
  wayBack(peer: GatewayUri): PeerRoute {
    let route = this.#waysBack.get(peer);
    if (route === undefined) {
      route = this.#routeTo(peer, "return-path");
      this.#waysBack.set(peer, route);
    }
    return route;
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
    for (const entry of this.#skills.holders(skill)) {
      if (best === undefined || isBetterChoice(this.#ranked(entry), this.#ranked(best))) best = entry;
    }
    return best?.agentId;
  }

  /** Why a message to `target` (full or short name, instance allowed) takes the way that it takes. */
  explain(target: string, now?: UnixMs): RouteExplanation {
    return explainRoute(this, target, now);
  }

  /** The entry of an agent by its full name without instance. */
  entryOf(agentId: AgentId): AgentEntry | undefined {
    const entry = this.#entries.getName(agentId);
    return entry && this.#ranked(entry);
  }

  /** The decisions in plain data. */
  snapshot(): TableSnapshot {
    const rows = [...this.#entries.values()].map((entry) => {
      const { ways, reason } = this.#ranked(entry);
      return [entry.agentId, { via: ways[0]?.peer?.uri ?? "local", reason }] as const;
    });
    return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #find(buf: Uint8Array, start: number, end: number, name: SeenName | undefined): AgentEntry | undefined {
    const recent = name && this.#recent.find(name);
    if (recent !== undefined) return recent;
    const entry = this.#entries.get(buf, start, end);
    if (entry !== undefined && name !== undefined) this.#recent.keep(name, entry);
    return entry;
  }

  #put(candidate: RouteCandidate): void {
    const entry = this.#entry(candidate.agentId);
    this.#skills.remove(entry, entry.candidates.get(candidate.origin)?.skills);
    entry.candidates.set(candidate.origin, candidate);
    this.#skills.add(entry);
    entry.rankedAt = -1;
  }

  #withdraw(agentId: AgentId, origin: GatewayUri): void {
    const entry = this.#entries.getName(agentId);
    const held = entry?.candidates.get(origin);
    if (entry === undefined || held === undefined) return;
    this.returnPaths.forget(agentId);
    this.#skills.remove(entry, held.skills);
    entry.candidates.delete(origin);
    this.#skills.add(entry);
    entry.rankedAt = -1;
    this.#dropIfEmpty(entry);
  }

  #attach(attachment: LocalAttachment): void {
    const entry = this.#entry(attachment.agentId);
    this.returnPaths.forget(attachment.agentId);
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

  #routeTo(peer: GatewayUri, reason: "longest-prefix" | "default-uplink" | "return-path"): PeerRoute {
    const state = this.#peer(peer);
    return { peer: state, verdict: state.verdict(reason) };
  }

  #peer(uri: GatewayUri): PeerState {
    let peer = this.#peers.get(uri);
    if (peer === undefined) {
      peer = new PeerState(uri);
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
    entry.isGone = true;
    this.#entries.delete(entry.agentId);
    this.#groups.remove(entry);
  }

  #ranked(entry: AgentEntry): AgentEntry {
    if (entry.rankedAt !== this.#peersVersion) entry.rank(this.self, (uri) => this.#peer(uri), this.#peersVersion);
    return entry;
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
