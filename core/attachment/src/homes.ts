/**
 * Where an agent is attached, when that may be several gateways at once (AAP-14, AAP-15). A home is one attachment that is
 * kept up, driven by an `AgentAttachment` of its own; this says how many there are and which carry on for which. All are of
 * one instance. Invariants: a home that works is ended only once another one works; no two homes at one gateway, except
 * the one that takes over from the other; at most twice as many homes as are wanted; the preferred home is the one that
 * gateways prefer, by the number of its attachment: the first of them, wherever it is attached now. What it doesn't know:
 * how a home finds its gateway, frames, time.
 */
import { type Instant, type Machine, refuse, type SpiffeId } from "@causeway/core-base";

/** Homes that an agent may want. */
export const homesMax = 8;

/** Numbers a home; never used again. */
export type HomeId = number;

export type HomesEffect =
  /** Keep up an attachment under this number, with whatever gateway `claim` allows. */
  | { readonly kind: "open"; readonly home: HomeId }
  /** End it in good order, if it is attached: another one carries on. */
  | { readonly kind: "end"; readonly home: HomeId; readonly reason: string }
  /** End all that is left: somebody decided that this agent is out. */
  | { readonly kind: "end-all" };

/** How a home is doing. `leaving`: it works, and ends as soon as another one does. */
export type HomeState = "attaching" | "attached" | "ready" | "leaving";

export interface HomeView {
  readonly home: HomeId;
  /** Order of preference, 0 first. The one that takes over has that of the one before. */
  readonly rank: number;
  readonly state: HomeState;
  readonly gateway: SpiffeId | undefined;
}

interface Home {
  readonly id: HomeId;
  readonly rank: number;
  /** The home that ends once this one works. */
  replaces: HomeId | undefined;
  state: "attaching" | "attached" | "ready";
  /** Draining: its gateway goes. Renewing: the gateway may stay, the attachment is to be a new one. */
  leaving: "draining" | "renewing" | undefined;
  gateway: SpiffeId | undefined;
  sequence: bigint;
}

export class Homes implements Machine<HomesEffect> {
  readonly #wanted: number;
  readonly #homes = new Map<HomeId, Home>();
  #nextHome = 1;
  /** A gateway has ended an attachment for this home, whose lease is on its way. */
  #takingOver: HomeId | undefined;
  #isOver = false;
  #effects: HomesEffect[] = [];

  /** `wanted`: gateways to be attached to at once, 1 to `homesMax`. Throws `CAUSEWAY_MISUSE`. */
  constructor(wanted: number) {
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > homesMax)
      throw refuse("CAUSEWAY_MISUSE", `expected 1 to ${homesMax} attachments at once, got ${wanted}`);
    this.#wanted = wanted;
  }

  /** Begins with one home; each further one follows when those before it are attached. */
  start(): void {
    if (this.#homes.size > 0 || this.#isOver) throw refuse("CAUSEWAY_MISUSE", "expected start once, got it again");
    this.#settle();
  }

  /** Whether the home may attach to this gateway, which is then its own. */
  claim(home: HomeId, gateway: SpiffeId): boolean {
    const mine = this.#homes.get(home);
    if (mine === undefined || !this.mayUse(home, gateway)) return false;
    mine.gateway = gateway;
    return true;
  }

  /** Whether no other home has this gateway. The one that it takes over from counts only while its gateway goes. */
  mayUse(home: HomeId, gateway: SpiffeId): boolean {
    const mine = this.#homes.get(home);
    for (const other of this.#homes.values()) {
      if (other === mine || other.gateway !== gateway) continue;
      if (other.leaving !== "renewing" || mine?.replaces !== other.id) return false;
    }
    return true;
  }

  /** The attachment number below which the home's has to be, so that those before it are preferred. */
  below(home: HomeId): bigint | undefined {
    const mine = this.#homes.get(home);
    let lowest: bigint | undefined;
    for (const { rank, state, leaving, sequence } of this.#homes.values()) {
      if (mine === undefined || rank >= mine.rank || state === "attaching" || leaving === "draining") continue;
      if (lowest === undefined || sequence < lowest) lowest = sequence;
    }
    return lowest;
  }

  /**
   * Whether an attachment of the home at this gateway takes the place of an older one there. What came by the older one
   * begins anew with it.
   */
  takesOver(home: HomeId, gateway: SpiffeId): boolean {
    if (this.#takingOver === home) return true;
    const before = this.#homes.get(home)?.replaces;
    return before !== undefined && this.#homes.get(before)?.gateway === gateway;
  }

  /** Its round led to no gateway: what it had in view is free for others. */
  handleBackoff(home: HomeId): void {
    const mine = this.#homes.get(home);
    if (mine?.state === "attaching") mine.gateway = undefined;
    if (this.#takingOver === home) this.#takingOver = undefined;
  }

  /** A home has its lease. */
  handleAttached(home: HomeId, gateway: SpiffeId, sequence: bigint): void {
    const mine = this.#homes.get(home);
    if (mine === undefined) return;
    mine.state = "attached";
    mine.gateway = gateway;
    mine.sequence = sequence;
    if (this.#takingOver === home) this.#takingOver = undefined;
    this.#settle();
  }

  /** Its gateway knows of this agent what the others know. `sequence`: of the attachment that this is about. */
  handleReady(home: HomeId, sequence: bigint): void {
    const mine = this.#homes.get(home);
    if (mine?.state !== "attached" || mine.sequence !== sequence) return;
    mine.state = "ready";
    this.#settle();
  }

  /** Its gateway goes out of service. */
  handleDraining(home: HomeId): void {
    const mine = this.#homes.get(home);
    if (mine === undefined || mine.state === "attaching") return;
    mine.leaving = "draining";
    this.#settle();
  }

  /**
   * An attachment is lost. `isFinal`: the gateway let nobody come back; `isReplaced`: because a newer attachment of the
   * same instance came, which may be the one that was to take over.
   */
  handleLost(home: HomeId, isFinal: boolean, isReplaced: boolean): void {
    const mine = this.#homes.get(home);
    if (mine === undefined) return;
    const next = isReplaced ? [...this.#homes.values()].find((other) => other.replaces === home) : undefined;
    if (isFinal && next === undefined) {
      this.#isOver = true;
      this.#takingOver = undefined;
      this.#homes.clear();
      this.#effects.push({ kind: "end-all" });
      return;
    }
    if (next?.state === "attaching") this.#takingOver = next.id;
    mine.state = "attaching";
    mine.gateway = undefined;
    if (mine.leaving !== undefined) this.#end(mine, "another attachment carries on");
    this.#settle();
  }

  /** Every attachment is to be made anew, for example with another certificate, without a gap. */
  renew(): void {
    for (const home of this.#homes.values()) if (home.state !== "attaching") home.leaving ??= "renewing";
    this.#settle();
  }

  /** The one that gateways send to first: that with the highest number. One whose gateway goes is the last choice. */
  get preferred(): HomeId | undefined {
    return this.#best()?.id;
  }

  get isAttached(): boolean {
    return this.#best() !== undefined;
  }

  /** Attached, or about to be: one gateway has passed the agent on from its older link to its newer one. */
  get isHeld(): boolean {
    return this.#takingOver !== undefined || this.isAttached;
  }

  status(): readonly HomeView[] {
    return [...this.#homes.values()].map(({ id, rank, state, leaving, gateway }) => ({
      home: id,
      rank,
      state: leaving === undefined ? state : "leaving",
      gateway: state === "attaching" ? undefined : gateway,
    }));
  }

  drain(): readonly HomesEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  deadline(): Instant | undefined {
    return undefined;
  }

  handleTimeout(): void {
    // No timers: each home has its own.
  }

  #best(): Home | undefined {
    let best: Home | undefined;
    for (const home of this.#homes.values()) {
      if (home.state === "attaching") continue;
      if (best === undefined || isBetter(home, best)) best = home;
    }
    return best;
  }

  /** Ends what another one carries on, and opens what is missing. */
  #settle(): void {
    if (this.#isOver) return;
    const homes = [...this.#homes.values()];
    for (const home of homes) {
      const isWorking = home.state === "ready" && home.leaving === undefined;
      const before = home.replaces === undefined ? undefined : this.#homes.get(home.replaces);
      // What leaves before it worked carries on for its predecessor all the same: it is attached.
      if (before !== undefined && (isWorking || home.leaving !== undefined))
        this.#end(before, "the agent is attached anew");
      if (!isWorking) continue;
      // A gateway that goes waits for its agents to be elsewhere, and this one is.
      for (const other of homes)
        if (other.leaving === "draining") this.#end(other, "the agent is attached to another gateway");
    }
    for (const home of [...this.#homes.values()]) {
      const isFollowed = [...this.#homes.values()].some((other) => other.replaces === home.id);
      if (home.leaving !== undefined && !isFollowed) this.#open(home.id);
    }
    const lasting = [...this.#homes.values()].filter((home) => home.leaving === undefined);
    if (lasting.length < this.#wanted && lasting.every(({ state }) => state !== "attaching")) this.#open(undefined);
  }

  #open(replaces: HomeId | undefined): void {
    const id = this.#nextHome++;
    const taken = new Set([...this.#homes.values()].map((home) => home.rank));
    let rank = 0;
    while (taken.has(rank)) rank++;
    this.#homes.set(id, {
      id,
      rank: (replaces === undefined ? undefined : this.#homes.get(replaces)?.rank) ?? rank,
      replaces,
      state: "attaching",
      leaving: undefined,
      gateway: undefined,
      sequence: 0n,
    });
    this.#effects.push({ kind: "open", home: id });
  }

  #end(home: Home, reason: string): void {
    if (!this.#homes.delete(home.id)) return;
    for (const other of this.#homes.values()) if (other.replaces === home.id) other.replaces = undefined;
    this.#effects.push({ kind: "end", home: home.id, reason });
  }
}

function isBetter(a: Home, b: Home): boolean {
  const goes = (home: Home): boolean => home.leaving === "draining";
  return goes(a) === goes(b) ? a.sequence > b.sequence : goes(b);
}
