import { create } from "@bufbuild/protobuf";
import { admin, agp } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keyPackage } from "./testing/mls-bytes.ts";
import { requestId, type TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let guest: TestAgent;
let bob: TestAgent;
let eve: TestAgent;
/** How the agents attach. */
let model: "stateful" | "soft" = "stateful";

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name, { model }).attach();
  await agent.advertise();
  await world.scheduler.advance(1_000);
  return agent;
}

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  guest = await world.agent(net.blue1, "blue.example/cli/guest", { advertise: false, model }).attach();
  bob = await known(net.green1, "green.example/hotels/bob");
  eve = await known(net.green1, "green.example/hotels/eve");
});

const codes = (agent: TestAgent): readonly string[] => agent.reports.map((each) => each.code);
const operator = (at: WorldGateway) =>
  createClient(
    admin.GatewayAdminService,
    world.clientOf(at, world.authority(at.domain).enrol(`${at.domain}/operator/olga`, "operator")),
  );

describe.each(["stateful", "soft"] as const)("an agent that is attached %s and not advertised [AAP-93]", (each) => {
  beforeAll(() => {
    model = each;
  });
  test("gets answers over three hops from the one it wrote to, and nothing from anybody else [ANA-97]", async () => {
    await bob.message(guest.agentId, "too early");
    expect(codes(bob)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    await guest.message(bob.agentId, "hello");
    await bob.message(guest.agentId, "hello yourself");
    await eve.message(guest.agentId, "buy this");
    expect(bob.messages).toEqual(["hello"]);
    expect(guest.messages).toEqual(["hello yourself"]);
    expect(codes(eve)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    for (const each of [net.blue2, net.green1, net.green2]) expect(world.routes(each, guest.agentId)).toEqual([]);
  });

  test("gets the answer of the delivery service and reports of gateways", async () => {
    const upload = { request: 1n, keyPackages: [keyPackage("package")] };
    await bob.request({ case: "keyPackageUpload", value: upload }, "keyPackageUploadResult");
    const value = create(agp.KeyPackageFetchSchema, { suite: 1 });
    await guest.control(bob.agentId, { case: "keyPackageFetch", value }, requestId(7));
    const answers = guest.inbox.flatMap((each) => (each.case === "control" ? [each.value.body.case] : []));
    expect(answers).toEqual(["keyPackageResult"]);
    await bob.detach();
    await guest.message("spiffe://green.example/hotels/nobody", "anybody?");
    expect(codes(guest)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
  });

  test("cannot be answered any more 300 s after its last message, nor after it has left", async () => {
    await guest.message(bob.agentId, "one");
    await world.scheduler.advance(290_000);
    await bob.message(guest.agentId, "in time");
    await world.scheduler.advance(20_000);
    await bob.message(guest.agentId, "too late");
    expect(guest.messages).toEqual(["in time"]);
    expect(codes(bob)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    await guest.message(bob.agentId, "two");
    await guest.detach();
    await bob.message(guest.agentId, "gone");
    expect(codes(bob)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE", "CAUSEWAY_FORWARDING_NO_ROUTE"]);
  });

  test("is out at once when its certificate is revoked", async () => {
    await guest.message(bob.agentId, "one");
    await world.revoke("blue.example", guest.identity);
    await bob.message(guest.agentId, "still there?");
    expect(guest.messages).toEqual([]);
    expect(codes(bob)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
  });

  test("is found again after the link on the way was lost, with its next message", async () => {
    await guest.message(bob.agentId, "one");
    net.blue2.peerLinks.get(net.green2.uri)?.close();
    await world.scheduler.advance(40_000);
    await bob.message(guest.agentId, "lost");
    expect(codes(bob)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    await guest.message(bob.agentId, "two");
    await bob.message(guest.agentId, "found");
    expect(guest.messages).toEqual(["found"]);
  });

  test("operators see the way back and why", async () => {
    const before = await operator(net.green2).listRoutes({});
    expect(before.routes.map((each) => each.target)).toEqual([bob.agentId, eve.agentId]);
    await guest.message(bob.agentId, "hello");
    const id = await bob.message(guest.agentId, "hello yourself", { flags: 1 });
    const client = operator(net.green2);
    const { routes } = await client.listRoutes({});
    expect(routes.find((each) => each.target === guest.agentId)).toMatchObject({
      kind: "return",
      nextHop: net.blue2.uri,
      reason: expect.stringContaining("the way back to a sender that is not advertised"),
    });
    const { hops } = await client.explain({ messageId: id });
    expect(hops).toMatchObject([{ verdict: "relay", to: net.blue2.uri, reason: routes.at(-1)?.reason }]);
    expect((await client.explain({ target: guest.agentId })).summary).toContain("not advertised");
  });
});
