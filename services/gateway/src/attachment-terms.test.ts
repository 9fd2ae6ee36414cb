/** What a gateway is configured to offer at attachment. */
import { decodeDatagramAnswer, encodeDatagramDiscover } from "@causeway/core-attachment";
import { parseAgentId } from "@causeway/core-base";
import { expect, test } from "vitest";
import { testCrypto } from "./testing/pki.ts";
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

test("an agent is told with its lease what the domain prescribes for messages inside it [ANA-96]", async () => {
  const world = new World();
  const plain = world.add("l1", "blue.example", 1);
  const strict = world.add("l2", "blue.example", 2);
  strict.terms = { gatewayUse: "always" };
  await world.start(plain);
  await world.start(strict);
  const toldAt = async (at: typeof plain) => (await world.agent(at, `blue.example/a/${at.name}`).attach()).negotiated;
  expect([(await toldAt(plain))?.gatewayUse, (await toldAt(strict))?.gatewayUse]).toEqual(["prefer", "always"]);
});

test("GW-DISCOVER in datagrams is answered while the gateway serves, and counted; what is malformed gets no answer [AAP-37]", async () => {
  const world = new World();
  const at = world.add("l1", "blue.example", 1);
  await world.start(at);
  const ask = (cookie?: Uint8Array): Uint8Array =>
    encodeDatagramDiscover(testCrypto, {
      agentId: parseAgentId("blue.example/a/one"),
      salt: new Uint8Array(16),
      nonce: new Uint8Array(16),
      ...(cookie && { cookie }),
    });
  const send = (bytes: Uint8Array) => {
    const answer = at.gateway?.handleDatagram("192.0.2.1:5000", bytes);
    return answer && decodeDatagramAnswer(answer, new Uint8Array(16));
  };
  const first = send(ask());
  expect(first?.case).toBe("cookie");
  const second = send(ask(first?.case === "cookie" ? first.value : undefined));
  expect(second?.case).toBe("offer");
  expect(send(new Uint8Array(10))).toBeUndefined();
  expect(at.gateway?.status().counters).toMatchObject({
    causeway_discovery_datagrams_cookies_total: 1,
    causeway_discovery_datagrams_offers_total: 1,
    causeway_discovery_datagrams_malformed_total: 1,
  });
  await at.gateway?.stop({ deadlineMs: 0 });
  expect(send(ask())).toBeUndefined();
});
