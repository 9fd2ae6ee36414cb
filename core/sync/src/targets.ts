/**
 * Whom we dial, and when again (AMSP-8, AMSP-11, AMSP-54). One entry per configured address; back-off doubles from
 * `reconnectMsMin` to `reconnectMsMax` with jitter and starts over once a peer was in sync.
 */
import { type GatewayUri, later, type Now, refuse } from "@causeway/core-base";
import type { PeerName } from "./effects.ts";
import type { SyncTarget } from "./options.ts";
import type { SyncState } from "./sync-state.ts";

interface Target {
  readonly target: string;
  readonly expect: GatewayUri | undefined;
  /** Who answered last. */
  peer: PeerName | undefined;
  state: "waiting" | "dialling" | "open";
  attempts: number;
}

export class Targets {
  readonly #state: SyncState;
  readonly #targets = new Map<string, Target>();

  constructor(state: SyncState) {
    this.#state = state;
  }

  add(now: Now, { target, expect }: SyncTarget): void {
    if (this.#targets.has(target)) throw refuse("CAUSEWAY_MISUSE", `expected a new target, got ${target} again`);
    this.#targets.set(target, { target, expect, peer: expect, state: "waiting", attempts: 0 });
    this.#dialAt(target, now, 0);
  }

  /** The peer that was reached through the target, if any. */
  remove(target: string): PeerName | undefined {
    const peer = this.#targets.get(target)?.peer;
    this.#targets.delete(target);
    this.#state.timers.clear(timerName(target));
    return peer;
  }

  clear(): void {
    for (const target of [...this.#targets.keys()]) this.remove(target);
  }

  /** Who is expected at the target; undefined when anybody is, or the target is gone. */
  expected(target: string): GatewayUri | undefined {
    return this.#targets.get(target)?.expect;
  }

  has(target: string): boolean {
    return this.#targets.has(target);
  }

  leadsTo(peer: PeerName): boolean {
    return [...this.#targets.values()].some((t) => t.peer === peer);
  }

  opened(target: string, peer: PeerName): void {
    const entry = this.#targets.get(target);
    if (entry === undefined) return;
    entry.state = "open";
    entry.peer = peer;
  }

  synced(target: string): void {
    const entry = this.#targets.get(target);
    if (entry !== undefined) entry.attempts = 0;
  }

  /** The dial failed or its session ended: try again later. */
  ended(now: Now, target: string): void {
    const entry = this.#targets.get(target);
    if (entry === undefined) return;
    const { reconnectMsMin, reconnectMsMax } = this.#state.limits;
    const full = Math.min(reconnectMsMax, reconnectMsMin * 2 ** Math.min(entry.attempts, 16));
    entry.state = "waiting";
    entry.attempts += 1;
    this.#dialAt(target, now, full * (0.5 + this.#state.options.random.fraction() / 2));
  }

  /** The peer has no session any more: whoever leads to it tries again. */
  peerLost(now: Now, peer: PeerName): void {
    for (const entry of this.#targets.values()) {
      if (
        entry.peer === peer &&
        entry.state === "waiting" &&
        this.#state.timers.at(timerName(entry.target)) === undefined
      ) {
        this.ended(now, entry.target);
      }
    }
  }

  /** The timer of a target fired. Returns the peer that is being dialled, if it is known. */
  due(target: string): PeerName | undefined {
    const entry = this.#targets.get(target);
    if (entry === undefined || entry.state !== "waiting") return undefined;
    const session = entry.peer === undefined ? undefined : this.#state.peers.get(entry.peer)?.session;
    // The peer dialled us in the meantime. Its session serves; `peerLost` starts the dialling again.
    if (session !== undefined) return undefined;
    entry.state = "dialling";
    this.#state.emit({ type: "dial", target });
    return entry.peer;
  }

  #dialAt(target: string, now: Now, delayMs: number): void {
    this.#state.timers.set(timerName(target), later(now.instant, delayMs));
  }
}

const timerName = (target: string): string => `dial ${target}`;
