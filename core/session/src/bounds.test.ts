/** What the session layer holds for others has bounds that one of them cannot use up for all. */
import { asInstant, refuse } from "@causeway/core-base";
import { SeededRandom } from "@causeway/core-base/testing";
import { describe, expect, test } from "vitest";
import { Inbox } from "./inbox.ts";
import { sessionLimits } from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { Schedule } from "./schedule.ts";

const arrival = (sender: string, sequence: number, bytes: number) => ({
  sender,
  channel: "channel",
  number: sequence,
  channelFloor: 1,
  lane: "lane",
  sequence,
  laneFloor: 1,
  bytes,
  item: "",
});

describe("an inbox", () => {
  test("holds no more bytes of one sender than that sender's share", () => {
    const inbox = new Inbox<string>({ ...sessionLimits, bytesMax: 1_000, senderBytesMax: 300 });
    expect(inbox.handleArrival(arrival("mallory", 2, 200))).toBe("accepted");
    expect(inbox.handleArrival(arrival("mallory", 3, 200))).toBe("too much is pending");
    expect(inbox.handleArrival(arrival("alice", 1, 200))).toBe("accepted");
  });

  test("lets go of what waits behind gaps when others need the room; its sender can send it again", () => {
    const inbox = new Inbox<string>({ ...sessionLimits, bytesMax: 1_000, senderBytesMax: 500 });
    for (const sender of ["mallory", "trudy"])
      for (const sequence of [2, 3]) inbox.handleArrival(arrival(sender, sequence, 250));
    expect(inbox.handleArrival(arrival("alice", 1, 300))).toBe("accepted");
    const delivered = inbox.drain().flatMap((effect) => (effect.type === "deliver" ? [effect.arrival.sender] : []));
    expect(delivered).toEqual(["alice"]);
    inbox.settle(arrival("alice", 1, 300));
    // The gap is filled: what was let go of comes again, and everything arrives in order.
    for (const sequence of [1, 2, 3]) inbox.handleArrival(arrival("mallory", sequence, 100));
    const order = inbox.drain().flatMap((effect) => (effect.type === "deliver" ? [effect.arrival.sequence] : []));
    expect(order).toEqual([1, 2, 3]);
  });

  test("lets bulk have half of what a sender may have waiting, so that the rest of its messages is taken [BEY-1]", () => {
    const inbox = new Inbox<string>({ ...sessionLimits, senderBytesMax: 1_000, pendingPerSenderMax: 8 });
    const bulk = (sequence: number, bytes: number) => ({
      ...arrival("alice", sequence, bytes),
      channel: "bulk",
      lane: "bulk",
      isBulk: true,
    });
    expect(inbox.handleArrival(bulk(1, 400))).toBe("accepted");
    expect(inbox.handleArrival(bulk(2, 200))).toBe("too much is pending");
    for (const sequence of [2, 3, 4]) expect(inbox.handleArrival(bulk(sequence, 10))).toBe("accepted");
    expect(inbox.handleArrival(bulk(5, 10))).toBe("too much is pending");
    for (const sequence of [1, 2, 3, 4]) expect(inbox.handleArrival(arrival("alice", sequence, 100))).toBe("accepted");
    // Room again with what is settled.
    inbox.settle(bulk(1, 400));
    expect(inbox.handleArrival(bulk(5, 300))).toBe("accepted");
  });

  test("drops an arrival rather than what was handed over already", () => {
    const inbox = new Inbox<string>({ ...sessionLimits, bytesMax: 300, senderBytesMax: 300 });
    expect(inbox.handleArrival(arrival("alice", 1, 250))).toBe("accepted");
    expect(inbox.handleArrival(arrival("bob", 1, 250))).toBe("too much is pending");
    inbox.settle(arrival("alice", 1, 250));
    expect(inbox.handleArrival(arrival("bob", 1, 250))).toBe("accepted");
  });

  test("remembers of a refusal no more than a sentence", () => {
    const inbox = new Inbox<string>(sessionLimits);
    inbox.handleArrival(arrival("mallory", 1, 0));
    inbox.drain();
    inbox.settle(arrival("mallory", 1, 0), { code: "CAUSEWAY_AGENT_NO_HANDLER", message: "x".repeat(1_000_000) });
    expect(inbox.report("mallory", "channel")?.refused.get(1)?.message.length).toBe(1_000);
  });

  test("never calls refused messages taken, however many there are, and takes no more of them at a bound", () => {
    const inbox = new Inbox<string>({ ...sessionLimits, refusalsMax: 3 });
    for (let i = 1; i <= 3; i++) {
      inbox.handleArrival(arrival("mallory", i, 0));
      inbox.settle(arrival("mallory", i, 0), { code: "CAUSEWAY_AGENT_NO_HANDLER", message: "no" });
    }
    expect(inbox.report("mallory", "channel")?.taken).toEqual([]);
    expect(inbox.handleArrival(arrival("mallory", 4, 0))).toBe("too much is pending");
    // The sender knows of them: its floor has passed them.
    expect(inbox.handleArrival({ ...arrival("mallory", 4, 0), channelFloor: 4, laneFloor: 4 })).toBe("accepted");
  });

  test("keeps a bounded number of gaps in a channel", () => {
    const inbox = new Inbox<string>(sessionLimits);
    let dropped = 0;
    for (let i = 1; i < 4_000; i++) {
      const each = { ...arrival("mallory", 2 * i, 0), lane: `lane${i}`, sequence: 1 };
      if (inbox.handleArrival(each) !== "accepted") dropped++;
      else inbox.settle(each);
    }
    expect(dropped).toBeGreaterThan(2_000);
    expect(inbox.state("mallory").channels[0]?.settled.length).toBeLessThan(1_100);
    // What fills a gap is taken.
    expect(inbox.handleArrival({ ...arrival("mallory", 3, 0), lane: "another", sequence: 1 })).toBe("accepted");
  });
});

describe("a schedule", () => {
  test("lets go of what is not due any more, and keeps the order of what is", () => {
    const schedule = new Schedule<{ readonly n: number }>();
    const kept = Array.from({ length: 10 }, (_, n) => ({ n }));
    for (const item of kept) schedule.set(item, asInstant(1_000 - item.n));
    for (let n = 0; n < 10_000; n++) {
      const item = { n };
      // Settled long before its time is over, as nearly every message is.
      schedule.set(item, asInstant(86_400_000));
      schedule.set(item, asInstant(86_400_000 + n));
      schedule.clear(item);
    }
    expect(schedule.held).toBeLessThan(200);
    const taken = kept.map(() => schedule.take(asInstant(1_000))?.n);
    expect(taken).toEqual(kept.map(({ n }) => n).reverse());
    expect(schedule.deadline()).toBeUndefined();
  });
});

describe("an outbox", () => {
  const message = (id: string, isBulk: boolean, bytes = 10) => ({
    peer: "bob",
    id,
    lane: isBulk ? "bulk" : "lane",
    bytes,
    body: "",
    timeoutMs: 60_000,
    isBulk,
  });

  test("counts bulk to a peer in a conversation of its own: a full window of it holds nothing else up [BEY-1]", () => {
    const outbox = new Outbox<string>({ ...sessionLimits, peerWindow: 2 }, new SeededRandom(1));
    outbox.setOnline(asInstant(0), true);
    for (let i = 0; i < 5; i++) outbox.add(asInstant(0), message(`b${i}`, true));
    for (let i = 0; i < 5; i++) outbox.add(asInstant(0), message(`i${i}`, false));
    const left = () => outbox.drain().flatMap((effect) => (effect.type === "transmit" ? [effect.entry.id] : []));
    expect(left()).toEqual(["b0", "b1", "i0", "i1"]);
    const [bulk, rest] = [outbox.channelOf("bob", true), outbox.channelOf("bob")];
    expect(bulk.channel).not.toBe(rest.channel);
    outbox.handleTransmitted(asInstant(0), ["i0", "i1"]);
    const none = { received: [], refused: new Map() };
    outbox.handleReportOfChannel(asInstant(1), "bob", { channel: rest.channel, taken: [[1, 2]], ...none });
    expect(left()).toEqual(["i2", "i3"]);
    // The other way is as good for both.
    outbox.setReach(asInstant(2), (peer) => peer !== "bob");
    outbox.setReach(asInstant(3), (peer) => peer === "bob");
    outbox.handleTransmitted(asInstant(3), ["b0", "b1"]);
    outbox.handleReportOfChannel(asInstant(4), "bob", { channel: bulk.channel, taken: [[1, 2]], ...none });
    expect(left()).toContain("b2");
  });

  test("holds no more bulk than its part, and takes other messages beyond it [BEY-1]", () => {
    const outbox = new Outbox<string>({ ...sessionLimits, bytesMax: 1_000, bulkBytesMax: 600 }, new SeededRandom(1));
    outbox.add(asInstant(0), message("b0", true, 500));
    expect(() => outbox.add(asInstant(0), message("b1", true, 200))).toThrow(/600 bytes of bulk/);
    outbox.add(asInstant(0), message("i0", false, 400));
    expect(() => outbox.add(asInstant(0), message("i1", false, 200))).toThrow(/1000 bytes in all/);
    outbox.cancel(asInstant(0), "b0", refuse("CAUSEWAY_CANCELLED", "enough"));
    outbox.add(asInstant(0), message("b2", true, 600));
  });

  const noRoute = refuse("CAUSEWAY_FORWARDING_NO_ROUTE", "test");

  function sent(attempts: number): Outbox<string> {
    const outbox = new Outbox<string>(sessionLimits, new SeededRandom(1));
    outbox.setOnline(asInstant(0), true);
    outbox.add(asInstant(0), { peer: "bob", id: "m", lane: "l", bytes: 1, body: "", timeoutMs: 60_000 });
    for (let i = 0; i < attempts; i++) {
      // The first leaves at once.
      if (i > 0) outbox.handleTimeout(outbox.deadline() ?? asInstant(0));
      outbox.drain();
      outbox.handleTransmitted(asInstant(i), ["m"]);
    }
    return outbox;
  }

  const outcomeOf = (outbox: Outbox<string>) =>
    outbox.drain().flatMap((effect) => (effect.type === "settled" ? [effect.error?.code ?? "taken"] : []));

  test("does not call a message lost that an earlier transmission may have brought", () => {
    const outbox = sent(2);
    outbox.handleReport(asInstant(5), "m", noRoute);
    expect(outcomeOf(outbox)).toEqual([]);
    outbox.handleTimeout(asInstant(60_000));
    expect(outcomeOf(outbox)).toEqual(["CAUSEWAY_TIMEOUT"]);
  });

  test("believes a receiver that has the message before a gateway that says it cannot arrive", () => {
    const outbox = sent(1);
    const { channel } = outbox.channelOf("bob");
    const nothing = { channel, taken: [], received: [], refused: new Map() };
    outbox.handleReportOfChannel(asInstant(3), "bob", { ...nothing, received: [[1, 1]] });
    expect(outbox.drain()).toMatchObject([{ type: "progress", progress: "received" }]);
    outbox.handleReport(asInstant(5), "m", noRoute);
    expect(outcomeOf(outbox)).toEqual([]);
    outbox.handleReportOfChannel(asInstant(6), "bob", { ...nothing, taken: [[1, 1]] });
    expect(outcomeOf(outbox)).toEqual(["taken"]);
  });

  test("knows of a message that was sent once and reported that it was not taken", () => {
    const outbox = sent(1);
    outbox.handleReport(asInstant(5), "m", noRoute);
    expect(outcomeOf(outbox)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
  });

  test("does not call a message lost when a repetition cannot be encrypted any more", () => {
    const outbox = sent(1);
    outbox.handleTimeout(outbox.deadline() ?? asInstant(0));
    outbox.handleTransmitted(asInstant(2_000), ["m"], refuse("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", "test"));
    expect(outcomeOf(outbox)).toEqual([]);
    outbox.handleTimeout(asInstant(60_000));
    expect(outcomeOf(outbox)).toEqual(["CAUSEWAY_TIMEOUT"]);
  });
});
