/**
 * Who may reach whom, find whom and listen to whom (ANA-45): real gateways and registries of two domains in one process,
 * a random policy for each seed, and every decision for every pair beside a model of the policy that shares no code.
 */
import { create } from "@bufbuild/protobuf";
import { type AgentId, agentOf, parseDomain, shortName, silentLog } from "@causeway/core-base";
import { agp, ars } from "@causeway/core-wire";
import { createMemoryRegistryStore, Registry, SyncReader } from "@causeway/service-registry";
import { afterEach, describe, expect, test } from "vitest";
import { settle } from "../../../services/gateway/src/testing/manual-scheduler.ts";
import { testCrypto } from "../../../services/gateway/src/testing/pki.ts";
import type { TestAgent } from "../../../services/gateway/src/testing/test-agent.ts";
import { World, type WorldGateway } from "../../../services/gateway/src/testing/world.ts";
import { differences, domains, type Facts, model, type Policy, policyOf, topicOf } from "./access-policy.ts";

interface Network extends AsyncDisposable {
  readonly world: World;
  readonly agents: ReadonlyMap<string, TestAgent>;
  readonly registries: ReadonlyMap<string, Registry>;
}

async function networkOf(policy: Policy): Promise<Network> {
  const world = new World([...domains]);
  const gateways = new Map<string, WorldGateway>();
  for (const domain of domains) {
    for (const [name, level] of [
      ["l2", 2],
      ["l1", 1],
    ] as const) {
      const gateway = world.add(name, domain, level);
      gateway.terms = { policy: policy.rules[`${name}.${domain}`] ?? [] };
      // Whoever wrote first can be answered for this long, whatever else is said of it: that is not tested here.
      gateway.limits = { returnPathMs: 1, attachesPerMinute: 1_000 };
      gateways.set(`${name}.${domain}`, gateway);
    }
  }
  const at = (name: string): WorldGateway => gateways.get(name) as WorldGateway;
  for (const domain of domains) at(`l1.${domain}`).peers = [{ url: at(`l2.${domain}`).url, kind: "uplink" }];
  at("l2.blue.example").peers = [{ url: at("l2.green.example").url, kind: "peer" }];
  for (const name of ["l2.green.example", "l2.blue.example", "l1.blue.example", "l1.green.example"])
    await world.start(at(name));
  await world.scheduler.advance(5_000);

  const resources = new AsyncDisposableStack();
  const registries = new Map<string, Registry>();
  for (const domain of domains) {
    const identity = world.registry(domain);
    const l2 = at(`l2.${domain}`);
    const trust = world.newTrust(domain).store;
    const { scheduler, random } = world;
    const deps = { trust, crypto: testCrypto, scheduler, log: silentLog };
    const registry = new Registry(
      { domain: parseDomain(domain), queriesPerMinute: 10_000 },
      { ...deps, store: createMemoryRegistryStore(), signer: () => identity.record },
    );
    const reader = resources.use(
      new SyncReader({
        ...deps,
        random,
        self: { spiffeId: identity.spiffeId, domain: parseDomain(domain) },
        dial: async () => ({
          transport: world.clientOf(l2, identity),
          peer: trust.verifyChain(l2.identity.tls.chain, { now: scheduler.now().unix, purpose: "tls" }),
          close: () => undefined,
        }),
        follow: (agentId, record) => registry.follow(agentId, record),
      }),
    );
    reader.start([l2.url]);
    registries.set(domain, registry);
  }

  const agents = new Map<string, TestAgent>();
  for (const facts of policy.agents) {
    const { allowedDomains, visibleDomains } = facts;
    const agent = await world.agent(at(`l1.${facts.domain}`), facts.name).attach();
    const { record } = agent.signedRecord({ allowedDomains, visibleDomains });
    const caller = world.trust(facts.domain).peer(agent.identity, world.scheduler.now().unix);
    registries.get(facts.domain)?.register(caller, create(ars.RegisterRequestSchema, { record }));
    expect((await agent.advertise({ allowedDomains, visibleDomains })).error).toBeUndefined();
    const command = {
      case: "create" as const,
      value: { topic: topicOf(facts), policy: create(agp.TopicPolicySchema, { subscribers: [...facts.subscribers] }) },
    };
    const made = await agent.request(
      { case: "topicCommand", value: { request: 1n, command: command as never } },
      "topicResult",
    );
    expect(made.error).toBeUndefined();
    agents.set(facts.name, agent);
  }
  await world.scheduler.advance(10_000);
  return { world, agents, registries, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

describe.each([1, 2, 3])("20 agents and 20 targets, policy of seed %i [ANA-45]", (seed) => {
  const policy = policyOf(seed);
  let net: Network;
  afterEach(() => net[Symbol.asyncDispose]());
  const agent = (facts: Facts): TestAgent => net.agents.get(facts.name) as TestAgent;

  test("each finds exactly whom it may find", async () => {
    net = await networkOf(policy);
    const seen = new Map<string, ReadonlySet<AgentId>>();
    for (const who of policy.agents) {
      const caller = net.world.trust(who.domain).peer(agent(who).identity, net.world.scheduler.now().unix);
      const request = create(ars.DiscoverRequestSchema, { skills: ["echo"], limit: 100 });
      const found = await net.registries.get(who.domain)?.discover(caller, request);
      seen.set(who.name, new Set(found?.matches.map((each) => agentOf(each.agentId as AgentId))));
    }
    const outcome = await differences(
      policy,
      async (who, whom) => seen.get(who.name)?.has(agent(whom).agentId) === true,
      model.mayFind,
    );
    expect(outcome.wrong).toEqual([]);
    expect(Math.min(outcome.yes, outcome.no)).toBeGreaterThanOrEqual(10);
  });

  test("each message arrives exactly where it may", async () => {
    net = await networkOf(policy);
    const outcome = await differences(
      policy,
      async (who, whom) => {
        const text = `${shortName(agent(who).agentId)} ${whom.name}`;
        await agent(who).message(agent(whom).agentId, text);
        await settle();
        // Ways back are forgotten before the next one.
        await net.world.scheduler.advance(5);
        return agent(whom).messages.includes(text);
      },
      (who, whom) => model.maySend(policy, who, whom),
    );
    expect(outcome.wrong).toEqual([]);
    expect(Math.min(outcome.yes, outcome.no)).toBeGreaterThanOrEqual(10);
  });

  // A gateway knows the rights of topics that are kept here. Elsewhere the owner judges: see the test with processes.
  test("each listens exactly where it may, among the topics of its gateway", async () => {
    net = await networkOf(policy);
    const outcome = await differences(
      policy,
      async (who, whom) =>
        who.domain !== whom.domain || (await agent(who).subscribe(topicOf(whom))).error === undefined,
      (who, whom) => who.domain !== whom.domain || model.maySubscribe(who, whom),
    );
    expect(outcome.wrong).toEqual([]);
    expect(Math.min(outcome.yes, outcome.no)).toBeGreaterThanOrEqual(10);
  });
});
