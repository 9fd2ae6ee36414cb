/**
 * A network of sync machines in memory: virtual time, sessions as two ordered queues, links that can be cut, nodes that
 * can crash and restart from their store. Messages cross as bytes. Which queue moves next is the caller's choice, so a
 * property test can try any interleaving.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  asInstant,
  asUnixMs,
  type GatewayUri,
  type Instant,
  type Now,
  type OwnVersion,
  parseAgentId,
  parseGatewayUri,
  type StoredRecord,
  type StoredVector,
} from "@causeway/core-base";
import { type Signer, type VerifiedPeer } from "@causeway/core-identity";
import { createTestDomain, type TestDomain, testNow } from "@causeway/core-identity/testing";
import { type RecordDraft, type RegisteredRecord, type Status, signOrigin } from "@causeway/core-records";
import { KeyedSignatures, registerRecord, testDraft } from "@causeway/core-records/testing";
import { amsp } from "@causeway/core-wire";
import type { SyncChange, SyncEffect, SyncEvent } from "../src/effects.ts";
import { RuledSyncMachine } from "../src/machine.ts";
import type { SyncOptions } from "../src/options.ts";
import { productionRules, type SyncRules } from "../src/rules.ts";

/** What survives a crash. */
export class MemorySyncStore {
  readonly records = new Map<string, StoredRecord>();
  readonly vectors = new Map<string, StoredVector>();
  own: OwnVersion = { epoch: 1n, sequence: 0n };

  apply(change: SyncChange): void {
    switch (change.kind) {
      case "record":
        this.records.set(`${change.record.agentId} ${change.record.origin}`, change.record);
        break;
      case "forget":
        this.records.delete(`${change.agentId} ${change.origin}`);
        break;
      case "vector":
        this.vectors.set(change.vector.origin, change.vector);
        break;
      case "version":
        this.own = change.own;
        break;
    }
  }

  copy(): MemorySyncStore {
    const copy = new MemorySyncStore();
    for (const [key, value] of this.records) copy.records.set(key, value);
    for (const [key, value] of this.vectors) copy.vectors.set(key, value);
    copy.own = this.own;
    return copy;
  }
}

export interface NodeOptions {
  readonly role?: "level1" | "level2" | "reader";
  readonly domain?: string;
  readonly namespaces?: readonly string[];
  readonly options?: Partial<SyncOptions>;
  readonly rules?: Partial<SyncRules>;
}

/** One gateway or reader. */
export interface Node {
  readonly name: string;
  readonly uri: GatewayUri;
  readonly peer: VerifiedPeer;
  readonly signer: Signer;
  readonly how: NodeOptions;
  store: MemorySyncStore;
  machine: RuledSyncMachine;
  isUp: boolean;
  /** Its machine hears and does nothing any more; the test speaks for it. */
  isPuppet: boolean;
  /** Whom it dials. */
  readonly targets: Set<string>;
  readonly events: SyncEvent[];
  readonly answers: Map<bigint, Extract<SyncEffect, { type: "answer" }>["result"]>;
  /** The forwarding table as the effects made it. */
  readonly table: Map<string, Extract<SyncEffect, { type: "install" }>["route"]>;
}

interface Link {
  readonly id: number;
  readonly ends: readonly [string, string];
  readonly queues: readonly [Uint8Array[], Uint8Array[]];
  /** The end that closed; what it sent before still arrives. */
  closedBy: 0 | 1 | undefined;
  /** Neither direction moves. */
  isFrozen: boolean;
}

/** One message that crossed, for checkers. */
export interface Crossing {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly message: amsp.Message;
}

/** Something that can happen next. */
export type Move =
  | { readonly kind: "deliver"; readonly link: number; readonly from: 0 | 1 }
  | { readonly kind: "hangup"; readonly link: number }
  | { readonly kind: "dial"; readonly from: string; readonly to: string };

export class SyncNetwork {
  readonly signatures = new KeyedSignatures();
  readonly nodes = new Map<string, Node>();
  readonly crossings: Crossing[] = [];
  readonly #registries = new Map<string, Signer>();
  readonly #agents = new Map<string, Signer>();
  readonly #links = new Map<number, Link>();
  readonly #blocked = new Set<string>();
  readonly #dials: { from: string; to: string }[] = [];
  #nextLink = 1;
  #ms = 0;
  #random = 1;
  /** Called with each effect as it is performed. */
  onEffect: (node: Node, effect: SyncEffect) => void = () => undefined;

  get now(): Now {
    return { instant: asInstant(this.#ms), unix: asUnixMs(testNow + this.#ms) };
  }

  node(name: string): Node {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  machine(name: string): RuledSyncMachine {
    return this.node(name).machine;
  }

  add(name: string, how: NodeOptions = {}): Node {
    const domain = how.domain ?? "blue.example";
    const role = how.role ?? "level2";
    const uri = parseGatewayUri(`https://${name}.${domain}/amsp`);
    const peer = identity(this.#domain(domain), role, name, uri, how.namespaces ?? []);
    const signer = this.signatures.enrol(peer);
    const store = new MemorySyncStore();
    const node: Node = {
      name,
      uri: role === "reader" ? (peer.spiffeId as string as GatewayUri) : uri,
      peer,
      signer,
      how,
      store,
      isUp: true,
      isPuppet: false,
      machine: undefined as never,
      targets: new Set(),
      events: [],
      answers: new Map(),
      table: new Map(),
    };
    this.nodes.set(name, node);
    node.machine = this.#build(node);
    return node;
  }

  /** `from` dials `to` from now on. */
  connect(from: string, to: string): void {
    this.node(from).targets.add(to);
    this.input(from, (m) => m.addTarget(this.now, { target: to }));
  }

  /** A chain of names, each of which dials the next. */
  line(...names: readonly string[]): void {
    names.slice(1).forEach((name, i) => this.connect(names[i] ?? "", name));
  }

  input(name: string, work: (machine: RuledSyncMachine) => void): void {
    const node = this.node(name);
    if (node.isPuppet) return;
    work(node.machine);
    this.#perform(node);
  }

  registered(agent: string, more: Partial<RecordDraft> = {}): RegisteredRecord {
    const draft = testDraft(agent, { updatedAt: this.now.unix, ...more });
    const domain = draft.agentId.split("/")[2] ?? "";
    return registerRecord(this.signatures, this.#agent(draft.agentId), this.#registry(domain), draft, this.now.unix);
  }

  announce(
    at: string,
    agent: string,
    more: Partial<RecordDraft> & {
      readonly status?: "online" | "degraded" | "offline";
      readonly attachment?: bigint;
    } = {},
  ): AgentId {
    const { status = "online", attachment = 1n, ...draft } = more;
    const registered = this.registered(agent, draft);
    this.input(at, (m) => m.announce(this.now, { registered, status, attachmentSequence: attachment }));
    return parseAgentId(agent);
  }

  setStatus(at: string, agent: string, status: Status): void {
    this.input(at, (m) => m.setStatus(this.now, parseAgentId(agent), status));
  }

  withdraw(at: string, agent: string): void {
    this.input(at, (m) => m.withdraw(this.now, parseAgentId(agent)));
  }

  /** Everything that could happen now without time passing. */
  moves(): readonly Move[] {
    const moves: Move[] = [];
    for (const link of this.#links.values()) {
      if (link.isFrozen) continue;
      for (const from of [0, 1] as const) {
        if (link.queues[from].length > 0) moves.push({ kind: "deliver", link: link.id, from });
      }
      if (link.closedBy !== undefined && link.queues[link.closedBy].length === 0)
        moves.push({ kind: "hangup", link: link.id });
    }
    for (const { from, to } of this.#dials) moves.push({ kind: "dial", from, to });
    return moves;
  }

  make(move: Move): void {
    if (move.kind === "dial") this.#dial(move.from, move.to);
    else if (move.kind === "hangup") this.#hangUp(move.link);
    else this.#deliver(move.link, move.from);
  }

  /** Makes moves until none is left. */
  settle(choose: (moves: readonly Move[]) => Move | undefined = (moves) => moves[0], stepsMax = 100_000): void {
    for (let step = 0; ; step++) {
      const moves = this.moves();
      const move = choose(moves);
      if (move === undefined) return;
      if (step >= stepsMax) throw new Error(`no rest after ${stepsMax} moves`);
      this.make(move);
    }
  }

  /** Lets time pass, firing every deadline on the way. */
  run(ms: number, choose?: (moves: readonly Move[]) => Move | undefined): void {
    const until = this.#ms + ms;
    this.settle(choose);
    for (;;) {
      const due = [...this.nodes.values()]
        .filter((n) => n.isUp && !n.isPuppet)
        .map((n) => n.machine.deadline() ?? Infinity);
      const next = Math.min(...due);
      if (next > until) break;
      this.#ms = Math.max(this.#ms, next);
      for (const node of this.nodes.values()) {
        const deadline: Instant | undefined = node.machine.deadline();
        if (node.isUp && deadline !== undefined && deadline <= this.#ms)
          this.input(node.name, (m) => m.handleTimeout(this.now));
      }
      this.settle(choose);
    }
    this.#ms = until;
    this.settle(choose);
  }

  /** Cuts the transport between two nodes; both see it. With `block` it stays cut. */
  cut(a: string, b: string, block = true): void {
    if (block) this.#blocked.add(pair(a, b));
    for (const link of [...this.#links.values()]) {
      if (pair(...link.ends) !== pair(a, b)) continue;
      this.#links.delete(link.id);
      for (const end of link.ends) this.#lost(end, link.id, "connection reset");
    }
  }

  heal(a: string, b: string): void {
    this.#blocked.delete(pair(a, b));
    for (const link of this.#links.values()) if (pair(...link.ends) === pair(a, b)) link.isFrozen = false;
  }

  /** Half-open: nothing moves, nobody notices. */
  freeze(a: string, b: string): void {
    this.#blocked.add(pair(a, b));
    for (const link of this.#links.values()) if (pair(...link.ends) === pair(a, b)) link.isFrozen = true;
  }

  /** The process is gone; its store stays. */
  crash(name: string): void {
    const node = this.node(name);
    node.isUp = false;
    for (const link of [...this.#links.values()]) {
      if (!link.ends.includes(name)) continue;
      this.#links.delete(link.id);
      for (const end of link.ends) if (end !== name) this.#lost(end, link.id, "connection reset");
    }
  }

  restart(name: string, store?: MemorySyncStore): void {
    const node = this.node(name);
    if (store !== undefined) node.store = store;
    node.isUp = true;
    node.table.clear();
    node.machine = this.#build(node);
    // A driver wakes a new machine at its first deadline, which is at once when it holds records.
    this.input(name, (m) => m.handleTimeout(this.now));
    for (const target of node.targets) this.input(name, (m) => m.addTarget(this.now, { target }));
  }

  /** Loses what is on the way from one node to another. */
  drop(from: string, to: string): void {
    for (const link of this.#links.values()) {
      if (pair(...link.ends) === pair(from, to)) link.queues[link.ends.indexOf(from) as 0 | 1].length = 0;
    }
  }

  /** Sends a message from one node to another as if its machine had sent it. */
  inject(from: string, to: string, message: amsp.Message): void {
    for (const link of this.#links.values()) {
      const index = link.ends.indexOf(from);
      if (pair(...link.ends) === pair(from, to))
        link.queues[index as 0 | 1].push(toBinary(amsp.MessageSchema, message));
    }
  }

  isLinked(a: string, b: string): boolean {
    return [...this.#links.values()].some((link) => pair(...link.ends) === pair(a, b) && link.closedBy === undefined);
  }

  /** True while one of the two ends does not know yet that the transport is gone, too. */
  hasLink(a: string, b: string): boolean {
    return [...this.#links.values()].some((link) => pair(...link.ends) === pair(a, b));
  }

  /** Route to an agent as `node` has it, short: via and PATH as names. */
  route(node: string, agent: string): string | undefined {
    const [route] = this.machine(node).routes(parseAgentId(agent));
    if (route === undefined) return undefined;
    const via = route.via === "local" ? "local" : this.nameOf(route.via);
    return `${via} [${route.path.map((uri) => this.nameOf(uri)).join(" ")}]${route.applicable ? "" : " inapplicable"}`;
  }

  nameOf(uri: string): string {
    for (const node of this.nodes.values()) if (node.uri === uri) return node.name;
    return uri;
  }

  /** Updates that crossed from one node to another. */
  updates(from: string, to: string): readonly amsp.Update[] {
    return this.crossings.flatMap(({ from: f, to: t, message: { body } }) =>
      f === from && t === to && body.case === "update" ? [body.value] : [],
    );
  }

  #build(node: Node): RuledSyncMachine {
    const options: SyncOptions = {
      self: { name: node.uri, domain: node.peer.domain, role: node.how.role ?? "level2" },
      verifier: this.signatures.verifier(),
      sha256: (data) => this.signatures.sha256(data),
      random: { bytes: (length) => this.#bytes(length), fraction: () => 0.5 },
      sign: (statement) => signOrigin(node.signer, statement),
      own: node.store.own,
      records: [...node.store.records.values()],
      vectors: [...node.store.vectors.values()],
      ...node.how.options,
    };
    return new RuledSyncMachine(options, { ...productionRules, ...node.how.rules });
  }

  #perform(node: Node): void {
    for (let effects = node.machine.drain(); effects.length > 0; effects = node.machine.drain()) {
      for (const effect of effects) {
        this.#performOne(node, effect);
        this.onEffect(node, effect);
      }
    }
  }

  #performOne(node: Node, effect: SyncEffect): void {
    switch (effect.type) {
      case "dial":
        this.#dials.push({ from: node.name, to: effect.target });
        break;
      case "send": {
        const link = this.#links.get(effect.session);
        link?.queues[link.ends[0] === node.name ? 0 : 1].push(toBinary(amsp.MessageSchema, effect.message));
        break;
      }
      case "close": {
        const link = this.#links.get(effect.session);
        if (link === undefined) break;
        if (link.closedBy !== undefined) this.#links.delete(link.id);
        else link.closedBy = link.ends[0] === node.name ? 0 : 1;
        break;
      }
      case "persist":
        node.store.apply(effect.change);
        break;
      case "install":
        node.table.set(`${effect.route.agentId} ${effect.route.origin}`, effect.route);
        break;
      case "remove":
        node.table.delete(`${effect.agentId} ${effect.origin}`);
        break;
      case "answer":
        node.answers.set(effect.query, effect.result);
        break;
      case "event":
        node.events.push(effect.event);
        break;
    }
  }

  #dial(from: string, to: string): void {
    const at = this.#dials.findIndex((d) => d.from === from && d.to === to);
    if (at >= 0) this.#dials.splice(at, 1);
    const [dialler, accepter] = [this.node(from), this.node(to)];
    if (!dialler.isUp) return;
    if (!accepter.isUp || this.#blocked.has(pair(from, to))) {
      this.input(from, (m) => m.handleDialFailed(this.now, to, "connection refused"));
      return;
    }
    const id = this.#nextLink++;
    this.#links.set(id, { id, ends: [from, to], queues: [[], []], closedBy: undefined, isFrozen: false });
    this.input(to, (m) => m.handleOpened(this.now, { session: id, peer: dialler.peer }));
    this.input(from, (m) => m.handleOpened(this.now, { session: id, peer: accepter.peer, target: to }));
  }

  #deliver(id: number, from: 0 | 1): void {
    const link = this.#links.get(id);
    const bytes = link?.queues[from].shift();
    if (link === undefined || bytes === undefined) return;
    const to = from === 0 ? 1 : 0;
    // What arrives after this end has closed is not read any more.
    if (link.closedBy === to) return;
    const message = fromBinary(amsp.MessageSchema, bytes);
    this.crossings.push({ from: link.ends[from], to: link.ends[to], bytes: bytes.length, message });
    this.input(link.ends[to], (m) => m.handleMessage(this.now, id, message));
  }

  #hangUp(id: number): void {
    const link = this.#links.get(id);
    if (link?.closedBy === undefined) return;
    this.#links.delete(id);
    this.#lost(link.ends[link.closedBy === 0 ? 1 : 0], id, "closed by the other side");
  }

  #lost(name: string, session: number, reason: string): void {
    if (this.node(name).isUp) this.input(name, (m) => m.handleClosed(this.now, session, reason));
  }

  #bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => {
      this.#random = (this.#random * 48_271) % 0x7fff_ffff;
      return this.#random & 0xff;
    });
  }

  #domain(name: string): TestDomain {
    return domains.get(name) ?? remember(domains, name, createTestDomain(name));
  }

  #registry(domain: string): Signer {
    const known = this.#registries.get(domain);
    if (known !== undefined) return known;
    const peer = identity(this.#domain(domain), "registry", "ars", undefined, []);
    return remember(this.#registries, domain, this.signatures.enrol(peer));
  }

  #agent(agentId: AgentId): Signer {
    const known = this.#agents.get(agentId);
    if (known !== undefined) return known;
    const [, , domain = "", ...path] = agentId.split("/");
    return remember(this.#agents, agentId, this.signatures.enrol(agentPeer(this.#domain(domain), path.join("/"))));
  }
}

/** Making certificates is what costs time in these tests, so identities are shared between networks. */
const domains = new Map<string, TestDomain>();
const identities = new Map<string, VerifiedPeer>();

function identity(
  domain: TestDomain,
  role: "level1" | "level2" | "reader" | "registry",
  name: string,
  uri: GatewayUri | undefined,
  namespaces: readonly string[],
): VerifiedPeer {
  const key = [domain.domain, role, name, uri, ...namespaces].join(" ");
  const isGateway = role === "level1" || role === "level2";
  return (
    identities.get(key) ??
    remember(
      identities,
      key,
      domain.peer(
        `${isGateway ? "gateway" : "registry"}/${name}`,
        isGateway && uri !== undefined
          ? { role: "gateway", gateway: { uri, level: role === "level1" ? 1 : 2, namespaces } }
          : { role: "registry" },
      ),
    )
  );
}

/** One agent of the domain goes through the verifier; the others are copies of it under their own names. */
function agentPeer(domain: TestDomain, path: string): VerifiedPeer {
  const key = `${domain.domain} agent`;
  const model = identities.get(key) ?? remember(identities, key, domain.peer("model", { role: "agent" }));
  return { ...model, spiffeId: parseAgentId(`${domain.domain}/${path}`) };
}

function remember<K, V>(map: Map<K, V>, key: K, value: V): V {
  map.set(key, value);
  return value;
}

function pair(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
