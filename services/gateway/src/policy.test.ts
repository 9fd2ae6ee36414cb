/** Forwarding rules of a running gateway: what they refuse, what is written down of it, and how others replace them. */
import { ForwardingPolicy, type PolicyRule } from "@causeway/core-forwarding";
import { admin } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { LiveConfig } from "./ports.ts";
import type { TestAgent, TestAgentOptions } from "./testing/test-agent.ts";
import { type LogLine, World, type WorldGateway } from "./testing/world.ts";

const marker = "MARKER-77ad";
const noGreen: PolicyRule = { name: "no-green", effect: "deny", source: "blue.example", target: "green.example" };
const noGreenText = "no-green: deny from blue.example to green.example";
const travelOnly: PolicyRule = {
  name: "travel",
  effect: "permit",
  source: "blue.example/travel",
  direction: "inbound",
};
const olga = "spiffe://blue.example/operator/olga";
let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;
/** What each gateway's configuration says when it is read again. */
const configured = new Map<WorldGateway, LiveConfig>();

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  configured.clear();
  for (const each of [net.blue1, net.green2]) {
    await world.kill(each);
    each.readConfig = () => configured.get(each) ?? {};
    await world.start(each);
  }
  await world.scheduler.advance(40_000);
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.green1, "green.example/hotels/bob");
});

async function known(at: WorldGateway, name: string, options: TestAgentOptions = {}): Promise<TestAgent> {
  const agent = await world.agent(at, name, options).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

function reload(at: WorldGateway, config: LiveConfig): Promise<admin.ReloadLimitsResponse> {
  configured.set(at, config);
  const identity = world.authority(at.domain).enrol(`${at.domain}/operator/olga`, "operator");
  return createClient(admin.LimitsService, world.clientOf(at, identity)).reloadLimits({});
}

const codes = (): readonly string[] => alice.reports.map((each) => each.code);
const linesOf = (at: WorldGateway, event: string): readonly LogLine[] => at.log.filter((line) => line.event === event);
const denials = (at: WorldGateway): readonly LogLine[] => linesOf(at, "forwarding.policy_denied");

async function sendMany(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await alice.message(bob.agentId, marker);
}

test("a decision that the gateway remembers of an agent's messages ends with the policy that it was made by, both ways [AAP-7]", async () => {
  // Gateways of one process remember shapes of frames in one place, by the number of their link: hers is like no other.
  const others = ["b", "c", "d", "e", "f", "g"];
  for (const name of others) await world.agent(net.blue1, `blue.example/travel/${name}`).attach();
  alice = await known(net.blue1, "blue.example/travel/anna");
  await world.scheduler.advance(1_000);
  const check = vi.spyOn(ForwardingPolicy.prototype, "check");
  /** Sends until the gateway decides without looking at the rules; how many messages that took. */
  const warmUp = async (seenBy: number): Promise<number> => {
    for (let sent = 1; sent <= 50; sent++) {
      check.mockClear();
      await sendMany(1);
      if (check.mock.calls.length === seenBy) return sent;
    }
    throw new Error("every message was decided anew");
  };
  try {
    // Gateways that get it from a neighbour look each time.
    const sent = await warmUp(3);
    expect(bob.messages).toHaveLength(sent);
    await reload(net.blue1, { policy: [noGreen] });
    await sendMany(3);
    expect([bob.messages.length, codes()]).toEqual([sent, Array(3).fill("CAUSEWAY_FORWARDING_NOT_ALLOWED")]);
    await reload(net.blue1, { policy: [] });
    const more = await warmUp(3);
    expect([bob.messages.length, codes().length]).toEqual([sent + more, 3]);
  } finally {
    check.mockRestore();
  }
});

describe.each([
  ["the gateway of the sender", "blue1"],
  ["a gateway of the other domain", "green2"],
] as const)("a rule at %s", (_where, name) => {
  test("that denies a pair of domains counts from its reload on, with NOT_ALLOWED and an audit line; a reload without it restores traffic on the same links [AAP-7]", async () => {
    const at = net[name];
    const { link } = alice;
    const dials = [...world.gateways.values()].map((each) => each.dials);
    await sendMany(5);
    expect(bob.messages).toHaveLength(5);

    expect(await reload(at, { policy: [travelOnly, noGreen] })).toMatchObject({
      rulesAdded: ["travel: permit from blue.example/travel to everything, inbound", noGreenText],
      rulesRemoved: [],
    });
    // What the first rule permits is not what comes next.
    expect((await reload(at, { policy: [noGreen] })).rulesRemoved).toHaveLength(1);
    await sendMany(3);
    expect(bob.messages).toHaveLength(5);
    expect(codes()).toEqual(Array(3).fill("CAUSEWAY_FORWARDING_NOT_ALLOWED"));
    expect(alice.reports.map((each) => each.reporter)).toEqual(Array(3).fill(at.identity.spiffeId));
    expect(denials(at)).toHaveLength(3);
    expect(at.gateway?.status().counters["policy_denied"]).toBe(3);

    expect(await reload(at, {})).toMatchObject({ rulesAdded: [], rulesRemoved: [noGreenText] });
    await sendMany(5);
    expect(bob.messages).toHaveLength(10);
    expect([codes().length, denials(at).length]).toEqual([3, 3]);
    expect([alice.link, alice.lost]).toEqual([link, []]);
    expect([...world.gateways.values()].map((each) => each.dials)).toEqual(dials);
  });

  test("is cited by the line of what it denies, with fields of the header and nothing of the content [AAP-28]", async () => {
    const at = net[name];
    await reload(at, { policy: [{ name: "other", effect: "deny", source: "red.example" }, noGreen] });
    const messageId = await alice.message(bob.agentId, marker);
    expect(denials(at)).toEqual([
      {
        level: "warn",
        event: "forwarding.policy_denied",
        fields: {
          from: expect.stringMatching(name === "blue1" ? /alice/ : /blue\.example/),
          source: alice.agentId,
          target: bob.agentId,
          messageId: Buffer.from(messageId).toString("hex"),
          rule: "no-green",
          ruleNumber: 2,
          ruleText: noGreenText,
        },
      },
    ]);
    for (const each of world.gateways.values()) {
      expect(
        JSON.stringify(each.log, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
      ).not.toContain(marker);
    }
  });
});

test("lines of denials are bounded, and their number is not lost", async () => {
  await reload(net.blue1, { policy: [noGreen] });
  await sendMany(150);
  expect(denials(net.blue1)).toHaveLength(100);
  await world.scheduler.advance(1_000);
  await sendMany(1);
  expect(denials(net.blue1).at(-1)?.fields["leftOut"]).toBe(50);
  expect(net.blue1.gateway?.status().counters["policy_denied"]).toBe(151);
});

test("what waited for an agent is judged by the rules of when it goes on [AAP-7]", async () => {
  // An attachment without heartbeats is never stale.
  const carol = await known(net.blue1, "blue.example/travel/carol", { model: "stateful" });
  carol.vanish();
  await world.scheduler.advance(100_000);
  await alice.message(carol.agentId, "one");
  expect(net.blue1.gateway?.status().counters["held"]).toBe(1);
  await reload(net.blue1, { policy: [{ name: "internal", effect: "deny", direction: "internal" }] });
  await world.agent(net.blue1, "blue.example/travel/carol").attach();
  expect(denials(net.blue1)).toMatchObject([{ fields: { source: alice.agentId, rule: "internal" } }]);
  expect(codes()).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED"]);
});

describe("a reload", () => {
  test("is in the log: which rules, who", async () => {
    await reload(net.blue1, { policy: [noGreen] });
    await reload(net.blue1, { policy: [noGreen] });
    net.blue1.gateway?.reload("SIGHUP");
    configured.set(net.blue1, {});
    net.blue1.gateway?.reload("SIGHUP");
    const lines = net.blue1.log.filter((line) => line.event.startsWith("policy."));
    expect(lines.map(({ level, event, fields }) => [level, event, fields])).toEqual([
      ["info", "policy.rule_added", { rule: noGreenText, by: olga }],
      ["info", "policy.changed", { rules: 1, isReordered: false, by: olga }],
      ["info", "policy.rule_removed", { rule: noGreenText, by: "SIGHUP" }],
      ["info", "policy.changed", { rules: 0, isReordered: false, by: "SIGHUP" }],
    ]);
  });

  test("with rules in another order says so, and the order counts", async () => {
    const all: PolicyRule = { name: "all", effect: "permit" };
    await reload(net.blue1, { policy: [all, noGreen] });
    await sendMany(2);
    expect(await reload(net.blue1, { policy: [noGreen, all] })).toMatchObject({
      rulesAdded: [],
      rulesRemoved: [],
      rulesReordered: true,
    });
    await sendMany(1);
    expect([bob.messages.length, codes()]).toEqual([2, ["CAUSEWAY_FORWARDING_NOT_ALLOWED"]]);
  });

  test.each([
    [
      "a rule",
      { policy: [{ ...noGreen, target: "green..example//x" }], limits: { heldMessagesMax: 7 } },
      /of rule no-green/,
    ],
    ["a limit", { policy: [], limits: { heldMessagesMax: -1 } }, /expected heldMessagesMax/],
  ] as const)(
    "of a configuration with %s that is wrong changes neither rules nor limits",
    async (_what, wrong, said) => {
      await reload(net.blue1, { policy: [noGreen], limits: { heldMessagesMax: 60 } });
      await expect(reload(net.blue1, wrong)).rejects.toThrow(said);
      expect(linesOf(net.blue1, "limits.reload_failed")).toHaveLength(1);
      await sendMany(1);
      expect(codes()).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED"]);
      const again = await reload(net.blue1, { policy: [noGreen], limits: { heldMessagesMax: 60 } });
      expect([again.changed, again.rulesAdded, again.rulesRemoved]).toEqual([[], [], []]);
    },
  );
});
