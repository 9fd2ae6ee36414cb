/** Agents that fall silent, as registries of both domains show them: gateways, followers and registries in one process. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, type Domain, defaults, silentLog } from "@causeway/core-base";
import { ars } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { testCrypto } from "../../gateway/src/testing/pki.ts";
import { World, type WorldGateway } from "../../gateway/src/testing/world.ts";
import { createMemoryRegistryStore } from "./memory-store.ts";
import { SyncReader } from "./reader.ts";
import { Registry } from "./registry.ts";

/** The registry of the gateway's domain, which follows it; finds as an agent of the domain. */
function registryAt(world: World, at: WorldGateway): () => Promise<readonly string[]> {
  const { scheduler, random } = world;
  const domain = at.domain as Domain;
  const identity = world.registry(domain);
  const deps = { trust: at.trust.store, crypto: testCrypto, scheduler, log: silentLog };
  const registry = new Registry(
    { domain },
    { ...deps, store: createMemoryRegistryStore(), signer: () => identity.record },
  );
  new SyncReader({
    ...{ ...deps, random, self: { spiffeId: identity.spiffeId, domain } },
    dial: async () => ({
      transport: world.clientOf(at, identity),
      peer: at.trust.peer(at.identity, scheduler.now().unix),
      close: () => undefined,
    }),
    follow: (agentId, record) => registry.follow(agentId, record),
  }).start([at.url]);
  const asker = at.trust.peer(world.authority(domain).enrol(`${domain}/people/asker`), scheduler.now().unix);
  return async () =>
    (await registry.discover(asker, create(ars.DiscoverRequestSchema, { limit: 10 }))).matches.map(
      ({ agentId }) => agentId,
    );
}

test("a silent agent is offline after the default time, no registry finds it within 2 seconds of the mark, and with its next heartbeat it is back [ANA-101] [ANA-102]", async () => {
  const world = new World();
  const { blue1, blue2, green1, green2 } = await world.chain();
  const local = registryAt(world, green2);
  const remote = registryAt(world, blue2);
  const alice = await world.agent(blue1, "blue.example/travel/alice").attach();
  const bob = await world.agent(green1, "green.example/hotels/bob").attach();
  for (const each of [alice, bob]) expect((await each.advertise()).error).toBeUndefined();
  await world.scheduler.advance(2_000);
  const everybody: readonly AgentId[] = [alice.agentId, bob.agentId];
  for (const find of [local, remote]) expect((await find()).toSorted()).toEqual(everybody);
  const lease = bob.leaseId;
  const status = (): string | undefined => world.routes(green1, bob.agentId)[0]?.status;

  // A change is told with a heartbeat at once: the last one.
  for (const condition of ["degraded", "running"] as const) {
    bob.setCondition(condition);
    await world.scheduler.advance(0);
  }
  bob.freeze();
  await world.scheduler.advance(defaults.staleAfterMs - 1);
  expect(status()).toBe("online");
  for (const find of [local, remote]) expect((await find()).toSorted()).toEqual(everybody);
  await world.scheduler.advance(1);
  expect(status()).toBe("offline");
  await world.scheduler.advance(2_000);
  for (const find of [local, remote]) expect(await find()).toEqual([alice.agentId]);

  bob.thaw();
  await world.scheduler.advance(2_000);
  expect([bob.state, bob.leaseId, status()]).toEqual(["attached", lease, "online"]);
  for (const find of [local, remote]) expect((await find()).toSorted()).toEqual(everybody);
  await alice.message(bob.agentId, "welcome back");
  expect(bob.messages).toEqual(["welcome back"]);
});
