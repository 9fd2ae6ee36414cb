/**
 * Which topics are wanted behind which neighbour. Interest travels by origin: every gateway announces the complete set
 * of patterns that its own subscribers want, under its (epoch, sequence). A Level-1 gateway tells its Level-2s and is
 * told one aggregated set by each of them. Level-2s pass origins on to each other with a PATH: our own URI in it means a
 * loop, and nothing goes back to where it came from. Newest version first, then shortest path, then lowest URI.
 *
 * A message for an origin goes to the neighbour that is the best way to it, and only if the neighbour that the message
 * came from has no way of its own: it said so by announcing that origin to us. Where a copy is for fewer origins than
 * the next gateway would take it to (in a ring, two ways may be equally short), it lists them. So the copies of one
 * message follow a tree, and each link carries one (AGP-19).
 */
import { defaults, type ErrorFacts, type GatewayUri, isCausewayError, parseGatewayUri } from "@causeway/core-base";
import { type agp, forGatewaysMax } from "@causeway/core-wire";
import type { TopicPeer } from "./effects.ts";
import { PatternIndex } from "./subscriptions.ts";
import { matchesTopic, parseTopicPattern, type TopicName, type TopicPattern } from "./topic-name.ts";

/** One announcement of an origin by one neighbour. */
interface Announced {
  readonly origin: GatewayUri;
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly path: readonly GatewayUri[];
  readonly topics: readonly TopicPattern[];
  /** Name of the connected core that a Level-2 gateway belongs to; empty in what is not told to an edge. */
  readonly core: string;
}

/** The best announcement of an origin, and the neighbour that made it. */
interface Best extends Announced {
  readonly via: GatewayUri;
}

/** One copy of a message. */
export interface Copy {
  readonly peer: GatewayUri;
  /** The origins that it is for; undefined for all that the peer reaches and we do not reach without it. */
  readonly only: readonly GatewayUri[] | undefined;
}

/** What is to be sent to one neighbour. */
export interface Announcement {
  readonly peer: GatewayUri;
  readonly interest: {
    readonly origin: GatewayUri;
    readonly epoch: bigint;
    readonly sequence: bigint;
    readonly path: GatewayUri[];
    readonly topics: string[];
    readonly core: string;
    readonly withdrawn: boolean;
  };
}

export interface InterestOptions {
  readonly self: GatewayUri;
  readonly level: 1 | 2;
  readonly epoch: bigint;
  /** Origins that one neighbour may announce. */
  readonly originsMax: number;
  /** Patterns that one origin may want. */
  readonly patternsMax: number;
}

interface PeerState extends TopicPeer {
  /** What it announced, by origin. */
  readonly announced: Map<GatewayUri, Announced>;
  /** What we announced to it: origin to a digest of what was sent. */
  readonly told: Map<GatewayUri, string>;
}

export class Interest {
  readonly #options: InterestOptions;
  readonly #peers = new Map<GatewayUri, PeerState>();
  readonly #best = new Map<GatewayUri, Best>();
  /** Patterns of the best announcements, by origin. */
  readonly #wanted = new PatternIndex<GatewayUri>();
  #own: readonly TopicPattern[] = [];
  #sequence = 0n;

  constructor(options: InterestOptions) {
    this.#options = options;
  }

  peers(): readonly TopicPeer[] {
    return [...this.#peers.values()];
  }

  /** What our own subscribers want now. */
  setOwn(patterns: readonly TopicPattern[]): void {
    if (patterns.join("\n") === this.#own.join("\n")) return;
    this.#own = patterns;
    this.#sequence++;
  }

  peerUp(peer: TopicPeer): void {
    this.peerDown(peer.uri);
    this.#peers.set(peer.uri, { ...peer, announced: new Map(), told: new Map() });
  }

  peerDown(uri: GatewayUri): void {
    const peer = this.#peers.get(uri);
    if (peer === undefined) return;
    this.#peers.delete(uri);
    for (const origin of peer.announced.keys()) this.#decide(origin);
  }

  /** Takes an announcement. Returns why it is refused; a loop and an older version are ignored without a word. */
  handle(from: GatewayUri, message: agp.TopicInterest): ErrorFacts | undefined {
    const peer = this.#peers.get(from);
    if (peer === undefined)
      return { code: "CAUSEWAY_FRAME_UNEXPECTED", message: `interest from ${from}, which is no neighbour now` };
    const read = readInterest(message, this.#options.patternsMax);
    if ("code" in read) return read;
    const refusal = this.#checkPath(peer, read);
    if (refusal !== undefined) return refusal;
    const { self } = this.#options;
    if (message.withdrawn || read.origin === self || read.path.includes(self)) {
      if (peer.announced.delete(read.origin)) this.#decide(read.origin);
      return undefined;
    }
    const held = peer.announced.get(read.origin);
    if (held !== undefined && compareVersions(read, held) < 0) return undefined;
    if (held === undefined && peer.announced.size >= this.#options.originsMax) {
      return {
        code: "CAUSEWAY_LIMIT_COUNT",
        message: `${from} announced more than ${this.#options.originsMax} origins`,
        details: { limit: "originsMax" },
      };
    }
    peer.announced.set(read.origin, read);
    this.#decide(read.origin);
    return undefined;
  }

  /**
   * The copies of a message on the topic that came from `from` (undefined: from an agent here) and was for `listed` only
   * (undefined: for everybody whom we reach and the sender does not).
   */
  next(topic: string, from: GatewayUri | undefined, listed: ReadonlySet<GatewayUri> | undefined): readonly Copy[] {
    // An edge gateway carries nothing from one neighbour to another.
    if (this.#wanted.size === 0 || (from !== undefined && this.#options.level === 1)) return nobody;
    const origins = new Set<GatewayUri>();
    this.#wanted.collect(topic, origins);
    if (this.#options.level === 1) return this.#carriers(origins);
    const source = from === undefined ? undefined : this.#peers.get(from);
    const routed = new Map<GatewayUri, { reached: number; readonly chosen: GatewayUri[] }>();
    for (const origin of origins) {
      const best = this.#best.get(origin);
      if (best === undefined || best.via === from) continue;
      const route = routed.get(best.via) ?? { reached: 0, chosen: [] };
      routed.set(best.via, route);
      route.reached++;
      if (this.#isOurs(best, topic, source, listed)) route.chosen.push(origin);
    }
    const copies: Copy[] = [];
    for (const [peer, { reached, chosen }] of routed) {
      if (chosen.length === 0) continue;
      const isWhole = chosen.length === reached || chosen.length > forGatewaysMax;
      copies.push({ peer, only: isWhole || this.#peers.get(peer)?.level === 1 ? undefined : chosen.sort() });
    }
    return copies;
  }

  /** True when a gateway other than this one wants the topic. */
  isWanted(topic: string): boolean {
    const origins = new Set<GatewayUri>();
    this.#wanted.collect(topic, origins);
    return origins.size > 0;
  }

  /** What has changed for each neighbour since it was told last. */
  announcements(): readonly Announcement[] {
    const out: Announcement[] = [];
    for (const peer of this.#peers.values()) {
      const due = this.#dueFor(peer);
      for (const origin of peer.told.keys()) {
        if (due.has(origin)) continue;
        peer.told.delete(origin);
        const { epoch, sequence } = this.#best.get(origin) ?? { epoch: 0n, sequence: 0n };
        out.push({
          peer: peer.uri,
          interest: { origin, epoch, sequence, path: this.#ownPath(), topics: [], core: "", withdrawn: true },
        });
      }
      for (const [origin, interest] of due) {
        const digest = digestOf(interest);
        if (peer.told.get(origin) === digest) continue;
        peer.told.set(origin, digest);
        out.push({ peer: peer.uri, interest: { ...interest, withdrawn: false } });
      }
    }
    return out;
  }

  /** Who wants what, for the admin interface. */
  origins(): readonly {
    readonly origin: GatewayUri;
    readonly via: GatewayUri;
    readonly topics: readonly TopicPattern[];
  }[] {
    return [...this.#best.values()].map(({ origin, via, topics }) => ({ origin, via, topics }));
  }

  /** Of the Level-2 gateways that reach each other, an edge gives its copy to one. */
  #carriers(origins: ReadonlySet<GatewayUri>): readonly Copy[] {
    const carriers = new Map<string, GatewayUri>();
    for (const origin of [...origins].sort()) {
      const best = this.#best.get(origin);
      if (best !== undefined && !carriers.has(best.core || origin)) carriers.set(best.core || origin, best.via);
    }
    return [...carriers.values()].map((peer) => ({ peer, only: undefined }));
  }

  /** True when it is on us, and not on the neighbour that sent it or another one, to carry a message to the origin. */
  #isOurs(
    best: Best,
    topic: string,
    source: PeerState | undefined,
    listed: ReadonlySet<GatewayUri> | undefined,
  ): boolean {
    // An edge gave its copy to us and to nobody whom we reach.
    if (source === undefined || source.level === 1) return true;
    // A neighbour that announced this wish of the origin to us reaches it without us.
    return listed === undefined ? !isCovered(source.announced.get(best.origin), topic) : listed.has(best.origin);
  }

  #dueFor(peer: PeerState): ReadonlyMap<GatewayUri, Omit<Announcement["interest"], "withdrawn">> {
    const { self, level, epoch } = this.#options;
    const due = new Map<GatewayUri, Omit<Announcement["interest"], "withdrawn">>();
    const isAggregate = level === 2 && peer.level === 1;
    const own = isAggregate ? this.#aggregateFor(peer) : this.#own;
    if (level === 1 && peer.level === 1) return due;
    const core = isAggregate ? this.#core() : "";
    due.set(self, { origin: self, epoch, sequence: this.#sequence, path: this.#ownPath(), topics: [...own], core });
    if (level === 1 || isAggregate) return due;
    for (const best of this.#best.values()) {
      if (best.via === peer.uri || best.path.includes(peer.uri) || best.origin === peer.uri) continue;
      due.set(best.origin, {
        origin: best.origin,
        epoch: best.epoch,
        sequence: best.sequence,
        path: [self, ...best.path],
        topics: [...best.topics],
        core: "",
      });
    }
    return due;
  }

  /** The lowest name of all Level-2 gateways that we reach, ourselves included: the same at each of them. */
  #core(): string {
    let lowest: GatewayUri = this.#options.self;
    for (const { origin, path } of this.#best.values()) if (path.includes(origin) && origin < lowest) lowest = origin;
    return lowest;
  }

  /** Everything that is wanted anywhere but behind that edge gateway itself. */
  #aggregateFor(peer: PeerState): readonly TopicPattern[] {
    const all = new Set<TopicPattern>(this.#own);
    for (const best of this.#best.values()) if (best.via !== peer.uri) for (const topic of best.topics) all.add(topic);
    if (all.size <= this.#options.patternsMax) return [...all].sort();
    // Too many to tell: whole domains instead, which costs superfluous copies and loses none.
    return [...new Set([...all].map((topic) => `${topic.slice(0, topic.indexOf("/"))}/*` as TopicPattern))].sort();
  }

  #ownPath(): GatewayUri[] {
    return this.#options.level === 2 ? [this.#options.self] : [];
  }

  #checkPath(peer: PeerState, read: Announced): ErrorFacts | undefined {
    if (peer.level === 1) {
      // C-10: a Level-1 gateway announces with an empty PATH, and speaks for nobody but itself.
      if (read.path.length === 0 && read.origin === peer.uri) return undefined;
      return {
        code: "CAUSEWAY_SYNC_PATH_INVALID",
        message: `expected ${peer.uri}, a Level-1 gateway, to announce itself with an empty PATH`,
      };
    }
    if (read.path[0] === peer.uri && new Set(read.path).size === read.path.length) return undefined;
    return {
      code: "CAUSEWAY_SYNC_PATH_INVALID",
      message: `expected a PATH without repeats that begins with ${peer.uri}, got [${read.path.join(", ").slice(0, 200)}]`,
    };
  }

  #decide(origin: GatewayUri): void {
    let best: Best | undefined;
    for (const peer of this.#peers.values()) {
      const announced = peer.announced.get(origin);
      if (announced === undefined) continue;
      const candidate: Best = { ...announced, via: peer.uri };
      if (best === undefined || isBetter(candidate, best)) best = candidate;
    }
    const held = this.#best.get(origin);
    for (const topic of held?.topics ?? []) this.#wanted.delete(topic, origin);
    if (best === undefined) {
      this.#best.delete(origin);
      return;
    }
    this.#best.set(origin, best);
    for (const topic of best.topics) this.#wanted.add(topic, origin);
  }
}

function isCovered(announced: Announced | undefined, topic: string): boolean {
  return announced?.topics.some((pattern) => matchesTopic(pattern, topic as TopicName)) ?? false;
}

function readInterest(message: agp.TopicInterest, patternsMax: number): Announced | ErrorFacts {
  if (message.topics.length > patternsMax) {
    return {
      code: "CAUSEWAY_LIMIT_COUNT",
      message: `expected at most ${patternsMax} patterns of one origin, got ${message.topics.length}`,
      details: { limit: "patternsMax" },
    };
  }
  if (message.path.length > defaults.pathHopsMax) {
    return {
      code: "CAUSEWAY_SYNC_PATH_INVALID",
      message: `expected a PATH of at most ${defaults.pathHopsMax} gateways, got ${message.path.length}`,
    };
  }
  try {
    return {
      origin: parseGatewayUri(message.origin),
      epoch: message.epoch,
      sequence: message.sequence,
      path: message.path.map(parseGatewayUri),
      topics: [...new Set(message.topics.map(parseTopicPattern))].sort(),
      core: message.core === "" ? "" : parseGatewayUri(message.core),
    };
  } catch (thrown) {
    if (!isCausewayError(thrown)) throw thrown;
    return { code: thrown.code, message: thrown.message };
  }
}

interface Version {
  readonly epoch: bigint;
  readonly sequence: bigint;
}

function compareVersions(a: Version, b: Version): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  return a.sequence === b.sequence ? 0 : a.sequence < b.sequence ? -1 : 1;
}

function isBetter(a: Best, b: Best): boolean {
  const version = compareVersions(a, b);
  if (version !== 0) return version > 0;
  return a.path.length === b.path.length ? a.via < b.via : a.path.length < b.path.length;
}

const digestOf = (i: Omit<Announcement["interest"], "withdrawn">): string =>
  `${i.epoch}.${i.sequence} ${i.path.join(" ")} ${i.topics.join(" ")} ${i.core}`;

const nobody: readonly Copy[] = [];
