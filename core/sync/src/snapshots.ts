/**
 * Complete views (AMSP-70): what a session begins with, what a peer may ask for again, and the comparison of digests
 * that ends each one. While a full view comes in, what it has not named yet still counts; at its end the rest goes.
 */
import { type ErrorFacts, later, type Now } from "@causeway/core-base";
import { equalBytes, type Version } from "@causeway/core-records";
import type { amsp } from "@causeway/core-wire";
import { vectorMap } from "./hello.ts";
import { dropWay } from "./import.ts";
import type { Peer } from "./peer.ts";
import type { SyncState } from "./sync-state.ts";

/** What a snapshot needs of the rest of the machine. */
export interface SnapshotHooks {
  readonly reject: (now: Now, peer: Peer, error: ErrorFacts) => void;
  /** The peer's view and ours match. */
  readonly synced: (peer: Peer) => void;
  /** A peer claims to have seen this version of our own records. */
  readonly ownVersion: (now: Now, claimed: Version) => void;
}

export class Snapshots {
  readonly #state: SyncState;
  readonly #hooks: SnapshotHooks;

  constructor(state: SyncState, hooks: SnapshotHooks) {
    this.#state = state;
    this.#hooks = hooks;
  }

  /** Begins our view for a peer: the rest after the point that its Hello names, or all of it. */
  begin(now: Now, peer: Peer, hello: amsp.Hello): void {
    const have = vectorMap(hello.have);
    this.noticeOwn(now, have);
    const canResume = peer.sent.isBegun && equalBytes(hello.resumeToken, peer.sent.token);
    const isResumed = canResume && peer.sent.resumeAfter(hello.resumeNumber);
    if (!isResumed) {
      peer.subscriptions.clear();
      this.#restart(peer);
    }
    peer.sent.have = have;
    this.#begin(now, peer, !isResumed);
    // What the peer subscribes to right after its Hello belongs into this snapshot.
    peer.nextFlush = later(now.instant, this.#state.limits.flushMs);
    this.#state.wakeAt(`flush ${peer.name}`, peer.nextFlush);
  }

  /** The peer asks for its complete view again. */
  takeRefresh(now: Now, peer: Peer): void {
    const { refreshes } = peer;
    if (now.instant >= later(refreshes.start, minuteMs)) peer.refreshes = { start: now.instant, count: 0 };
    if (peer.refreshes.count >= this.#state.limits.refreshesPerMinute) {
      this.#state.notify(now, peer, {
        code: "CAUSEWAY_LIMIT_RATE",
        message: `expected at most ${this.#state.limits.refreshesPerMinute} complete views per minute`,
        retryAfterMs: later(peer.refreshes.start, minuteMs) - now.instant,
        details: { limit: "refreshesPerMinute" },
      });
      return;
    }
    peer.refreshes.count += 1;
    this.#restart(peer);
    this.#begin(now, peer, true);
  }

  takeBegin(now: Now, peer: Peer, begin: amsp.SnapshotBegin): void {
    const isKnown = peer.received.token !== undefined && equalBytes(peer.received.token, begin.token);
    if (!begin.full && !isKnown) this.resync(now, peer, "the snapshot goes on from a point that is not held here");
    else peer.received.begin(begin.token, begin.full);
  }

  takeEnd(now: Now, peer: Peer, end: amsp.SnapshotEnd): void {
    const { received } = peer;
    if (received.isWaitingForSnapshot) return;
    for (const key of received.takeStale()) dropWay(this.#state, now, peer, key);
    this.noticeOwn(now, vectorMap(end.vector));
    if (equalBytes(received.digest(), end.digest)) {
      received.mismatches = 0;
      this.#state.move(now, peer, "synced", "views match");
      this.#hooks.synced(peer);
      this.#state.mergeVector([...vectorMap(end.vector)].map(([origin, version]) => ({ origin, ...version })));
      return;
    }
    received.mismatches += 1;
    this.#state.event({ name: "sync.view_mismatch", peer: peer.name });
    if (received.mismatches > this.#state.limits.mismatchesMax) {
      received.mismatches = 0;
      this.#hooks.reject(now, peer, {
        code: "CAUSEWAY_SYNC_VIEW_MISMATCH",
        message: `expected equal views after ${this.#state.limits.mismatchesMax} complete snapshots, got different ones`,
      });
      return;
    }
    this.resync(now, peer, "views differ");
  }

  /** Asks for the complete view again; nothing counts until it begins. */
  resync(now: Now, peer: Peer, reason: string): void {
    peer.received.isWaitingForSnapshot = true;
    this.#state.move(now, peer, "mismatch", reason);
    this.#state.send(now, peer, { case: "refresh", value: {} });
    // Without an answer the session is useless; a new one starts from a full snapshot.
    this.#state.timers.set(`hello ${peer.name}`, later(now.instant, this.#state.limits.helloMs));
  }

  /** Notices when somebody holds a version of ours that we may not know of. */
  noticeOwn(now: Now, vector: ReadonlyMap<string, Version>): void {
    const claimed = vector.get(this.#state.self.name);
    if (claimed !== undefined) this.#hooks.ownVersion(now, claimed);
  }

  #restart(peer: Peer): void {
    peer.sent.restart(this.#state.options.random.bytes(tokenBytes));
    this.#state.markAll(peer);
  }

  #begin(now: Now, peer: Peer, full: boolean): void {
    const { sent } = peer;
    sent.isSnapshotOpen = true;
    sent.isBegun = true;
    this.#state.send(now, peer, {
      case: "snapshotBegin",
      value: { records: BigInt(sent.pendingCount), full, token: sent.token },
    });
  }
}

const tokenBytes = 8;
const minuteMs = 60_000;
