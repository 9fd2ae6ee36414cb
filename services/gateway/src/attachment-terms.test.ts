/** What a gateway is configured to offer at attachment. */
import { expect, test } from "vitest";
import { World } from "./testing/world.ts";

test("the models that a gateway offers are its configuration's; a wish for another gets the first [AAP-81]", async () => {
  const world = new World();
  const soft = world.add("l1", "blue.example", 1);
  soft.terms = { attachmentModels: ["soft"] };
  const both = world.add("l2", "blue.example", 2);
  await world.start(soft);
  await world.start(both);
  const modelAt = async (at: typeof soft, model: "stateful" | "soft"): Promise<string | undefined> =>
    (await world.agent(at, `blue.example/a/${at.name}-${model}`, { model }).attach()).negotiated?.model;
  expect([await modelAt(soft, "stateful"), await modelAt(soft, "soft")]).toEqual(["soft", "soft"]);
  expect([await modelAt(both, "stateful"), await modelAt(both, "soft")]).toEqual(["stateful", "soft"]);
});

test("a gateway that takes one channel binding still takes agents of the SDK, which use the exporter", async () => {
  const world = new World();
  const strict = world.add("l1", "blue.example", 1);
  strict.terms = { channelBindings: ["tls-exporter"] };
  await world.start(strict);
  expect((await world.agent(strict, "blue.example/a/one").attach()).state).toBe("attached");
});
