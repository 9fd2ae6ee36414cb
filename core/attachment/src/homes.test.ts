import type { SpiffeId } from "@causeway/core-base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AttachmentSequence } from "./attachment-sequence.ts";
import { at } from "./fixtures/handshake.ts";
import { type HomeId, Homes, type HomesEffect } from "./homes.ts";

const gateway = (n: number): SpiffeId => `spiffe://blue.example/gateway/gw${n}` as SpiffeId;

/** Attaches homes by hand; remembers which are open. */
class World {
  readonly homes: Homes;
  readonly open = new Set<HomeId>();
  readonly sequences = new Map<HomeId, bigint>();
  readonly #numbers = new AttachmentSequence();

  constructor(wanted: number) {
    this.homes = new Homes(wanted);
    this.homes.start();
    this.take();
  }

  take(): readonly HomesEffect[] {
    const effects = this.homes.drain();
    for (const effect of effects) {
      if (effect.kind === "open") this.open.add(effect.home);
      else if (effect.kind === "end") this.open.delete(effect.home);
      else this.open.clear();
    }
    return effects;
  }

  /** True when the gateway was free. */
  attach(home: HomeId, n: number): boolean {
    if (!this.homes.claim(home, gateway(n))) return false;
    const sequence = this.#numbers.take(at(0), this.homes.below(home));
    this.sequences.set(home, sequence);
    this.homes.handleAttached(home, gateway(n), sequence);
    this.take();
    return true;
  }

  ready(home: HomeId): readonly HomesEffect[] {
    this.homes.handleReady(home, this.sequences.get(home) ?? 0n);
    return this.take();
  }

  view(): readonly string[] {
    return this.homes
      .status()
      .map(({ home, state, gateway: where }) => `${home} ${state}${where ? ` ${where.split("/").at(-1)}` : ""}`);
  }
}

describe("one attachment", () => {
  test("a gateway that drains is left once another one knows the agent, and not before [AAP-14]", () => {
    const world = new World(1);
    world.attach(1, 1);
    world.ready(1);
    world.homes.handleDraining(1);
    expect(world.take()).toEqual([{ kind: "open", home: 2 }]);
    expect(world.view()).toEqual(["1 leaving gw1", "2 attaching"]);
    expect(world.homes.takesOver(2, gateway(2))).toBe(false);
    // Not back to the one that goes.
    expect(world.attach(2, 1)).toBe(false);
    expect(world.attach(2, 2)).toBe(true);
    expect(world.view()).toEqual(["1 leaving gw1", "2 attached gw2"]);
    expect(world.homes.preferred).toBe(2);
    expect(world.ready(2)).toEqual([{ kind: "end", home: 1, reason: expect.any(String) as string }]);
    expect(world.view()).toEqual(["2 ready gw2"]);
  });

  test("a renewed attachment may take over at the same gateway, whichever side hears of it first [AAP-14]", () => {
    for (const isHeardFirst of [true, false]) {
      const world = new World(1);
      world.attach(1, 1);
      world.ready(1);
      world.homes.renew();
      expect(world.take()).toEqual([{ kind: "open", home: 2 }]);
      expect(world.homes.claim(2, gateway(1))).toBe(true);
      // The gateway ends the older one as soon as it has granted the newer.
      if (isHeardFirst) world.homes.handleLost(1, true, true);
      world.take();
      expect(world.homes.takesOver(2, gateway(1))).toBe(true);
      // In between the gateway has it on the newer link.
      expect([world.homes.isAttached, world.homes.isHeld]).toEqual([!isHeardFirst, true]);
      expect(world.attach(2, 1)).toBe(true);
      world.ready(2);
      if (!isHeardFirst) world.homes.handleLost(1, true, true);
      expect([world.take(), world.view()]).toEqual([[], ["2 ready gw1"]]);
    }
  });

  test("an attachment that was to take over and does not is a loss", () => {
    const world = new World(1);
    world.attach(1, 1);
    world.homes.renew();
    world.take();
    world.homes.handleLost(1, true, true);
    expect([world.take().map((each) => each.kind), world.homes.isHeld]).toEqual([["end"], true]);
    world.homes.handleBackoff(2);
    expect([world.homes.isHeld, world.view()]).toEqual([false, ["2 attaching"]]);
  });

  test("another process that takes the instance over ends all of them", () => {
    const world = new World(2);
    world.attach(1, 1);
    world.attach(2, 2);
    world.homes.handleLost(1, true, true);
    expect([world.take(), world.homes.isAttached, world.view()]).toEqual([[{ kind: "end-all" }], false, []]);
    expect(world.homes.claim(1, gateway(1))).toBe(false);
  });

  test("a gateway that drains and is gone before there is another leaves the agent looking for one", () => {
    const world = new World(1);
    world.attach(1, 1);
    world.homes.handleDraining(1);
    world.take();
    world.homes.handleLost(1, false, false);
    expect(world.take()).toEqual([{ kind: "end", home: 1, reason: expect.any(String) as string }]);
    expect([world.view(), world.homes.isAttached]).toEqual([["2 attaching"], false]);
    // It may have come back.
    expect(world.attach(2, 1)).toBe(true);
  });

  test("the next gateway drains as well: one after the other carries on", () => {
    const world = new World(1);
    world.attach(1, 1);
    world.ready(1);
    world.homes.handleDraining(1);
    world.take();
    world.attach(2, 2);
    world.homes.handleDraining(2);
    expect(world.take().map((each) => each.kind)).toEqual(["end", "open"]);
    expect(world.view()).toEqual(["2 leaving gw2", "3 attaching"]);
  });
});

describe("two attachments", () => {
  function two(): World {
    const world = new World(2);
    expect(world.view()).toEqual(["1 attaching"]);
    world.attach(1, 1);
    expect(world.view()).toEqual(["1 attached gw1", "2 attaching"]);
    world.ready(1);
    expect(world.attach(2, 1)).toBe(false);
    world.attach(2, 2);
    world.ready(2);
    return world;
  }

  test("are at two gateways; the first is the preferred one, also when it was away, and each carries on for the other [AAP-15]", () => {
    for (const lost of [1, 2]) {
      const world = two();
      expect(world.homes.preferred).toBe(1);
      world.homes.handleLost(lost, false, false);
      world.take();
      expect(world.homes.preferred).toBe(3 - lost);
      expect(world.homes.isAttached).toBe(true);
      expect(world.attach(lost, 3)).toBe(true);
      expect(world.homes.preferred).toBe(1);
    }
  });

  test("of two gateways one drains: it is left at once, since the other is there", () => {
    const world = two();
    world.homes.handleDraining(2);
    expect(world.take().map((each) => each.kind)).toEqual(["end", "open"]);
    expect(world.view()).toEqual(["1 ready gw1", "3 attaching"]);
  });

  test("what a home had in view is free for others when it found nothing", () => {
    const world = two();
    world.homes.handleLost(1, false, false);
    expect(world.homes.claim(1, gateway(3))).toBe(true);
    world.homes.handleDraining(2);
    world.take();
    expect(world.homes.mayUse(3, gateway(3))).toBe(false);
    world.homes.handleBackoff(1);
    expect(world.homes.mayUse(3, gateway(3))).toBe(true);
  });
});

test("any number of attachments in any weather: what works is ended only for what works, never two homes at one gateway without one taking over, never more than twice as many as wanted [AAP-14] [AAP-15]", () => {
  const step = fc.record({
    what: fc.constantFrom("attach", "attach", "ready", "ready", "drain", "lost", "renew", "backoff"),
    home: fc.nat(7),
    gateway: fc.nat(4),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 80 }), (wanted, steps) => {
      const world = new World(wanted);
      for (const each of steps) {
        const ids = [...world.open];
        const home = ids[each.home % ids.length] as HomeId;
        const before = world.homes.status();
        const standing = before.filter(({ state }) => state !== "attaching").length;
        const mine = before.find((view) => view.home === home);
        if (each.what === "attach" && mine?.state === "attaching") {
          world.attach(home, each.gateway);
        } else if (each.what === "ready") world.ready(home);
        else if (each.what === "drain") world.homes.handleDraining(home);
        else if (each.what === "lost" && mine?.state !== "attaching") world.homes.handleLost(home, false, false);
        else if (each.what === "renew") world.homes.renew();
        else if (each.what === "backoff") world.homes.handleBackoff(home);
        world.take();

        const after = world.homes.status();
        expect(after.map((view) => view.home)).toEqual([...world.open].sort((a, b) => a - b));
        expect(after.length).toBeLessThanOrEqual(2 * wanted);
        const lasting = after.filter(({ state }) => state !== "leaving");
        expect(lasting.length).toBeLessThanOrEqual(wanted);
        // Whoever lasts is there, or somebody looks for a place.
        if (lasting.length < wanted) expect(lasting.some(({ state }) => state === "attaching")).toBe(true);
        // Only a loss makes an agent unreachable.
        if (standing > 0 && each.what !== "lost") expect(world.homes.isAttached).toBe(true);
        if (standing > 1) expect(world.homes.isAttached).toBe(true);
        expect(world.homes.preferred !== undefined).toBe(world.homes.isAttached);
        // Of those that last, and those that are made anew, the first.
        const ranks = after.flatMap((view) => (view.state === "attached" || view.state === "ready" ? [view.rank] : []));
        const preferred = after.find((view) => view.home === world.homes.preferred);
        if (ranks.length > 0) expect(preferred?.rank).toBeLessThanOrEqual(Math.min(...ranks));
        expect(new Set(lasting.map((view) => view.rank)).size).toBe(lasting.length);
        const places = after.filter(({ state }) => state !== "attaching").map((view) => view.gateway);
        for (const place of new Set(places)) {
          const there = after.filter((view) => view.gateway === place);
          expect(there.filter(({ state }) => state !== "leaving").length).toBeLessThanOrEqual(1);
          expect(there.length).toBeLessThanOrEqual(2);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

test("misuse throws", () => {
  const misuse = expect.objectContaining({ code: "CAUSEWAY_MISUSE" });
  for (const wanted of [0, 9, 1.5, Number.NaN]) expect(() => new Homes(wanted)).toThrow(misuse);
  const homes = new Homes(1);
  homes.start();
  expect(() => homes.start()).toThrow(misuse);
});

test("numbers of attachments grow, whatever the clock does and whatever a gateway holds", () => {
  const sequence = new AttachmentSequence();
  const clock = (ms: number) => ({ ...at(0), unix: ms as ReturnType<typeof at>["unix"] });
  expect([sequence.take(clock(5)), sequence.take(clock(5)), sequence.take(clock(2))]).toEqual([5n, 6n, 7n]);
  expect([sequence.take(clock(9), undefined, 100n), sequence.take(clock(9), undefined, 50n)]).toEqual([101n, 102n]);
  // Behind another one, as long as there is room.
  const first = sequence.take(clock(10_000));
  expect([sequence.take(clock(10_001), first), sequence.take(clock(10_002), first)]).toEqual([9_000n, 9_001n]);
  expect(sequence.take(clock(10_003), first, 9_998n)).toBe(9_999n);
  expect(sequence.take(clock(10_004), first)).toBe(10_004n);
});
