/** Outbox and inbox against a wire that loses, repeats and reorders, in virtual time. */
import { asInstant, refuse } from "@causeway/core-base";
import { SeededRandom } from "@causeway/core-base/testing";
import { describe, expect, test } from "vitest";
import { ReliableWorld } from "./fixtures/reliable-world.ts";
import { calm, type Faults, stormy } from "./fixtures/wire.ts";
import { Inbox } from "./inbox.ts";
import { decodeInboxState, encodeInboxState, type InboxState } from "./inbox-state.ts";
import { sessionLimits } from "./limits.ts";
import { Outbox } from "./outbox.ts";

const silent: Faults = { loss: 1, duplication: 0, delayMs: 1 };

describe("reliable messages", () => {
  test("arrive once and in order for each lane under loss, repetition and reordering [AGP-58]", () => {
    for (let seed = 1; seed <= 80; seed++) {
      const world = new ReliableWorld(seed, stormy, { peerWindow: 1 + (seed % 16) });
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

  test("are acknowledged only when they were taken, whatever happens; what is not known is said to be unknown", () => {
    for (let seed = 1; seed <= 80; seed++) {
      const world = new ReliableWorld(seed, { loss: 0.7, duplication: 0.2, delayMs: 5_000 });
      const bodies = new Map<string, string>();
      world.refuses = (body) =>
        Number(body) % 5 === 0 ? { code: "CAUSEWAY_AGENT_HANDLER_FAILED", message: "no" } : undefined;
      world.onSettled = (id, error) => {
        const body = bodies.get(id) ?? "";
        if (!error) expect(world.taken, `seed ${seed}`).toContain(body);
        else if (error.code === "CAUSEWAY_AGENT_HANDLER_FAILED") expect(Number(body) % 5).toBe(0);
        else expect(error.code).toBe("CAUSEWAY_TIMEOUT");
      };
      // Short times, so that some run out.
      for (let i = 0; i < 30; i++) bodies.set(world.send("lane", `${i}`, 20_000), `${i}`);
      world.run();
      expect(world.settled.size).toBe(30);
      expect(new Set(world.taken).size, `seed ${seed}`).toBe(world.taken.length);
    }
  });

  test("are not taken twice by a receiver that restarts with what it stored", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const world = new ReliableWorld(seed, stormy);
      for (let i = 0; i < 30; i++) world.send("lane", `${i}`);
      for (let i = 1; i <= 5; i++) world.transmit(() => world.restartReceiver());
      world.run();
      expect(world.taken, `seed ${seed}`).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`));
    }
  });

  test("that are given up do not hold up those behind them", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const world = new ReliableWorld(seed, stormy);
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

  test("that are parts of a whole fail with those before them, and the receiver gets no rest without its beginning", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const world = new ReliableWorld(seed, stormy);
      // The second runs out of time under way, now and then after later ones arrived.
      const ids = Array.from({ length: 20 }, (_, i) =>
        world.send("whole", `${i}`, i === 1 ? 1 + 40 * seed : 3_600_000, true),
      );
      const other = world.send("other", "x");
      world.run();
      const taken = world.taken.filter((body) => body !== "x");
      expect(taken, `seed ${seed}`).toEqual(Array.from({ length: taken.length }, (_, i) => `${i}`));
      const codes = ids.map((id) => world.settled.get(id)?.code);
      const isWhole = !codes.includes("CAUSEWAY_TIMEOUT");
      expect(codes.slice(isWhole ? 20 : codes.indexOf("CAUSEWAY_TIMEOUT")), `seed ${seed}`).not.toContain(undefined);
      if (isWhole) expect(taken.length).toBe(20);
      expect(world.settled.get(other)).toBeUndefined();
    }
  });

  test("get through in a lane that is used again after its end, and by a sender that restarted", () => {
    const world = new ReliableWorld(5, stormy);
    for (let i = 0; i < 4; i++) world.send("lane", `a${i}`);
    world.outbox.closeLane("lane");
    world.run();
    world.send("lane", "b");
    world.run();
    world.restartSender();
    world.send("lane", "c0");
    world.send("lane", "c1");
    world.run();
    expect(world.taken).toEqual(["a0", "a1", "a2", "a3", "b", "c0", "c1"]);
    expect([...world.settled.values()].filter((error) => error !== undefined)).toEqual([]);
  });

  test("of an earlier run of the sender, that wait where a later run goes on, are given up and not forgotten", () => {
    const inbox = new Inbox<string>(sessionLimits);
    const arrive = (channel: string, sequence: number, laneFloor: number): string =>
      inbox.handleArrival({
        ...{ sender: "alice", channel, lane: "lane", channelFloor: 1, laneFloor, bytes: 1, number: sequence, sequence },
        ...{ chained: false, item: `${channel}${sequence}` },
      });
    const effects = (): readonly string[] =>
      inbox.drain().flatMap((effect) => {
        if (effect.type === "report") return [];
        inbox.settle(effect.arrival);
        return [`${effect.type} ${effect.arrival.item}`];
      });
    arrive("old", 4, 1);
    // What came before it is given up by the later run, which goes on at the same place.
    arrive("new", 4, 4);
    expect(effects()).toEqual(["abandon old4", "deliver new4"]);
    arrive("old", 9, 1);
    arrive("new", 9, 4);
    expect(effects()).toEqual(["abandon old9"]);
  });

  test("that wait for one that never comes go on at the second look, and the missing one is taken when it comes", () => {
    const inbox = new Inbox<string>(sessionLimits);
    const arrive = (sequence: number, chained = false, laneFloor = 1): string =>
      inbox.handleArrival({
        ...{ sender: "alice", channel: "c", lane: chained ? "whole" : "lane", channelFloor: 1, laneFloor, bytes: 1 },
        ...{ number: sequence + (chained ? 100 : 0), sequence, chained, item: `${sequence}` },
      });
    const effects = (): readonly string[] =>
      inbox.drain().flatMap((effect) => (effect.type === "report" ? [] : [`${effect.type} ${effect.arrival.item}`]));
    arrive(2);
    arrive(4);
    arrive(2, true);
    expect(inbox.hasGaps).toBe(true);
    inbox.skipGaps();
    expect(effects()).toEqual([]);
    arrive(5);
    inbox.skipGaps();
    // Something came in the first lane meanwhile; what hangs together is worth nothing without its beginning.
    expect(effects()).toEqual(["abandon 2"]);
    inbox.skipGaps();
    expect(effects()).toEqual(["deliver 2"]);
    inbox.skipGaps();
    expect(effects()).toEqual(["deliver 4", "deliver 5"]);
    expect(inbox.hasGaps).toBe(false);
    expect([arrive(3), arrive(3), arrive(1, false, 1)]).toEqual(["accepted", "repeated", "accepted"]);
    expect(effects()).toEqual(["deliver 3", "deliver 1"]);
  });

  test("that hang together are handed over as a whole: a receiver that restarted gets no beginning without the middle", () => {
    const arrive = (inbox: Inbox<string>, sequence: number, laneFloor: number, chained = true): readonly string[] => {
      const place = { sender: "alice", channel: "c", lane: "lane", channelFloor: 1, bytes: 1, number: sequence };
      inbox.handleArrival({ ...place, sequence, laneFloor, chained, item: `${sequence}` });
      return inbox.drain().flatMap((effect) => (effect.type === "report" ? [] : [effect.type]));
    };
    // An earlier run took 1 to 3, and 1 comes again from the mailbox.
    const restarted = new Inbox<string>(sessionLimits);
    expect(arrive(restarted, 1, 1)).toEqual(["deliver"]);
    expect(arrive(restarted, 4, 4)).toEqual(["abandon"]);
    // What means something by itself, such as a reset, is handed over.
    expect(arrive(restarted, 5, 5, false)).toEqual(["deliver"]);
    // Without a beginning there is nobody to mislead, and who gets it can say that it is unknown.
    expect(arrive(new Inbox<string>(sessionLimits), 4, 4)).toEqual(["deliver"]);
  });

  test("that their sender gives up while they wait are named, so that nobody keeps them", () => {
    const inbox = new Inbox<string>(sessionLimits);
    const place = { sender: "alice", channel: "c", lane: "lane", channelFloor: 1, bytes: 1 };
    inbox.handleArrival({ ...place, number: 2, sequence: 2, laneFloor: 1, item: "2" });
    inbox.handleArrival({ ...place, number: 3, sequence: 3, laneFloor: 3, item: "3" });
    const told = inbox.drain().filter(({ type }) => type !== "report");
    expect(told).toMatchObject([
      { type: "abandon", arrival: { item: "2" } },
      { type: "deliver", arrival: { item: "3" } },
    ]);
  });

  test("that are refused reach the sender as refused, once, and the rest goes on", () => {
    const world = new ReliableWorld(7, stormy);
    world.refuses = (body) => (body === "3" ? { code: "CAUSEWAY_AGENT_HANDLER_FAILED", message: "no" } : undefined);
    const ids = Array.from({ length: 10 }, (_, i) => world.send("lane", `${i}`));
    world.run();
    expect(world.settled.get(ids[3] ?? "")?.code).toBe("CAUSEWAY_AGENT_HANDLER_FAILED");
    expect(world.taken).toEqual(["0", "1", "2", "4", "5", "6", "7", "8", "9"]);
  });

  test("fail with CAUSEWAY_TIMEOUT when the outcome is unknown, and are repeated with growing waits until then", () => {
    const world = new ReliableWorld(1, silent);
    const id = world.send("lane", "x", 60_000);
    world.run();
    expect(world.now).toBe(60_000);
    const error = world.settled.get(id);
    expect(error?.code).toBe("CAUSEWAY_TIMEOUT");
    // 1, 2, 4, 8, 16, 30 s and up to a fifth more.
    expect(error?.message).toMatch(/[5-7] transmissions/);
  });

  test("are repeated a bounded number of times", () => {
    const world = new ReliableWorld(1, silent, { attemptsMax: 4 });
    const id = world.send("lane", "x", 86_400_000);
    world.run();
    expect(world.transmissions).toBe(4);
    expect(world.settled.get(id)?.code).toBe("CAUSEWAY_TIMEOUT");
  });

  test("are repeated after the round trip that was measured, not after a fixed time", () => {
    const world = new ReliableWorld(3, { loss: 0, duplication: 0, delayMs: 2 });
    for (let i = 0; i < 20; i++) world.send("lane", `${i}`);
    world.run();
    world.faults = silent;
    world.send("lane", "lost", 3_600_000);
    const sentAt = world.now;
    const deadline = world.outbox.deadline() ?? 0;
    // The least wait: the round trip is a few milliseconds.
    expect(deadline - sentAt).toBeGreaterThanOrEqual(sessionLimits.retryMsMin);
    expect(deadline - sentAt).toBeLessThanOrEqual(sessionLimits.retryMsMin * 1.2 + 1);
  });

  test("that are missing while later ones arrived are repeated without waiting for their time", () => {
    const world = new ReliableWorld(3, calm);
    world.faults = silent;
    const lost = world.send("lane", "lost");
    world.faults = calm;
    for (let i = 0; i < 20; i++) world.send("other", `${i}`);
    world.run();
    expect(world.settled.get(lost)).toBeUndefined();
    expect(world.settled.has(lost)).toBe(true);
    expect(world.now).toBeLessThan(sessionLimits.retryMsMin);
  });

  test("fail with the gateway's code: at once when it is final, at the deadline when it is not", () => {
    const world = new ReliableWorld(1, silent);
    const final = world.send("lane", "x", 60_000);
    world.outbox.handleReport(world.instant, final, refuse("CAUSEWAY_FORWARDING_NO_ROUTE", "test"));
    const passing = world.send("other", "y", 500);
    world.outbox.handleReport(world.instant, passing, refuse("CAUSEWAY_FORWARDING_NOT_ATTACHED", "test"));
    world.run();
    expect(world.settled.get(final)?.code).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
    expect(world.settled.get(passing)?.code).toBe("CAUSEWAY_FORWARDING_NOT_ATTACHED");
  });

  test("are not repeated while a gateway has them stored, also over a new link", () => {
    const world = new ReliableWorld(1, silent);
    const id = world.send("lane", "x", 9_000);
    world.outbox.handleProgress(world.instant, id, "stored");
    world.outbox.setOnline(world.instant, false);
    world.outbox.setOnline(world.instant, true);
    world.run();
    expect(world.transmissions).toBe(1);
    expect(world.settled.get(id)?.code).toBe("CAUSEWAY_TIMEOUT");
  });

  test("are settled by nobody but the agent that they are for", () => {
    const world = new ReliableWorld(1, silent);
    const id = world.send("lane", "x", 1_000);
    const { channel } = world.outbox.channelOf("bob");
    const report = { channel, taken: [[1, 1]] as const, received: [], refused: new Map() };
    world.outbox.handleReportOfChannel(world.instant, "mallory", report);
    expect(world.outbox.size).toBe(1);
    world.run();
    expect(world.settled.get(id)?.code).toBe("CAUSEWAY_TIMEOUT");
  });

  test("wait while there is no link and leave at once when there is one", () => {
    const world = new ReliableWorld(1, calm);
    world.outbox.setOnline(world.instant, false);
    world.send("lane", "x");
    expect(world.outbox.deadline()).toBe(3_600_000);
    world.now = 5_000;
    world.outbox.setOnline(world.instant, true);
    world.run();
    expect(world.taken).toEqual(["x"]);
    expect(world.now).toBeLessThan(6_000);
  });

  test("leave for the peers to whom there is a way; the others' wait, cost no turns, and leave when there is one", () => {
    const outbox = new Outbox<string>(sessionLimits, new SeededRandom(1));
    const sent = (): string[] => outbox.drain().flatMap((e) => (e.type === "transmit" ? [e.entry.id] : []));
    const add = (ms: number, peer: string): void =>
      outbox.add(asInstant(ms), {
        ...{ peer, id: `${peer}${ms}`, lane: peer, bytes: 1, body: "", timeoutMs: 600_000 },
      });
    outbox.setReach(asInstant(0), () => true);
    add(0, "bob");
    add(0, "carol");
    expect(sent()).toEqual(["bob0", "carol0"]);
    outbox.handleTransmitted(asInstant(0), ["bob0"]);
    outbox.handleTransmitted(asInstant(0), ["carol0"]);
    outbox.setReach(asInstant(1), (peer) => peer === "bob");
    add(1, "bob");
    add(1, "carol");
    expect(sent()).toEqual(["bob1"]);
    outbox.handleTransmitted(asInstant(1), ["bob1"]);
    const repeated = new Set<string>();
    for (let turn = 0; turn < 20; turn++) {
      const at = outbox.deadline() ?? asInstant(0);
      outbox.handleTimeout(at);
      const ids = sent();
      for (const id of ids) repeated.add(id);
      outbox.handleTransmitted(at, ids);
      expect(outbox.deadline()).toBeGreaterThan(at);
    }
    expect([...repeated].sort()).toEqual(["bob0", "bob1"]);
    outbox.setReach(asInstant(590_000), () => true);
    expect(sent()).toEqual(expect.arrayContaining(["carol0", "carol1"]));
  });

  test("that could not leave as often as they may are sent again when there is a new way", () => {
    const outbox = new Outbox<string>({ ...sessionLimits, attemptsMax: 3 }, new SeededRandom(1));
    outbox.setReach(asInstant(0), () => true);
    const message = { peer: "bob", id: "m", lane: "l", bytes: 1, body: "", timeoutMs: 86_400_000 };
    outbox.add(asInstant(0), message);
    const unreachable = refuse("CAUSEWAY_UNREACHABLE", "test");
    let attempts = 0;
    const turn = (at: number): void => {
      outbox.handleTimeout(asInstant(at));
      for (const effect of outbox.drain()) {
        if (effect.type !== "transmit") continue;
        attempts++;
        outbox.handleTransmitted(asInstant(at), ["m"], unreachable);
      }
    };
    for (let at = 0; at < 600_000; at += 10_000) turn(at);
    expect(attempts).toBe(3);
    outbox.setReach(asInstant(600_000), () => false);
    outbox.setReach(asInstant(600_001), () => true);
    turn(600_001);
    expect(attempts).toBe(4);
  });

  test("are bounded: a full lane refuses, a full receiver drops without an answer", () => {
    const world = new ReliableWorld(1, calm, { laneQueueMax: 3, pendingPerSenderMax: 1 });
    for (let i = 0; i < 3; i++) world.send("lane", `${i}`);
    expect(() => world.send("lane", "3")).toThrow(expect.objectContaining({ code: "CAUSEWAY_FORWARDING_OVERLOADED" }));
    const inbox = new Inbox<string>({ ...sessionLimits, pendingPerSenderMax: 1 });
    const arrival = { sender: "alice", channel: "c", lane: "l", channelFloor: 1, laneFloor: 1, bytes: 1, item: "" };
    expect(inbox.handleArrival({ ...arrival, number: 1, sequence: 1 })).toBe("accepted");
    expect(inbox.handleArrival({ ...arrival, number: 2, sequence: 2 })).toBe("too much is pending");
    expect(inbox.handleArrival({ ...arrival, number: 99_999, sequence: 2 })).toBe("outside the window");
    expect(inbox.handleArrival({ ...arrival, number: 3, sequence: 99_999 })).toBe("outside the window");
    expect(inbox.handleArrival({ ...arrival, number: 4, sequence: 1, laneFloor: 2 })).toBe("invalid position");
    expect(inbox.handleArrival({ ...arrival, number: 4, sequence: 1, channelFloor: 5 })).toBe("invalid position");
  });

  test("what is stored of them comes back, and damaged bytes are no state", () => {
    const state: InboxState = {
      channels: [
        {
          channel: "ab",
          floor: 3,
          settled: [
            [3, 5],
            [7, 7],
          ],
          refused: [[4, "CAUSEWAY_CANCELLED"]],
        },
      ],
      lanes: [{ lane: "ab", floor: 3, settled: [[3, 3]] }],
    };
    expect(decodeInboxState(encodeInboxState(state))).toEqual(state);
    for (const damaged of ["", "{", "[1]", '[["ab"]]', '[[["ab",0,[],[]]],[]]', '[[["ab",1,[[2,1]],[]]],[]]']) {
      expect(decodeInboxState(new TextEncoder().encode(damaged))).toBeUndefined();
    }
  });
});
