/**
 * AGP links to neighbour gateways: dialled from the configuration beside the AMSP session, or accepted; opened by
 * PeerOpen and PeerAccept (ANA-111 to ANA-114); one for each neighbour.
 */
import { CausewayError, type GatewayUri, later, parseGatewayUri, refuse } from "@causeway/core-base";
import type { ForwardingTable } from "@causeway/core-forwarding";
import { agp, encodeFrame, FrameKind, type FrameScan, fromErrorDetail } from "@causeway/core-wire";
import type { BoundedLog } from "./bounded-log.ts";
import { decodeBody } from "./decode-body.ts";
import type { EventFeed } from "./event-feed.ts";
import type { LinkEntry, Links } from "./links.ts";
import type { GatewayConfig, GatewayDeps, GatewayLimits, Link, PeerConfig } from "./ports.ts";
import type { Tally } from "./tally.ts";
import type { TopicsDriver } from "./topics-driver.ts";

/** What peer links work with. */
export interface PeerLinkParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly features: readonly string[];
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly topics: TopicsDriver;
  readonly tally: Tally;
  readonly events: EventFeed;
  readonly security: BoundedLog;
  /** The link to a neighbour is gone, and no other one is there. */
  readonly onDown: (peer: GatewayUri) => void;
  /** Takes a dialled link into service: frames and its end come back through the gateway. */
  readonly adopt: (link: Link, role: LinkEntry["role"]) => LinkEntry;
}

/** What a neighbour says of itself in its first frame. */
interface Introduction {
  readonly uri: GatewayUri;
  readonly level: 1 | 2;
  readonly features: readonly string[];
}

/** Features of a neighbour that are kept. */
const featuresMax = 64;
/** The feature without which two gateways have nothing to say to each other. */
const protocol = "agp/1";

/** Data links to neighbours. */
export class PeerLinks {
  readonly #parts: PeerLinkParts;
  readonly #stopping = new AbortController();
  /** Failed dials in a row of each configured neighbour. */
  readonly #failures = new Map<PeerConfig, number>();
  /** Neighbours whose link came from the other side; dialled when that one ends. */
  readonly #satisfied = new Map<GatewayUri, PeerConfig>();

  constructor(parts: PeerLinkParts) {
    this.#parts = parts;
  }

  start(): void {
    for (const config of this.#parts.config.peers) void this.#dial(config);
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** An accepted link of a gateway: it has the handshake time to introduce itself. */
  expectIntroduction(entry: LinkEntry): void {
    const { deps, limits } = this.#parts;
    deps.scheduler.at(later(deps.scheduler.now().instant, limits.handshakeMs), () => {
      if (entry.role.kind !== "peer-accepting" && entry.role.kind !== "peer-opening") return;
      entry.link.close(refuse("CAUSEWAY_TIMEOUT", `expected an introduction within ${limits.handshakeMs} ms`));
    });
  }

  /** Takes PeerOpen, PeerAccept, or an error before them; false when the frame is of another kind. */
  handleFrame(entry: LinkEntry, scan: FrameScan): boolean {
    const { role } = entry;
    if (role.kind === "peer-accepting" && scan.kind === FrameKind.peerOpen) {
      const introduction = this.#check(entry, decodeBody(agp.PeerOpenSchema, scan));
      entry.link.send(encodeFrame({ case: "peerAccept", value: this.#introduceSelf() }));
      this.#establish(entry, introduction, undefined);
      return true;
    }
    if (role.kind === "peer-opening" && scan.kind === FrameKind.peerAccept) {
      const introduction = this.#check(entry, decodeBody(agp.PeerAcceptSchema, scan));
      this.#establish(entry, introduction, role.config);
      return true;
    }
    if (role.kind === "peer-opening" && scan.kind === FrameKind.error) {
      const { error } = decodeBody(agp.ErrorSchema, scan);
      entry.link.close(error && fromErrorDetail(error));
      return true;
    }
    return false;
  }

  /** The link is gone. `role` is what it was. */
  handleDown(entry: LinkEntry, role: LinkEntry["role"], error: CausewayError | undefined): void {
    const { links, table, topics, deps, tally } = this.#parts;
    if (role.kind === "peer-opening") {
      this.#retry(role.config, error);
      return;
    }
    if (role.kind !== "peer") return;
    const { peer } = role.arrival;
    const isCurrent = links.peer(peer) === entry;
    if (isCurrent) {
      links.setPeer(peer, undefined);
      table.apply({ kind: "peer", peer, isUp: false });
      topics.handlePeerDown(peer);
      this.#parts.onDown(peer);
      if (role.config?.kind === "uplink") this.#chooseUplink();
      tally.add("peer_links_down");
      const cause = error?.message ?? "the link has ended";
      const forAgents = { subject: entry.peer.domain, cause: "the link has ended" };
      this.#parts.events.publish({ type: "peer.down", subject: peer, cause, forAgents });
      if (!this.#stopping.signal.aborted) deps.log.warn("peer.link_down", { peer, reason: error?.message });
    }
    const waiting = isCurrent ? this.#satisfied.get(peer) : undefined;
    if (isCurrent) this.#satisfied.delete(peer);
    const config = role.config ?? waiting;
    if (config !== undefined && links.peer(peer) === undefined) this.#retry(config, error);
    else if (role.config !== undefined) this.#satisfied.set(peer, role.config);
  }

  async #dial(config: PeerConfig): Promise<void> {
    const { deps, adopt } = this.#parts;
    if (this.#stopping.signal.aborted) return;
    const expect = {
      role: "gateway",
      ...(config.gatewayUri !== undefined && { gatewayUri: config.gatewayUri }),
    } as const;
    try {
      const link = await deps.dial.link({ url: config.url, expect, signal: this.#stopping.signal });
      if (this.#stopping.signal.aborted) {
        link.close();
        return;
      }
      const entry = adopt(link, { kind: "peer-opening", config });
      this.expectIntroduction(entry);
      link.send(encodeFrame({ case: "peerOpen", value: this.#introduceSelf() }));
    } catch (thrown) {
      this.#retry(config, CausewayError.from(thrown));
    }
  }

  #retry(config: PeerConfig, error: CausewayError | undefined): void {
    if (this.#stopping.signal.aborted) return;
    const { deps, limits } = this.#parts;
    const failures = (this.#failures.get(config) ?? 0) + 1;
    this.#failures.set(config, failures);
    const backoffMs = Math.min(limits.reconnectMsMax, limits.reconnectMsMin * 2 ** (failures - 1));
    // Jitter keeps neighbours that lost one gateway from returning in the same moment.
    const waitMs = backoffMs * (0.5 + deps.random.fraction() / 2);
    deps.log.debug("peer.dial_failed", { url: config.url, code: error?.code, reason: error?.message, waitMs });
    deps.scheduler.at(later(deps.scheduler.now().instant, waitMs), () => void this.#dial(config));
  }

  #introduceSelf(): { gatewayUri: string; level: number; features: string[] } {
    const { config, features } = this.#parts;
    return { gatewayUri: config.gatewayUri, level: config.level, features: [...features] };
  }

  /** ANA-112: what the neighbour says has to be what its certificate says, and a level that may be our neighbour. */
  #check(entry: LinkEntry, said: agp.PeerOpen | agp.PeerAccept): Introduction {
    const certified = entry.peer.gateway;
    if (certified === undefined) {
      throw refuse(
        "CAUSEWAY_IDENTITY_ROLE_WRONG",
        `expected a gateway's certificate, got that of the ${entry.peer.role} ${entry.peer.spiffeId}`,
      );
    }
    if (said.gatewayUri === "") throw notAllowed("expected gateway_uri, got none");
    if (said.level === 0) throw notAllowed("expected level, got none");
    if (said.features.length === 0) throw notAllowed("expected features, got none");
    if (!said.features.includes(protocol)) {
      throw refuse(
        "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
        `expected the feature ${protocol}, got ${said.features.join(", ").slice(0, 200)}`,
      );
    }
    const uri = parseGatewayUri(said.gatewayUri);
    if (uri !== certified.uri) throw notAllowed(`expected the certified URI ${certified.uri}, got ${uri}`);
    if (said.level !== certified.level)
      throw notAllowed(`expected the certified level ${certified.level}, got ${said.level}`);
    this.#checkNeighbour(entry, uri, certified.level);
    return { uri, level: certified.level, features: said.features.slice(0, featuresMax) };
  }

  #checkNeighbour(entry: LinkEntry, uri: GatewayUri, level: 1 | 2): void {
    const { config } = this.#parts;
    if (uri === config.gatewayUri) {
      throw refuse("CAUSEWAY_SYNC_DUPLICATE_GATEWAY", `${uri} is this gateway itself`);
    }
    // A domain certifies any URI that it likes; it must not take over the link of a gateway of another one.
    const known = this.#parts.links.peer(uri);
    if (known !== undefined && known.peer.domain !== entry.peer.domain) {
      throw refuse("CAUSEWAY_SYNC_DUPLICATE_GATEWAY", `${uri} is connected and belongs to another domain`);
    }
    const isOwnDomain = entry.peer.domain === config.domain;
    if (config.level === 1 && level === 1) throw notAllowed("Level-1 gateways are no neighbours of each other");
    if (config.level !== level && !isOwnDomain) {
      throw notAllowed(
        `a Level-1 gateway belongs to the Level-2 gateways of its own domain, got one of ${entry.peer.domain}`,
      );
    }
  }

  #establish(entry: LinkEntry, introduction: Introduction, config: PeerConfig | undefined): void {
    const { links, table, topics, deps, tally } = this.#parts;
    const { uri, level, features } = introduction;
    const before = links.peer(uri);
    entry.role = {
      kind: "peer",
      arrival: { kind: "peer", link: entry.id, peer: uri, domain: entry.peer.domain },
      level,
      features,
      config,
    };
    if (config !== undefined) this.#failures.delete(config);
    if (before !== undefined) {
      const keepsNew = this.#keepsNew(before, entry, uri);
      const loser = keepsNew ? before : entry;
      if (keepsNew) {
        links.setPeer(uri, entry);
        // The other side may have restarted: interest is told anew on the new link.
        topics.handlePeerDown(uri);
        topics.handlePeerUp({ uri, level });
      }
      loser.link.close(
        refuse("CAUSEWAY_SYNC_DUPLICATE_GATEWAY", `another link to ${uri} stays; this one is not needed`),
      );
      return;
    }
    links.setPeer(uri, entry);
    table.apply({ kind: "peer", peer: uri, isUp: true });
    if (config?.kind === "uplink") this.#chooseUplink();
    topics.handlePeerUp({ uri, level });
    tally.add("peer_links_up");
    const cause = "the link stands";
    this.#parts.events.publish({
      type: "peer.up",
      subject: uri,
      cause,
      forAgents: { subject: entry.peer.domain, cause },
    });
    deps.log.info("peer.link_up", {
      peer: uri,
      level,
      spiffeId: entry.peer.spiffeId,
      fingerprint: entry.peer.fingerprint,
    });
  }

  /**
   * The default route goes to the first configured uplink whose link is up. With none up it stays where it was, so that
   * senders hear of a lost peer and not of an unknown target.
   */
  #chooseUplink(): void {
    const { links, table, config } = this.#parts;
    for (const wanted of config.peers) {
      const entry = links.peers().find((each) => each.role.kind === "peer" && each.role.config === wanted);
      if (wanted.kind !== "uplink" || entry?.role.kind !== "peer") continue;
      table.apply({ kind: "uplink", peer: entry.role.arrival.peer });
      return;
    }
  }

  /** Of two links in one direction the newer stays; of two in both, the one that the lower URI dialled. */
  #keepsNew(before: LinkEntry, after: LinkEntry, uri: GatewayUri): boolean {
    const isDialled = (entry: LinkEntry): boolean => entry.role.kind === "peer" && entry.role.config !== undefined;
    if (isDialled(before) === isDialled(after)) return true;
    return isDialled(after) === this.#parts.config.gatewayUri < uri;
  }
}

const notAllowed = (problem: string): CausewayError => refuse("CAUSEWAY_SYNC_PEER_NOT_ALLOWED", problem);
