/** Streams: every transition of the table, credit, bounds, and both sides over reliable lanes on a bad wire. */
import { asInstant, type ErrorFacts } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import { StreamWorld } from "./fixtures/stream-world.ts";
import { calm, stormy } from "./fixtures/wire.ts";
import { initialCreditBytes, type StreamFrame, streamLimits } from "./stream-frames.ts";
import {
  type StreamEvent,
  type StreamState,
  streamEvents,
  streamStates,
  streamTransitions,
} from "./stream-transitions.ts";
import { type StreamEffect, Streams } from "./streams.ts";

const t0 = asInstant(0);
const open: StreamFrame = { type: "open", method: "m", metadata: [], timeoutMs: 0, credit: 1_000_000 };
const anEnd: StreamFrame = { type: "end", metadata: [] };
const stop: ErrorFacts = { code: "CAUSEWAY_CANCELLED", message: "test" };

/** A machine with one stream in a state. */
function inState(state: StreamState): Streams {
  const streams = new Streams(streamLimits);
  if (state === "idle") return streams;
  streams.open(t0, { peer: "bob", stream: "s", method: "m" });
  if (state === "local-ended" || state === "ended") streams.end("s");
  if (state === "remote-ended" || state === "ended") streams.handleFrame(t0, "bob", "s", { type: "end", metadata: [] });
  if (state === "reset") streams.reset("s", stop);
  streams.drain();
  return streams;
}

const remote: Readonly<Record<string, StreamFrame>> = {
  "remote-open": open,
  "remote-header": { type: "header", metadata: [] },
  "remote-data": { type: "data", bytes: new Uint8Array(3) },
  "remote-end": { type: "end", metadata: [] },
  "remote-reset": { type: "reset", error: stop },
  "remote-credit": { type: "credit", limit: 2_000_000 },
};

function apply(streams: Streams, event: StreamEvent): void {
  const frame = remote[event];
  if (frame) streams.handleFrame(t0, "bob", "s", frame);
  else if (event === "local-open") streams.open(t0, { peer: "bob", stream: "s", method: "m" });
  else if (event === "local-header") streams.header("s", []);
  else if (event === "local-data") streams.write("s", new Uint8Array(3));
  else if (event === "local-end") streams.end("s");
  else streams.reset("s", stop);
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

const resetsIn = (effects: readonly StreamEffect[]): number =>
  effects.filter((effect) => effect.type === "send" && effect.frame.type === "reset").length;

describe("a stream [AGP-21]", () => {
  for (const state of streamStates) {
    for (const event of streamEvents) {
      const next = streamTransitions[state][event];
      test(`that is ${state}: ${event} ${next === "misuse" || next === "violation" || next === "ignore" ? `is a ${next}` : `makes it ${next}`}`, () => {
        const streams = inState(state);
        // A local reset of what nobody opened has nothing to say.
        if (state === "idle" && event === "local-reset") {
          apply(streams, event);
          expect(streams.drain()).toEqual([]);
          return;
        }
        const over = (of: StreamState): boolean => of === "ended" || of === "reset";
        if (next === "misuse") {
          expect(() => apply(streams, event)).toThrow(expect.objectContaining({ code: "CAUSEWAY_MISUSE" }));
          expect(streams.drain()).toEqual([]);
          return;
        }
        apply(streams, event);
        const effects = streams.drain();
        if (next === "ignore") {
          expect(effects).toEqual([]);
        } else if (next === "violation") {
          expect(resetsIn(effects)).toBe(1);
          expect(streams.size).toBe(0);
        } else {
          expect(over(streams.stateOf("s"))).toBe(over(next));
          if (!over(next)) expect(streams.stateOf("s")).toBe(next);
          expect(resetsIn(effects)).toBe(event === "local-reset" ? 1 : 0);
          expect(effects.some(({ type }) => type === "closed")).toBe(over(next));
        }
      });
    }
  }
});

describe("streams", () => {
  test("give each its own credit: one that nobody reads holds up no other [AGP-10]", () => {
    const world = new StreamWorld(1, calm);
    world.reads = (stream) => stream !== "stuck";
    const piece = new Uint8Array(20_000);
    world.open("stuck");
    world.open("free");
    for (let i = 0; i < 40; i++) for (const id of ["stuck", "free"]) world.write(id, piece);
    world.end("free");
    world.run();
    expect(world.receivedBy("bob", "free")).toBe(800_000);
    // What the reader has granted, and not a byte more.
    expect(world.receivedBy("bob", "stuck")).toBe(initialCreditBytes);
    world.reads = () => true;
    world.catchUp();
    world.end("stuck");
    world.run();
    expect(world.receivedBy("bob", "stuck")).toBe(800_000);
  });

  test("bring every byte over once and in order, and end on both sides alike, whatever the wire does", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const world = new StreamWorld(seed, stormy);
      const count = 6;
      for (let s = 0; s < count; s++) {
        world.open(`s${s}`);
        for (let i = 0; i < 5; i++) world.write(`s${s}`, world.random.bytes(1 + world.random.below(30_000)));
        if (s % 3 === 2) world.alice.reset(`s${s}`, stop);
        else world.end(`s${s}`);
      }
      world.run();
      for (let s = 0; s < count; s++) {
        const id = `s${s}`;
        expect(world.alice.stateOf(id), `seed ${seed}`).not.toBe("open");
        expect(world.alice.size + world.bob.size, `seed ${seed}`).toBe(0);
        const closed = world.closed.get(`bob ${id}`);
        if (s % 3 === 2) {
          // Bob may never have heard of it; if he did, he knows that it was given up.
          if (closed) expect(closed.error?.code).toBe("CAUSEWAY_CANCELLED");
        } else {
          expect(closed?.error, `seed ${seed}`).toBeUndefined();
          expect(same(world.contentOf("bob", id), world.writtenTo(id)), `seed ${seed}`).toBe(true);
          // The echo came back whole.
          expect(same(world.contentOf("alice", id), world.writtenTo(id)), `seed ${seed}`).toBe(true);
        }
      }
    }
  });

  test("are reset on both sides when their deadline passes", () => {
    const world = new StreamWorld(1, calm);
    world.reads = () => false;
    world.open("s", 5_000);
    world.run();
    expect(world.now).toBeLessThan(6_000);
    for (const side of ["alice", "bob"]) expect(world.closed.get(`${side} s`)?.error?.code).toBe("CAUSEWAY_TIMEOUT");
  });

  test("of an agent that restarted are answered as unknown, so that nobody waits for them", () => {
    const streams = inState("idle");
    streams.handleFrame(t0, "bob", "s", { type: "credit", limit: 5 });
    expect(streams.drain()).toMatchObject([
      { type: "send", frame: { type: "reset", error: { code: "CAUSEWAY_STREAM_UNKNOWN" } } },
    ]);
    // The answer to the answer is silence.
    streams.handleFrame(t0, "bob", "s", { type: "reset", error: stop });
    expect(streams.drain()).toEqual([]);
  });

  test("of which a frame could not be brought over are given up on both sides", () => {
    const streams = inState("open");
    streams.handleSettled("s", anEnd, { code: "CAUSEWAY_MAILBOX_FULL", message: "test" });
    expect(streams.drain()).toMatchObject([
      { type: "send", frame: { type: "reset", error: { code: "CAUSEWAY_MAILBOX_FULL" } } },
      { type: "closed", error: { code: "CAUSEWAY_MAILBOX_FULL" } },
    ]);
    // The reset may fail, too.
    streams.handleSettled("s", anEnd, { code: "CAUSEWAY_TIMEOUT", message: "test" });
    expect(streams.drain()).toEqual([]);
  });

  test("that ended here are given up when the other side did not hear of the end", () => {
    const streams = inState("ended");
    streams.drain();
    streams.handleSettled("s", anEnd, { code: "CAUSEWAY_TIMEOUT", message: "test" });
    expect(streams.drain()).toMatchObject([{ type: "send", peer: "bob", frame: { type: "reset" } }]);
    streams.handleSettled("s", anEnd, { code: "CAUSEWAY_TIMEOUT", message: "test" });
    expect(streams.drain()).toEqual([]);
  });

  test("that ended here are answered as unknown to who has the end and still asks: it restarted in between", () => {
    const probe: StreamFrame = { type: "credit", limit: 5 };
    const streams = inState("ended");
    // As long as the end is on its way, the end is the answer, and a reset would overtake what it ends.
    streams.handleFrame(t0, "bob", "s", probe);
    streams.handleSettled("s", anEnd);
    streams.handleFrame(t0, "mallory", "s", probe);
    expect(streams.drain()).toEqual([]);
    for (const _ of [1, 2]) {
      streams.handleFrame(t0, "bob", "s", probe);
      expect(streams.drain()).toMatchObject([
        { type: "send", peer: "bob", frame: { type: "reset", error: { code: "CAUSEWAY_STREAM_UNKNOWN" } } },
      ]);
    }
    // The same when the other side ended last.
    const later = inState("local-ended");
    later.handleSettled("s", anEnd);
    later.handleFrame(t0, "bob", "s", anEnd);
    later.drain();
    later.handleFrame(t0, "bob", "s", probe);
    expect(resetsIn(later.drain())).toBe(1);
  });

  test("that are silent are asked for", () => {
    const streams = inState("open");
    const deadline = streams.deadline();
    expect(deadline).toBe(streamLimits.probeMs);
    streams.handleTimeout(deadline ?? t0);
    expect(streams.drain()).toMatchObject([{ type: "send", frame: { type: "credit" } }]);
  });

  test("take nothing from anybody but their peer", () => {
    const streams = inState("open");
    streams.handleFrame(t0, "mallory", "s", { type: "reset", error: stop });
    expect(streams.drain()).toEqual([]);
    expect(streams.stateOf("s")).toBe("open");
  });

  test("refuse more bytes than they granted", () => {
    const streams = inState("open");
    for (let i = 0; i < 5; i++)
      streams.handleFrame(t0, "bob", "s", { type: "data", bytes: new Uint8Array(streamLimits.windowBytes / 4) });
    const effects = streams.drain();
    expect(resetsIn(effects)).toBe(1);
    expect(effects.at(-1)).toMatchObject({ type: "closed", error: { code: "CAUSEWAY_FRAME_UNEXPECTED" } });
  });

  test("are bounded: streams, streams of one agent, waiting bytes, unconfirmed bytes, metadata", () => {
    const streams = new Streams({
      ...streamLimits,
      ...{ streamsMax: 3, incomingPerPeerMax: 1, queueBytes: 10, unconfirmedBytesMax: 4, frameBytesMax: 4 },
    });
    streams.handleFrame(t0, "bob", "a", open);
    streams.handleFrame(t0, "bob", "b", open);
    expect(streams.drain().filter(({ type }) => type === "send")).toMatchObject([
      { stream: "b", frame: { type: "reset", error: { code: "CAUSEWAY_FORWARDING_OVERLOADED" } } },
    ]);
    streams.open(t0, { peer: "bob", stream: "c", method: "m" });
    streams.open(t0, { peer: "bob", stream: "d", method: "m" });
    expect(() => streams.open(t0, { peer: "bob", stream: "e", method: "m" })).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_FORWARDING_OVERLOADED" }),
    );
    streams.drain();
    // Four bytes of "c" leave; the rest, and "d", wait until they are confirmed.
    expect(streams.write("c", new Uint8Array(14))).toBe(false);
    expect(() => streams.write("c", new Uint8Array(1))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_FORWARDING_OVERLOADED" }),
    );
    expect(streams.write("d", new Uint8Array(4))).toBe(true);
    const sent = streams.drain();
    expect(sent.map((effect) => effect.type === "send" && effect.stream)).toEqual(["c"]);
    const frame: StreamFrame = { type: "data", bytes: new Uint8Array(4) };
    streams.handleSettled("c", frame);
    expect(streams.drain().map((effect) => effect.type === "send" && effect.stream)).toEqual(["c"]);
    streams.handleSettled("c", frame);
    const third = streams.drain();
    expect(third.map((effect) => effect.type === "send" && effect.stream)).toEqual(["d"]);
    expect(() => streams.header("d", [["x", "y".repeat(20_000)]])).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_LIMIT_COUNT" }),
    );
  });
});
