/** Metrics of a real gateway, read back by a strict reader of the format; testing/e2e reads them with Prometheus's own. */
import { openMetricsText } from "@causeway/core-base";
import { admin, agp } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { gatewayTables } from "./gateway-tables.ts";
import { keyPackage } from "./testing/mls-bytes.ts";
import type { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

interface Family {
  readonly type: string;
  readonly samples: Map<string, number>;
}

const metricName = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const labelPair = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const sampleLine = new RegExp(
  `^(${metricName})(\\{${labelPair}(?:,${labelPair})*\\})? (NaN|[+-]Inf|-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`,
);

/** Reads OpenMetrics 1.0 as its grammar has it, and refuses everything else. */
function parseOpenMetrics(text: string): ReadonlyMap<string, Family> {
  expect(text.endsWith("\n# EOF\n")).toBe(true);
  const families = new Map<string, Family>();
  let current: { readonly name: string; readonly family: Family } | undefined;
  let allowed: readonly string[] = [];
  for (const line of text.split("\n").slice(0, -2)) {
    const about = /^# (TYPE|UNIT|HELP) (\S+) (.+)$/.exec(line);
    if (about !== null) {
      const [, kind = "", name = "", rest = ""] = about;
      if (kind === "TYPE") {
        expect(["gauge", "counter"]).toContain(rest);
        expect(families.has(name), `${name} twice`).toBe(false);
        current = { name, family: { type: rest, samples: new Map() } };
        families.set(name, current.family);
        allowed = ["UNIT", "HELP"];
      } else {
        expect(allowed, line).toContain(kind);
        allowed = kind === "UNIT" ? ["HELP"] : [];
        expect(current?.name).toBe(name);
        if (kind === "UNIT") expect(name.endsWith(`_${rest}`), line).toBe(true);
      }
      continue;
    }
    const [, name = "", labels = "", value = ""] = sampleLine.exec(line) ?? expect.fail(`no sample: ${line}`);
    const suffix = current?.family.type === "counter" ? "_total" : "";
    expect(name).toBe(`${current?.name}${suffix}`);
    expect(current?.family.samples.has(labels), `${line} twice`).toBe(false);
    if (suffix !== "") expect(Number(value)).toBeGreaterThanOrEqual(0);
    current?.family.samples.set(labels, Number(value.replace("Inf", "Infinity")));
  }
  return families;
}

async function read(at: WorldGateway = net.blue1): Promise<ReadonlyMap<string, Family>> {
  const identity = world.authority(at.domain).enrol(`${at.domain}/operator/olga`, "operator");
  const { text } = await createClient(admin.MetricsService, world.clientOf(at, identity)).readMetrics({});
  return parseOpenMetrics(text);
}

const entriesOf = (families: ReadonlyMap<string, Family>, table: keyof typeof gatewayTables): number | undefined =>
  families.get("causeway_table_entries")?.samples.get(`{table="${table}"}`);

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.blue1, "blue.example/travel/bob");
});

describe("metrics of a gateway [AAP-103]", () => {
  test("have every table with its size, and with its bound where it has one of its own", async () => {
    const families = await read();
    const bounds = ["causeway_table_entries_max", "causeway_table_bytes_max"].map(
      (each) => families.get(each)?.samples,
    );
    const unbounded: string[] = [];
    for (const table of Object.keys(gatewayTables)) {
      const label = `{table="${table}"}`;
      const sizes = ["causeway_table_entries", "causeway_table_bytes"].map((each) =>
        families.get(each)?.samples.get(label),
      );
      expect(
        sizes.some((each) => each !== undefined),
        table,
      ).toBe(true);
      if (!bounds.some((each) => each?.has(label))) unbounded.push(table);
    }
    // Of these the port, the configuration or each single agent has the bound.
    expect(unbounded.sort()).toEqual(
      ["event_watchers", "key_packages", "links", "mls_groups", "peer_links", "sync_peers"].sort(),
    );
  });

  test.each<readonly [keyof typeof gatewayTables, () => Promise<unknown>]>([
    ["attachments", () => world.agent(net.blue1, "blue.example/travel/eve").attach()],
    ["links", () => world.agent(net.blue1, "blue.example/travel/eve").attach()],
    ["forwarding", () => world.agent(net.blue1, "blue.example/travel/eve").attach()],
    ["sync_records", () => known(net.blue1, "blue.example/travel/eve")],
    ["subscriptions", () => bob.subscribe("blue.example/travel/alice/deals")],
    ["hop_records", () => alice.message(bob.agentId, "late", { expiresUnixMs: 1n })],
    ["held_messages", holdOne],
    ["mailboxes", storeOne],
    ["topics", () => createTopic()],
    ["event_watchers", () => alice.send({ case: "eventWatch", value: { types: ["peer."] } })],
    ["sticky_choices", stick],
    ["key_packages", uploadOne],
  ])("%s grows when something is added", async (table, add) => {
    const before = entriesOf(await read(), table) ?? Number.NaN;
    await add();
    // What is counted in the store is counted once a minute.
    if (table === "key_packages") await world.scheduler.advance(60_000);
    expect(entriesOf(await read(), table)).toBeGreaterThan(before);
  });

  test("counters grow, refusals by code, publications by outcome", async () => {
    const before = await read();
    await alice.message(bob.agentId, "one");
    await alice.message(bob.agentId, "late", { expiresUnixMs: 1n });
    const after = await read();
    const growth = (name: string, labels = ""): number =>
      (after.get(name)?.samples.get(labels) ?? 0) - (before.get(name)?.samples.get(labels) ?? 0);
    expect(growth("causeway_gateway_messages_in")).toBe(2);
    expect(growth("causeway_gateway_delivered")).toBe(1);
    expect(growth("causeway_gateway_refused", '{code="forwarding_expired"}')).toBe(1);
  });

  test("are read by a monitor of the domain, and by none of another", () => {
    const peer = (domain: string, role: "monitor" | "agent") =>
      net.blue1.trust.peer(
        world.authority(domain).enrol(`${domain}/monitor/prometheus`, role),
        world.scheduler.now().unix,
      );
    const { gateway } = net.blue1;
    expect(gateway?.metrics(peer("blue.example", "monitor"))).toContain("causeway_table_entries");
    for (const other of [peer("green.example", "monitor"), peer("blue.example", "agent")])
      expect(() => gateway?.metrics(other)).toThrow(/expected an operator or a monitor of blue\.example/);
  });

  test("are for operators of the domain only", async () => {
    const client = createClient(admin.MetricsService, world.clientOf(net.blue1, alice.identity));
    await expect(client.readMetrics({})).rejects.toThrow(/ROLE_WRONG/);
  });
});

async function holdOne(): Promise<void> {
  bob.freeze();
  await world.scheduler.advance(95_000);
  await alice.message(bob.agentId, "wait");
}

async function storeOne(): Promise<void> {
  await bob.crash();
  await alice.message(bob.agentId, "keep", { deliveryMode: agp.DeliveryMode.RELIABLE });
  await world.scheduler.advance(10);
}

async function createTopic(): Promise<void> {
  const value = {
    request: 7n,
    command: { case: "create" as const, value: { topic: "blue.example/travel/alice/deals" } },
  };
  await alice.send({ case: "topicCommand", value } as never);
}

async function stick(): Promise<void> {
  await world.agent(net.blue1, "blue.example/travel/bob", { instance: "second" }).attach();
  await alice.message(bob.agentId, "to one of two");
}

async function uploadOne(): Promise<void> {
  const value = { request: 1n, keyPackages: [keyPackage("p")] };
  await bob.request({ case: "keyPackageUpload", value }, "keyPackageUploadResult");
}

describe("the writer", () => {
  test("escapes texts, writes every number, and says UNIT of what has one", () => {
    const text = openMetricsText([
      {
        name: "a_bytes",
        type: "gauge",
        unit: "bytes",
        help: 'with "quotes", \\ and\na second line',
        samples: [{ labels: { x: 'a"b\\c\nd' }, value: 1.5 }, { value: Number.POSITIVE_INFINITY }],
      },
      { name: "b_total", type: "counter", help: "counts", samples: [{ value: 1e21 }] },
    ]);
    const families = parseOpenMetrics(text);
    expect([...(families.get("a_bytes")?.samples ?? [])]).toEqual([
      ['{x="a\\"b\\\\c\\nd"}', 1.5],
      ["", Number.POSITIVE_INFINITY],
    ]);
    expect(families.get("b")?.samples.get("")).toBe(1e21);
    expect(openMetricsText([])).toBe("# EOF\n");
  });

  test.each(["a-b", "A", "b", "a_total"])("refuses the name %s of a gauge or counter that it does not fit", (name) => {
    const type = name === "b" ? "counter" : "gauge";
    expect(() => openMetricsText([{ name, type, help: "x", samples: [] }])).toThrow(/expected a new name/);
  });
});
