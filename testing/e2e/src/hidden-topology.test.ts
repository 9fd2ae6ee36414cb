/** What an agent gets to know of another domain: two real domains, and everything that one agent of each is told. */
import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { type Agent, CausewayError } from "@causeway/agent/node";
import { aca, ars } from "@causeway/core-wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { calling } from "./adversary/calls.ts";
import { configOf, enrol } from "./adversary/credentials.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;
let alice: Agent;
let bob: Agent;

beforeAll(async () => {
  world = await startWorld();
  [alice, bob] = await Promise.all([world.agent("blue.example/people/alice"), world.agent("green.example/people/bob")]);
  for (const agent of [alice, bob]) {
    agent.onRequest("echo", (request) => request.data);
    await agent.register({
      name: "Echo",
      description: "Repeats what it hears",
      version: "1",
      skills: [{ id: "repeat", description: "Repeats" }],
    });
  }
  await until("both to know each other", async () => {
    const found = await Promise.all([alice, bob].map((agent) => agent.discover("repeats")));
    return found.every(({ matches }) => matches.length === 2);
  });
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

/** Names and addresses of everything that runs in a domain, and what its gateways are certified as. */
function insideOf(domain: string): readonly string[] {
  const { gateways, registry, authority } = configOf(world, `${domain}/`);
  const services = [...gateways, ...(registry ? [registry] : []), authority];
  return [
    ...services.map(({ url }) => new URL(url).host),
    ...gateways.flatMap(({ name, uri }) => [uri, new URL(uri).host, `${domain}/gateway/${name}`]),
  ];
}

/** All text in a value, keys, bytes and causes of errors included. */
function textOf(value: unknown, seen = new Set<unknown>()): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (typeof value !== "object" || value === null) return String(value);
  if (seen.has(value)) return "";
  seen.add(value);
  const members = [...Reflect.ownKeys(value)].map((key) => [
    String(key),
    textOf(Reflect.get(value, key) as unknown, seen),
  ]);
  return members.flat().join("\n");
}

/** Everything that the SDK hands to the code of `agent` about `other` and on the way to it. */
async function toldBySdk(agent: Agent, other: Agent): Promise<readonly unknown[]> {
  const told: unknown[] = [];
  agent.onEvent((event) => told.push(event));
  await using _watch = await agent.watch(["agent.", "topic.", "peer.", "delivery."], (event) => void told.push(event));
  const nobody = `${other.id.slice(0, other.id.lastIndexOf("/"))}/nobody`;
  const failed = async (work: Promise<unknown>): Promise<unknown> =>
    CausewayError.from(
      await work.then(
        () => undefined,
        (thrown: unknown) => thrown,
      ),
    );
  told.push(
    await agent.discover("repeats"),
    await agent.discover("", { domains: [new URL(other.id).host] }),
    await agent.lookup(other.id),
    await agent.request(other.id, { method: "echo", data: "hello" }, { trace: true }),
    await agent.requestFor(
      { text: "repeats what it hears", domains: [new URL(other.id).host] },
      { method: "echo", data: "hello" },
    ),
    await failed(agent.request(nobody, { method: "echo" }, { timeoutMs: 5_000 })),
    await failed(agent.request(other.id, { method: "none" })),
    agent.status(),
  );
  return told;
}

/** Everything that the registry and the authority of its domain tell an agent, as bytes from their ports. */
async function toldByServices(keeper: IdentityKeeper, other: Agent): Promise<readonly Uint8Array[]> {
  const { registry, authority } = configOf(world, `${keeper.domain}/`);
  const at = (url: string) => ({ url, tls: keeper.identity.tls(), trust: keeper.trust });
  const bytes = <D extends DescMessage>(schema: D, message: MessageShape<D>): Uint8Array => toBinary(schema, message);
  return [
    ...(await calling(ars.RegistryService, at(registry?.url ?? ""), async (client) => [
      bytes(ars.DiscoverResponseSchema, await client.discover({ text: "repeats" })),
      bytes(ars.DiscoverResponseSchema, await client.discover({ limit: 100 })),
      bytes(ars.GetRecordResponseSchema, await client.getRecord({ agentId: other.id })),
    ])),
    ...(await calling(aca.AuthorityService, at(authority.url), async (client) => {
      const watched = await client.watchTrust({})[Symbol.asyncIterator]().next();
      return [
        bytes(aca.GetTrustResponseSchema, await client.getTrust({})),
        bytes(aca.WatchTrustResponseSchema, watched.value as aca.WatchTrustResponse),
      ];
    })),
  ];
}

test.each([
  { of: "the other domain, told to ours [AAP-4]", here: () => alice, there: () => bob },
  { of: "our domain, told to the other [AAP-24]", here: () => bob, there: () => alice },
])("no name and no address of a gateway or service of $of", { timeout: 60_000 }, async ({ here, there }) => {
  const [agent, other] = [here(), there()];
  const domain = new URL(agent.id).host;
  const keeper = await enrol(world, `${domain}/people/reader`);
  try {
    const services = (await toldByServices(keeper, other)).map((each) => textOf(each));
    const told = [...(await toldBySdk(agent, other)).map((each) => textOf(each)), ...services];
    // It was told of the other agent and of the own gateways, in every way that is looked at.
    expect(told.filter((each) => each.includes(other.id)).length).toBeGreaterThanOrEqual(8);
    for (const answer of services) expect(answer).toContain(new URL(other.id).host);
    expect(told.join("\n")).toContain(`https://gw1.${domain}/amsp`);
    const hidden = insideOf(new URL(other.id).host);
    expect(hidden.length).toBeGreaterThanOrEqual(10);
    for (const name of hidden) for (const each of told) expect(each).not.toContain(name);
  } finally {
    await keeper.stop();
  }
});

test("a match names the gateway of the agent that asked, and its record verified [AAP-4]", async () => {
  const gateways = await Promise.all([alice, bob].map(async (agent) => (await agent.lookup(alice.id))?.gateway));
  expect(gateways).toEqual(["https://gw1.blue.example/amsp", "https://gw1.green.example/amsp"]);
  expect((await bob.lookup(alice.id))?.path).toEqual([]);
});

test("the domain's operator is still told where the authorities of other domains are", async () => {
  for (const operator of world.network.operators) {
    const { state } = await operator.authority.getTrust({});
    expect(state?.bundles.map((each) => each.authorityUrl)).toHaveLength(2);
    for (const { authorityUrl } of state?.bundles ?? []) expect(authorityUrl).toMatch(/^https:/);
  }
});
