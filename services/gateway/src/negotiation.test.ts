/** What agent and gateway agree on at attachment, and what the two models of attachment state come to. */
import { admin } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { settle } from "./testing/manual-scheduler.ts";
import { World } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;

beforeEach(async () => {
  world = new World();
  net = await world.chain();
});

function operator() {
  const identity = world.authority("blue.example").enrol("blue.example/operator/olga", "operator");
  return { client: createClient(admin.GatewayAdminService, world.clientOf(net.blue1, identity)) };
}

const attachments = () => net.blue1.gateway?.inspect().table.attachments() ?? [];

describe("capabilities", () => {
  test("with a reduced set of features both sides report the same negotiated set [AAP-3]", async () => {
    const all = await world.agent(net.blue1, "blue.example/travel/all").attach();
    const few = await world
      .agent(net.blue1, "blue.example/travel/few", { onlyFeatures: ["agp/1", "mls/1", "far-future/9"] })
      .attach();
    const { client } = operator();
    const rows = (await client.listAttachments({})).attachments;
    const ofGateway = (agentId: string): string[] =>
      [...(rows.find((row) => row.agentId === agentId)?.features ?? [])].sort();
    for (const agent of [all, few]) {
      expect(agent.state).toBe("attached");
      expect([...(agent.negotiated?.features ?? [])].sort()).toEqual(ofGateway(agent.agentId));
    }
    expect(few.negotiated?.features).toHaveLength(2);
    expect(few.negotiated?.features).not.toContain("far-future/9");
    expect(all.negotiated?.features.length).toBeGreaterThan(2);
  });

  test("the model of the attachment state is the agent's choice, negotiated for each attachment [AAP-81]", async () => {
    const stateful = await world.agent(net.blue1, "blue.example/travel/stateful").attach();
    const soft = await world.agent(net.blue1, "blue.example/travel/soft", { model: "soft" }).attach();
    const rows = (await operator().client.listAttachments({})).attachments;
    const models = Object.fromEntries(rows.map((row) => [row.agentId, row.model]));
    expect(models).toEqual({ [stateful.agentId]: "stateful", [soft.agentId]: "soft" });
    expect([stateful.negotiated?.model, soft.negotiated?.model]).toEqual(["stateful", "soft"]);
  });
});

test("a soft agent that falls silent is gone at its lifetime, with an info event and no error at either side [AAP-91]", async () => {
  const soft = await world.agent(net.blue1, "blue.example/travel/soft", { model: "soft" }).attach();
  await soft.advertise();
  await world.scheduler.advance(1_000);
  const before = net.blue1.log.length;
  soft.vanish();
  let elapsedMs = 0;
  while (attachments().length > 0 && elapsedMs < 3_600_000) {
    await world.scheduler.advance(5_000);
    elapsedMs += 5_000;
  }
  await settle();
  expect(attachments()).toEqual([]);
  const lines = net.blue1.log.slice(before);
  expect(lines.filter((line) => line.event === "attachment.agent_expired").map((line) => line.level)).toEqual(["info"]);
  expect(lines.filter((line) => line.level === "warn" || line.level === "error")).toEqual([]);
  expect(soft.errors).toEqual([]);
});

test("whatever a soft agent sends renews its attachment, not only messages; silence then loses it [AAP-90]", async () => {
  const soft = await world.agent(net.blue1, "blue.example/travel/soft", { model: "soft" }).attach();
  // No refresh from here on.
  soft.freeze();
  for (let sent = 0; sent < 10; sent++) {
    await world.scheduler.advance(200_000);
    await soft.send({ case: "eventWatch", value: { request: BigInt(sent + 1), types: [] } });
    expect(attachments()).toHaveLength(1);
  }
  soft.vanish();
  await world.scheduler.advance(300_001);
  expect(attachments()).toEqual([]);
});
