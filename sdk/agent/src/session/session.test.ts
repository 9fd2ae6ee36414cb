/** Outbox and inbox against a network that loses, repeats and reorders, in virtual time. */
import { asInstant, type CausewayError, type Instant, refuse } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../testing/seeded-random.ts";
import { Inbox, type InboxState, type Refusal } from "./inbox.ts";
import { decodeInboxState, encodeInboxState } from "./inbox-state.ts";
import { type SessionLimits, sessionLimits } from "./limits.ts";
import { Outbox } from "./outbox.ts";

interface Packet {
  readonly at: number;
  readonly deliver: () => void;
}

interface Faults {
  readonly loss: number;
  readonly duplication: number;
  readonly delayMs: number;
}

/** One sender, one receiver, packets between them. */
class World {
  now = 0;
  readonly random: SeededRandom;
  readonly outbox: Outbox<string>;
  inbox: Inbox<string>;
  readonly taken: string[] = [];
  readonly settled = new Map<string, CausewayError | undefined>();
  refuses: (body: string) => Refusal | undefined = () => undefined;
  stored: InboxState | undefined;
  readonly #faults: Faults;
  readonly #limits: SessionLimits;
  #packets: Packet[] = [];
  #id = 0;

  constructor(seed: number, faults: Faults, limits: Partial<SessionLimits> = {}) {
    this.random = new SeededRandom(seed);
    this.#faults = faults;
    this.#limits = { ...sessionLimits, ...limits };
    this.outbox = new Outbox(this.#limits, this.random);
    this.inbox = new Inbox(this.#limits);
    this.outbox.setOnline(this.instant, true);
  }

  get instant(): Instant {
    return asInstant(this.now);
  }

  send(lane: string, body: string, timeoutMs = 3_600_000): string {
    const id = `m${this.#id++}`;
    this.outbox.add(this.instant, { peer: "bob", id, lane, bytes: body.length, body, timeoutMs });
    this.#perform();
    return id;
  }

  restartReceiver(): void {
    this.inbox = new Inbox(this.#limits);
    if (this.stored) this.inbox.restore("alice", this.stored);
  }

  /** Runs until everything is settled or nothing more can happen. */
  run(steps = 200_000): void {
    this.#perform();
    for (let i = 0; i < steps; i++) {
      this.#packets.sort((a, b) => a.at - b.at);
      const packet = this.#packets[0];
      const deadline = this.outbox.deadline();
      if (!packet && deadline === undefined) return;
      if (packet && (deadline === undefined || packet.at <= deadline)) {
        this.#packets.shift();
        this.now = Math.max(this.now, packet.at);
        packet.deliver();
      } else {
        this.now = Math.max(this.now, deadline ?? 0);
        this.outbox.handleTimeout(this.instant);
      }
      this.#perform();
    }
    throw new Error("expected the world to come to rest");
  }

  transmit(deliver: () => void): void {
    const { loss, duplication, delayMs } = this.#faults;
    const copies = this.random.fraction() < duplication ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.random.fraction() < loss) continue;
      this.#packets.push({ at: this.now + 1 + this.random.below(delayMs), deliver });
    }
  }

  #perform(): void {
    for (let effects = this.outbox.drain(); effects.length > 0; effects = this.outbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "settled") {
          expect(this.settled.has(effect.entry.id)).toBe(false);
          this.settled.set(effect.entry.id, effect.error);
          continue;
        }
        const { id, lane, sequence, bytes, body } = effect.entry;
        const { floor } = effect;
        this.transmit(() => {
          this.inbox.handleArrival({ sender: "alice", id, lane, sequence, floor, bytes, item: body });
          this.#performInbox();
        });
        this.outbox.handleTransmitted(this.instant, id);
      }
    }
  }

  #performInbox(): void {
    for (let effects = this.inbox.drain(); effects.length > 0; effects = this.inbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "deliver") {
          const { id, item } = effect.arrival;
          const refusal = this.refuses(item);
          if (!refusal) this.taken.push(item);
          this.inbox.settle("alice", id, refusal);
          // Stored before the acknowledgement leaves.
          this.stored = decodeInboxState(encodeInboxState(this.inbox.state("alice")));
        } else if (effect.type === "received") {
          this.transmit(() => this.outbox.handleReceived(this.instant, "bob", effect.id));
        } else {
          const error = effect.refusal && refuse("CAUSEWAY_AGENT_HANDLER_FAILED", effect.refusal.message);
          this.transmit(() => this.outbox.handleSettled(this.instant, "bob", effect.id, error));
        }
      }
    }
  }
}

const calm: Faults = { loss: 0, duplication: 0, delayMs: 5 };
const stormy: Faults = { loss: 0.3, duplication: 0.3, delayMs: 3_000 };

describe("reliable messages", () => {
  test("arrive once and in order for each lane under loss, repetition and reordering [AGP-58]", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const world = new World(seed, stormy, { laneWindow: 1 + (seed % 16) });
      const sent: string[] = [];
      for (let i = 0; i < 40; i++) {
        const lane = `lane${world.random.below(3)}`;
        sent.push(`${lane} ${i}`);
        world.send(lane, `${lane} ${i}`);
      }
      world.run();
      expect(
        [...world.settled.values()].filter((e) => e !== undefined),
        `seed ${seed}`,
      ).toEqual([]);
      for (const lane of ["lane0", "lane1", "lane2"]) {
        const of = (list: readonly string[]): readonly string[] => list.filter((body) => body.startsWith(lane));
        expect(of(world.taken), `seed ${seed}`).toEqual(of(sent));
      }
    }
  });

  test("are not taken twice by a receiver that restarts with what it stored", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const world = new World(seed, stormy);
      for (let i = 0; i < 30; i++) world.send("lane", `${i}`);
      for (let i = 1; i <= 5; i++) world.transmit(() => world.restartReceiver());
      world.run();
      expect(world.taken, `seed ${seed}`).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`));
    }
  });

  test("that are given up do not hold up those behind them", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const world = new World(seed, stormy);
      const ids = Array.from({ length: 20 }, (_, i) => world.send("lane", `${i}`));
      for (const [i, id] of ids.entries())
        if (i % 3 === 0) world.outbox.cancel(world.instant, id, refuse("CAUSEWAY_CANCELLED", "test"));
      world.run();
      const numbers = world.taken.map(Number);
      expect(numbers, `seed ${seed}`).toEqual([...numbers].sort((a, b) => a - b));
      for (const [i, id] of ids.entries()) {
        expect(world.settled.get(id)?.code).toBe(i % 3 === 0 ? "CAUSEWAY_CANCELLED" : undefined);
        if (i % 3 !== 0) expect(numbers).toContain(i);
      }
    }
  });

  test("that are refused reach the sender as refused, once, and the rest goes on", () => {
    const world = new World(7, stormy);
    world.refuses = (body) => (body === "3" ? { code: "CAUSEWAY_AGENT_HANDLER_FAILED", message: "no" } : undefined);
    const ids = Array.from({ length: 10 }, (_, i) => world.send("lane", `${i}`));
    world.run();
    expect(world.settled.get(ids[3] ?? "")?.code).toBe("CAUSEWAY_AGENT_HANDLER_FAILED");
    expect(world.taken).toEqual(["0", "1", "2", "4", "5", "6", "7", "8", "9"]);
  });

  test("fail with CAUSEWAY_TIMEOUT when the outcome is unknown, and are repeated with growing waits until then", () => {
    const world = new World(1, { loss: 1, duplication: 0, delayMs: 1 });
    const id = world.send("lane", "x", 60_000);
    world.run();
    expect(world.now).toBe(60_000);
    const error = world.settled.get(id);
    expect(error?.code).toBe("CAUSEWAY_TIMEOUT");
    // 1, 2, 4, 8, 16, 30 s give or take the jitter.
    expect(error?.message).toMatch(/[5-7] transmissions/);
  });

  test("fail with the gateway's code: at once when it is final, at the deadline when it is not", () => {
    const world = new World(1, { loss: 1, duplication: 0, delayMs: 1 });
    const final = world.send("lane", "x", 60_000);
    world.outbox.handleReport(world.instant, final, refuse("CAUSEWAY_FORWARDING_NO_ROUTE", "test"));
    const passing = world.send("other", "y", 500);
    world.outbox.handleReport(world.instant, passing, refuse("CAUSEWAY_FORWARDING_NOT_ATTACHED", "test"));
    world.run();
    expect(world.settled.get(final)?.code).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
    expect(world.settled.get(passing)?.code).toBe("CAUSEWAY_FORWARDING_NOT_ATTACHED");
  });

  test("are settled by nobody but the agent that they are for", () => {
    const world = new World(1, { loss: 1, duplication: 0, delayMs: 1 });
    const id = world.send("lane", "x", 1_000);
    world.outbox.handleSettled(world.instant, "mallory", id);
    expect(world.outbox.size).toBe(1);
    world.run();
    expect(world.settled.get(id)?.code).toBe("CAUSEWAY_TIMEOUT");
  });

  test("wait while there is no link and leave at once when there is one", () => {
    const world = new World(1, calm);
    world.outbox.setOnline(world.instant, false);
    world.send("lane", "x");
    expect(world.outbox.deadline()).toBe(3_600_000);
    world.now = 5_000;
    world.outbox.setOnline(world.instant, true);
    world.run();
    expect(world.taken).toEqual(["x"]);
    expect(world.now).toBeLessThan(6_000);
  });

  test("are bounded: a full lane refuses, a full receiver drops without an answer", () => {
    const world = new World(1, calm, { laneQueueMax: 3, pendingPerSenderMax: 1 });
    for (let i = 0; i < 3; i++) world.send("lane", `${i}`);
    expect(() => world.send("lane", "3")).toThrow(expect.objectContaining({ code: "CAUSEWAY_FORWARDING_OVERLOADED" }));
    const inbox = new Inbox<string>({ ...sessionLimits, pendingPerSenderMax: 1 });
    const arrival = { sender: "alice", lane: "l", floor: 1, bytes: 1, item: "" };
    expect(inbox.handleArrival({ ...arrival, id: "a", sequence: 1 })).toBeUndefined();
    expect(inbox.handleArrival({ ...arrival, id: "b", sequence: 2 })).toBe("too much is pending");
    expect(inbox.handleArrival({ ...arrival, id: "c", sequence: 9_999 })).toBe("outside the window");
    expect(inbox.handleArrival({ ...arrival, id: "d", sequence: 1, floor: 2 })).toBe("invalid position");
  });

  test("what is stored of them comes back, and damaged bytes are no state", () => {
    const state: InboxState = { lanes: [{ lane: "ab", next: 3, settled: [{ id: "01", sequence: 3 }] }] };
    expect(decodeInboxState(encodeInboxState(state))).toEqual(state);
    for (const damaged of ["", "{", "[1]", '[["ab"]]', '[["ab",0,[]]]', '[["ab",1,[[1,1]]]]']) {
      expect(decodeInboxState(new TextEncoder().encode(damaged))).toBeUndefined();
    }
  });
});
