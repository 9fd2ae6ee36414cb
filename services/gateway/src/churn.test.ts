import { defaults } from "@causeway/core-base";
import { expect, test } from "vitest";
import type { TestIdentity } from "./testing/pki.ts";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

test("the table equals the model after each of 1,000 arrivals, departures and moves [AAP-44] [AAP-66]", async () => {
  const world = new World(["blue.example"]);
  const gateways = [world.add("l1", "blue.example", 1), world.add("l2", "blue.example", 2)];
  for (const each of gateways) await world.start(each);
  const identities = Array.from({ length: 20 }, (_, index) =>
    world.authority("blue.example").enrol(`blue.example/many/a${index}`),
  );
  /** Where each agent is attached by the script's account. */
  const model = new Map<string, { readonly agent: TestAgent; readonly at: (typeof gateways)[number] }>();
  const table = (at: (typeof gateways)[number]): readonly string[] =>
    (at.gateway?.inspect().table.attachments() ?? []).map((each) => each.agentId).sort();

  for (let event = 0; event < 1_000; event++) {
    const identity = identities[Math.floor(world.random.fraction() * identities.length)];
    const at = gateways[Math.floor(world.random.fraction() * gateways.length)];
    if (identity === undefined || at === undefined) throw new Error("an empty world");
    const held = model.get(identity.spiffeId);
    if (held !== undefined) {
      await held.agent.detach();
      model.delete(identity.spiffeId);
    }
    // A departure, or an arrival; a departure and an arrival elsewhere is a move.
    if (held === undefined || world.random.fraction() < 0.5) {
      await world.scheduler.advance(1);
      const agent = await new TestAgent(world, at, identity).attach();
      model.set(identity.spiffeId, { agent, at });
    }
    for (const each of gateways) {
      const wanted = [...model].filter(([, place]) => place.at === each).map(([agentId]) => agentId);
      expect(table(each)).toEqual(wanted.sort());
    }
  }
});

test("routes at the other gateway equal the model after each of 400 arrivals, departures, crashes and moves [AAP-44]", async () => {
  const world = new World(["blue.example"]);
  const [east, west] = [world.add("east", "blue.example", 2), world.add("west", "blue.example", 2)] as const;
  east.peers = [{ url: west.url, kind: "peer" }];
  for (const each of [west, east]) await world.start(each);
  await world.scheduler.advance(5_000);
  const identities = Array.from({ length: 12 }, (_, index) =>
    world.authority("blue.example").enrol(`blue.example/many/a${index}`),
  );
  /** Who is or was attached where; one that crashed is remembered until it is removed. */
  const model = new Map<string, { readonly agent: TestAgent; readonly crashedAt?: number }>();
  const counts: Record<string, number> = {};
  const below = (n: number): number => Math.floor(world.random.fraction() * n);
  const now = (): number => world.scheduler.now().instant;
  const keyOf = (identity: TestIdentity, at: WorldGateway): string => `${identity.spiffeId} ${at.uri}`;
  let revision = 0n;

  const arrive = async (identity: TestIdentity, at: WorldGateway): Promise<void> => {
    const agent = await new TestAgent(world, at, identity).attach();
    expect((await agent.advertise({ revision: ++revision })).error).toBeUndefined();
    model.set(keyOf(identity, at), { agent });
  };
  const leave = async (identity: TestIdentity, at: WorldGateway): Promise<void> => {
    await model.get(keyOf(identity, at))?.agent.detach();
    model.delete(keyOf(identity, at));
  };
  const happen = async (): Promise<string> => {
    const identity = identities[below(identities.length)] as TestIdentity;
    const places = [east, west].map((at) => ({ at, place: model.get(keyOf(identity, at)) }));
    const online = places.find(({ place }) => place !== undefined && place.crashedAt === undefined);
    if (online?.place === undefined) {
      const { at, place } = places[below(2)] as (typeof places)[number];
      await arrive(identity, at);
      if (place !== undefined) return "return";
      return places.some((each) => each.place !== undefined) ? "return elsewhere" : "arrival";
    }
    const { at, place } = online;
    const other = at === east ? west : east;
    switch (below(4)) {
      case 0:
        await leave(identity, at);
        return "departure";
      case 1:
        await place.agent.crash();
        model.set(keyOf(identity, at), { ...place, crashedAt: now() });
        return "crash";
      case 2:
        await leave(identity, at);
        await arrive(identity, other);
        return "move";
      default:
        await arrive(identity, other);
        await leave(identity, at);
        return "move, the new attachment first";
    }
  };
  const seenAt = (at: WorldGateway): readonly string[] =>
    identities
      .flatMap(({ spiffeId }) =>
        world.routes(at, spiffeId).map(({ origin, status }) => `${spiffeId} ${origin} ${status}`),
      )
      .sort();

  for (let event = 0; event < 400; event++) {
    // Removal is never due at the moment at which is compared.
    await world.scheduler.advance(700);
    const what = await happen();
    counts[what] = (counts[what] ?? 0) + 1;
    await world.scheduler.advance(2_300);
    for (const [key, { crashedAt }] of model)
      if (crashedAt !== undefined && crashedAt + defaults.removeAfterStaleMs <= now()) model.delete(key);
    const wanted = [...model].map(([key, { crashedAt }]) => `${key} ${crashedAt === undefined ? "online" : "offline"}`);
    for (const each of [east, west]) {
      expect(seenAt(each), `event ${event}, ${what}`).toEqual(wanted.sort());
      const [held, base] = world.tableAndBase(each);
      expect(held).toEqual(base);
    }
  }
  expect(Object.values(counts).every((count) => count > 10)).toBe(true);
  expect(Object.keys(counts)).toHaveLength(7);
});
