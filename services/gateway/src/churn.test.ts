import { expect, test } from "vitest";
import { TestAgent } from "./testing/test-agent.ts";
import { World } from "./testing/world.ts";

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
