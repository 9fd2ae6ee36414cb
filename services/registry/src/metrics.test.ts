/** Metrics of a registry over its services (AAP-103); testing/e2e reads them with Prometheus. */
import { asInstant, asUnixMs, silentLog } from "@causeway/core-base";
import { TestDomain, type TestIdentity, testCrypto, testNow } from "@causeway/core-identity/testing";
import { admin, ars, LimitsAdmin } from "@causeway/core-wire";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { registryLimits } from "./limits.ts";
import { createMemoryRegistryStore } from "./memory-store.ts";
import { registryTables } from "./metrics.ts";
import { Registry } from "./registry.ts";
import { registryRoutes } from "./routes.ts";

const blue = new TestDomain("blue.example");
const green = new TestDomain("green.example");
const trust = blue.store(green);
const peer = (identity: TestIdentity) => trust.verifyChain(identity.chain("tls"), { now: testNow, purpose: "tls" });
const agent = peer(blue.identity("travel/booker"));
const operator = peer(blue.identity("operator/olga", { role: "operator" }));

function open() {
  const registry = new Registry(
    { domain: blue.domain, queriesPerMinute: 1 },
    {
      store: createMemoryRegistryStore(),
      trust,
      crypto: testCrypto,
      scheduler: { now: () => ({ instant: asInstant(0), unix: asUnixMs(testNow) }), at: () => () => undefined },
      log: silentLog,
      signer: () => blue.identity("registry", { role: "registry" }).signer("record"),
      processUsage: () => ({ cpuSeconds: 1, residentBytes: 2, heapBytes: 3, loopDelaySeconds: 4 }),
    },
  );
  let caller = agent;
  const limits = new LimitsAdmin({ limits: registry.limits, read: undefined, log: silentLog });
  const routes = registryRoutes(registry, limits, () => caller);
  const transport = createRouterTransport(routes.services);
  return {
    routes,
    as(next: typeof agent) {
      caller = next;
    },
    limits: createClient(admin.LimitsService, transport),
    search: () => createClient(ars.RegistryService, transport).discover({ text: "hotels" }),
    read: async () => (await createClient(admin.MetricsService, transport).readMetrics({})).text,
  };
}

test("every table with its bound, calls by method, refusals by code, and the process [AAP-103]", async () => {
  const { as, search, read } = open();
  await search();
  // What it was is rendered by the port, and counted here.
  await expect(search()).rejects.toThrow();
  as(operator);
  const text = await read();
  for (const table of Object.keys(registryTables)) expect(text).toContain(`causeway_table_entries{table="${table}"} `);
  expect(text).toContain(`causeway_table_entries_max{table="registrations"} ${registryLimits.registrationsMax}\n`);
  expect(text).toContain('causeway_table_entries{table="query_callers"} 1\n');
  expect(text).toContain('causeway_registry_calls_total{method="discover"} 2\n');
  expect(text).toContain('causeway_registry_refused_total{code="limit_rate"} 1\n');
  expect(text).toContain(`causeway_registry_start_time_seconds ${testNow / 1_000}\n`);
  expect(text).toContain("process_resident_memory_bytes 2\n");
});

test("calls of limits and metrics count as every other, and so do their refusals [AAP-103]", async () => {
  const { as, limits, read } = open();
  as(operator);
  await limits.listLimits({});
  await limits.setLimit({ name: "registrationsMax", value: 7n });
  await expect(limits.setLimit({ name: "nothing", value: 7n })).rejects.toThrow();
  await expect(limits.reloadLimits({})).rejects.toThrow();
  as(agent);
  await expect(limits.listLimits({})).rejects.toThrow();
  await expect(read()).rejects.toThrow();
  as(operator);
  const text = await read();
  for (const [method, count] of Object.entries({ listLimits: 2, setLimit: 2, reloadLimits: 1, readMetrics: 2 }))
    expect(text).toContain(`causeway_registry_calls_total{method="${method}"} ${count}\n`);
  for (const [code, count] of Object.entries({ config_invalid: 1, unsupported: 1, identity_role_wrong: 2 }))
    expect(text).toContain(`causeway_registry_refused_total{code="${code}"} ${count}\n`);
});

test("operators and monitors of the domain read them, nobody else", () => {
  const { routes } = open();
  const monitor = (domain: TestDomain) => peer(domain.identity("monitor/prometheus", { role: "monitor" }));
  for (const allowed of [operator, monitor(blue)]) expect(routes.metrics(allowed)).toMatch(/# EOF\n$/);
  for (const other of [agent, monitor(green)])
    expect(() => routes.metrics(other)).toThrow(/expected an operator or a monitor of blue\.example/);
});
