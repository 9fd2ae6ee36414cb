/**
 * Peering sessions (AMSP-99): opening, Hello, keep-alive, loss and return, end. Which transitions exist is in
 * session-table.ts; what happens in them is here. A peer has at most one transport; of two that were opened at the same
 * time the one that the lower name dialled stays.
 */

import { create } from "@bufbuild/protobuf";
import { type ErrorFacts, type GatewayUri, isErrorCode, later, type Now } from "@causeway/core-base";
import { amsp } from "@causeway/core-wire";
import type { PeerName, SessionId, SyncRole } from "./effects.ts";
import { helloFor, negotiateKeepAlive, refuseHello } from "./hello.ts";
import { certifiedPeer, refusePairing } from "./level.ts";
import type { OpenedSession } from "./options.ts";
import { createPeer, isOpen, type Peer } from "./peer.ts";
import { type SnapshotHooks, Snapshots } from "./snapshots.ts";
import { errorDetail, type SyncState } from "./sync-state.ts";
import { Targets } from "./targets.ts";

export class Sessions {
  readonly targets: Targets;
  readonly #state: SyncState;
  readonly snapshots: Snapshots;
  #isLeaving = false;

  constructor(state: SyncState, ownVersion: SnapshotHooks["ownVersion"]) {
    this.#state = state;
    this.targets = new Targets(state);
    this.snapshots = new Snapshots(state, {
      ownVersion,
      reject: (now, peer, error) => this.reject(now, peer, error),
      synced: ({ session }) => {
        if (session?.target !== undefined) this.targets.synced(session.target);
      },
    });
  }

  /** A transport is open. Whoever may not peer with us is told so by code and learns nothing else. */
  opened(now: Now, opened: OpenedSession): void {
    const { session, peer: identity, target } = opened;
    const certified = certifiedPeer(identity);
    if (certified === undefined) {
      this.#refuse(now, opened, identity.spiffeId, {
        code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
        message: `expected a gateway or a registry, got ${identity.role} ${identity.spiffeId}`,
      });
      return;
    }
    const facts = { ...certified, domain: identity.domain };
    const error = this.#refusal(facts, opened);
    if (error !== undefined) {
      this.#refuse(now, opened, facts.name, error);
      return;
    }
    const peer = this.#state.peers.get(facts.name) ?? this.#addPeer(createPeer(facts, now.instant, this.#state.limits));
    // Whoever answers is known from now on, also when another session stays: then it need not be dialled again.
    if (target !== undefined) this.targets.opened(target, peer.name);
    if (peer.session !== undefined && !this.#replacesSession(now, peer, opened)) return;
    // With its last session a peer that nobody dials was forgotten.
    this.#state.peers.set(peer.name, peer);
    peer.session = {
      id: session,
      target,
      fingerprint: identity.fingerprint,
      isIntroduced: false,
      lastHeard: now.instant,
      lastSent: now.instant,
    };
    this.#state.bySession.set(session, peer);
    if (target !== undefined) this.targets.opened(target, peer.name);
    if (peer.state === "IDLE" || peer.state === "CLOSED") this.#state.move(now, peer, "connect", "transport open");
    if (target !== undefined) this.#sayHello(now, peer);
    this.#state.timers.set(`hello ${peer.name}`, later(now.instant, this.#state.limits.helloMs));
  }

  dialFailed(now: Now, target: string, reason: string): void {
    for (const peer of this.#state.peers.values()) {
      if (peer.session === undefined && peer.state === "CONNECTING" && this.targets.leadsTo(peer.name)) {
        this.#state.move(now, peer, "failed", reason);
      }
    }
    this.targets.ended(now, target);
  }

  dialDue(now: Now, target: string): void {
    const name = this.targets.due(target);
    const peer = name === undefined ? undefined : this.#state.peers.get(name);
    if (peer !== undefined && (peer.state === "IDLE" || peer.state === "CLOSED"))
      this.#state.move(now, peer, "connect", "dialling");
  }

  /** The transport is gone without a Close. */
  closed(now: Now, session: SessionId, reason: string): void {
    const peer = this.#state.bySession.get(session);
    if (peer !== undefined) this.#lose(now, peer, reason);
  }

  /** Ends the session and says why; the peer may come back. */
  reject(now: Now, peer: Peer, error: ErrorFacts): void {
    this.#state.event({ name: "sync.peer_refused", peer: peer.name, error });
    this.#hangUp(now, peer, error, false);
    this.#lose(now, peer, error.message);
  }

  /** Ends the peering for good: what only this peer told is removed (C-12). */
  end(now: Now, peer: Peer, error: ErrorFacts): void {
    this.#hangUp(now, peer, error, false);
    this.#purge(now, peer, error.message);
  }

  leave(now: Now): void {
    this.#isLeaving = true;
    this.targets.clear();
    for (const peer of this.#state.peers.values()) {
      this.#hangUp(now, peer, undefined, true);
      this.#dropSession(peer);
      this.#state.move(now, peer, "leave", "leaving service");
    }
  }

  takeHello(now: Now, peer: Peer, hello: amsp.Hello): void {
    const error = isOpen(peer)
      ? { code: "CAUSEWAY_FRAME_UNEXPECTED" as const, message: "expected one Hello per session, got another" }
      : refuseHello(peer, hello);
    if (error !== undefined) {
      this.reject(now, peer, error);
      return;
    }
    if (peer.session?.target === undefined) this.#sayHello(now, peer);
    this.#state.timers.clear(`hello ${peer.name}`);
    peer.keepAliveMs = negotiateKeepAlive(this.#state.limits.keepAliveMs, hello.keepAliveMs);
    peer.recordsMax = hello.recordsMax;
    peer.graceUntil = undefined;
    this.#state.timers.clear(`grace ${peer.name}`);
    this.#state.timers.clear(`gone ${peer.name}`);
    this.#state.timers.set(`alive ${peer.name}`, later(now.instant, peer.keepAliveMs));
    this.#state.timers.set(`silent ${peer.name}`, later(now.instant, this.#state.limits.offlineAfterMs));
    this.#state.move(now, peer, "hello-agreed", "Hello exchanged");
    this.#redecideWays(now, peer);
    this.snapshots.begin(now, peer, hello);
  }

  takeClose(now: Now, peer: Peer, close: amsp.Close): void {
    const { code = "", message = "" } = close.error ?? {};
    if (close.leaving) {
      this.#closeTransport(peer);
      this.#purge(now, peer, "the peer leaves service");
      return;
    }
    if (isErrorCode(code)) this.#state.event({ name: "sync.peer_refused", peer: peer.name, error: { code, message } });
    this.#closeTransport(peer);
    this.#lose(now, peer, message || "the peer closed the session");
  }

  /** One of this file's timers fired for a peer. */
  timer(now: Now, kind: string, peer: Peer): void {
    switch (kind) {
      case "hello":
        this.#helloLate(now, peer);
        break;
      case "alive":
        if (!isOpen(peer)) break;
        this.#state.send(now, peer, { case: "keepAlive", value: { atUnixMs: BigInt(now.unix) } });
        this.#state.timers.set(`alive ${peer.name}`, later(now.instant, peer.keepAliveMs));
        break;
      case "silent":
        this.#checkSilence(now, peer);
        break;
      case "grace":
        peer.graceUntil = undefined;
        this.#markWays(peer);
        break;
      case "gone":
        // One that is about to return decides by itself: its Hello keeps what it told, its loss starts the time anew.
        if (peer.session === undefined) this.#purge(now, peer, "the peer did not come back");
        break;
    }
  }

  #helloLate(now: Now, peer: Peer): void {
    const isResyncing = isOpen(peer) && peer.received.isWaitingForSnapshot;
    if (peer.session === undefined || (isOpen(peer) && !isResyncing)) return;
    this.reject(now, peer, {
      code: "CAUSEWAY_TIMEOUT",
      message: `expected ${isResyncing ? "a snapshot" : "a Hello"} within ${this.#state.limits.helloMs} ms, got none`,
    });
  }

  #checkSilence(now: Now, peer: Peer): void {
    if (peer.session === undefined) return;
    const silentAt = later(peer.session.lastHeard, this.#state.limits.offlineAfterMs);
    if (silentAt > now.instant) {
      this.#state.timers.set(`silent ${peer.name}`, silentAt);
      return;
    }
    this.#hangUp(
      now,
      peer,
      { code: "CAUSEWAY_TIMEOUT", message: `nothing heard for ${this.#state.limits.offlineAfterMs} ms` },
      false,
    );
    this.#lose(now, peer, "silent");
  }

  #refusal(
    facts: { readonly name: PeerName; readonly role: SyncRole; readonly domain: GatewayUri | string },
    opened: OpenedSession,
  ): ErrorFacts | undefined {
    if (this.#isLeaving) return { code: "CAUSEWAY_GATEWAY_DRAINING", message: "this gateway is going out of service" };
    const { target } = opened;
    const expected = target === undefined ? undefined : this.targets.expected(target);
    if (target !== undefined && !this.targets.has(target)) {
      return { code: "CAUSEWAY_CANCELLED", message: "the peer was removed while it was dialled" };
    }
    if (expected !== undefined && expected !== facts.name) {
      return {
        code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
        message: `expected ${expected} at ${target}, got ${facts.name}`,
      };
    }
    // The URI is certified by the authority of whoever shows it, so it is a name of that domain only.
    const held = this.#state.peers.get(facts.name);
    if (held !== undefined && held.domain !== facts.domain) {
      return {
        code: "CAUSEWAY_SYNC_DUPLICATE_GATEWAY",
        message: `expected ${facts.name} of ${held.domain}, got one of ${facts.domain} with its name`,
      };
    }
    return refusePairing(this.#state.self, facts, target !== undefined);
  }

  /** Of two transports to one peer one goes. True when the new one stays. */
  #replacesSession(now: Now, peer: Peer, opened: OpenedSession): boolean {
    const held = peer.session;
    if (held === undefined) return true;
    const weDialled = opened.target !== undefined;
    if ((held.target !== undefined) !== weDialled) {
      const stays = weDialled === this.#state.self.name < peer.name;
      if (stays) {
        this.#closeTransport(peer);
        this.#lose(now, peer, "replaced by the session that the lower name dialled");
      } else {
        this.#state.emit({ type: "close", session: opened.session });
        if (opened.target !== undefined) this.targets.ended(now, opened.target);
      }
      return stays;
    }
    // The same gateway after a restart shows the same certificate; one that is silent is as good as gone. Anything else
    // is a second gateway under one name (AMSP-40).
    const isQuiet = later(held.lastHeard, 2 * this.#state.limits.keepAliveMs) <= now.instant;
    if (held.fingerprint !== opened.peer.fingerprint && !isQuiet) {
      this.#refuse(now, opened, peer.name, {
        code: "CAUSEWAY_SYNC_DUPLICATE_GATEWAY",
        message: `expected one gateway named ${peer.name}, got a second one while the first is connected`,
      });
      return false;
    }
    this.#closeTransport(peer);
    this.#lose(now, peer, "the peer connected anew");
    return true;
  }

  #refuse(now: Now, opened: OpenedSession, peer: string, error: ErrorFacts): void {
    const { session, target } = opened;
    const message = create(amsp.MessageSchema, { body: { case: "close", value: { error: errorDetail(error) } } });
    this.#state.emit({ type: "send", session, message });
    this.#state.emit({ type: "close", session, error });
    this.#state.event({ name: "sync.peer_refused", peer, error });
    if (target !== undefined) this.targets.ended(now, target);
  }

  #addPeer(peer: Peer): Peer {
    this.#state.peers.set(peer.name, peer);
    return peer;
  }

  #sayHello(now: Now, peer: Peer): void {
    this.#state.send(now, peer, { case: "hello", value: helloFor(this.#state, peer) });
    if (peer.session !== undefined) peer.session.isIntroduced = true;
    if (peer.state === "CONNECTING" && peer.session?.target !== undefined)
      this.#state.move(now, peer, "hello-sent", "Hello sent");
    if (peer.role !== "level2") return;
    for (const { id, topic } of this.#state.subscriptions.all()) {
      this.#state.send(now, peer, { case: "subscribe", value: { id, interest: topic } });
    }
  }

  /** The transport is gone; the peer may return, and what it told stays, inapplicable (C-12). */
  #lose(now: Now, peer: Peer, reason: string): void {
    const wasUsable = this.#state.rules.isUsable(peer.state);
    const target = peer.session?.target;
    this.#dropSession(peer);
    this.#state.move(now, peer, "lost", reason);
    if (peer.state === "OFFLINE") {
      this.#state.wakeAt(`gone ${peer.name}`, later(now.instant, this.#state.limits.offlineKeepMs));
      if (wasUsable) this.#startGrace(now, peer);
    }
    if (target !== undefined) this.targets.ended(now, target);
    this.targets.peerLost(now, peer.name);
    if (peer.state === "IDLE" && !this.targets.leadsTo(peer.name)) this.#state.peers.delete(peer.name);
  }

  #startGrace(now: Now, peer: Peer): void {
    peer.graceUntil = later(now.instant, this.#state.limits.restartGraceMs);
    this.#state.timers.set(`grace ${peer.name}`, peer.graceUntil);
    this.#redecideWays(now, peer);
  }

  #purge(now: Now, peer: Peer, reason: string): void {
    const target = peer.session?.target;
    this.#dropSession(peer);
    this.#state.timers.clear(`gone ${peer.name}`);
    this.#state.timers.clear(`grace ${peer.name}`);
    this.#state.move(now, peer, "leave", reason);
    peer.graceUntil = undefined;
    for (const key of peer.received.keys()) {
      peer.received.delete(key);
      const slot = this.#state.base.slot(key);
      if (slot === undefined || !slot.ways.delete(peer.name)) continue;
      this.#state.slotChanged(now, slot, "ways");
      if (slot.ways.size === 0 && slot.held.body !== undefined) this.#state.forget(slot);
    }
    this.#state.peers.delete(peer.name);
    if (target !== undefined) this.targets.ended(now, target);
    this.targets.peerLost(now, peer.name);
  }

  #hangUp(now: Now, peer: Peer, error: ErrorFacts | undefined, leaving: boolean): void {
    if (peer.session === undefined) return;
    this.#state.send(now, peer, { case: "close", value: { leaving, ...(error && { error: errorDetail(error) }) } });
    this.#state.emit({ type: "close", session: peer.session.id, ...(error && { error }) });
  }

  #closeTransport(peer: Peer): void {
    if (peer.session !== undefined) this.#state.emit({ type: "close", session: peer.session.id });
  }

  #dropSession(peer: Peer): void {
    if (peer.session !== undefined) this.#state.bySession.delete(peer.session.id);
    peer.session = undefined;
    for (const kind of sessionTimers) this.#state.timers.clear(`${kind} ${peer.name}`);
  }

  #redecideWays(now: Now, peer: Peer): void {
    for (const key of peer.received.keys()) {
      const slot = this.#state.base.slot(key);
      if (slot?.ways.has(peer.name)) this.#state.slotChanged(now, slot, "ways");
    }
  }

  #markWays(peer: Peer): void {
    for (const key of peer.received.keys()) {
      const slot = this.#state.base.slot(key);
      if (slot !== undefined) this.#state.markPending(slot);
    }
  }
}

const sessionTimers = ["hello", "alive", "silent", "flush", "audit"] as const;
