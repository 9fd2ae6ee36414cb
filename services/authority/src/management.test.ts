/** Limits and metrics of an authority (AAP-103); testing/e2e has both over the network. */

import { create } from "@bufbuild/protobuf";
import { generatePurposeKeys } from "@causeway/adapter-keys";
import { CallTally } from "@causeway/core-base";
import { aca, admin } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { authorityLimits } from "./config.ts";
import type { Caller } from "./index.ts";
import { authorityTables } from "./metrics.ts";
import { applicant, codeOf, enrolment, material, World } from "./testing/authority-world.ts";

const name = "spiffe://blue.example/travel/booker";

async function open() {
  const world = await World.open({ config: { applicationsMax: 1 } });
  const operator: Caller = world.peer(world.operator.chain("tls"));
  const as = (caller: Caller) => world.transport(() => caller);
  return { world, operator, limits: createClient(admin.LimitsService, as(operator)), as };
}

const apply = (world: World, path: string) => {
  const keys = generatePurposeKeys();
  return world
    .client(() => applicant(keys))
    .enrol(enrolment(`spiffe://blue.example/travel/${path}`, keys, { material }));
};

test("every limit is listed, and a change counts for the next call [AAP-103]", async () => {
  const { world, limits } = await open();
  const rows = (await limits.listLimits({})).limits;
  expect(rows.map((row) => row.name).sort()).toEqual(Object.keys(authorityLimits).sort());
  expect(rows.find((row) => row.name === "applicationsMax")).toMatchObject({ value: 1n, setBy: "configuration" });
  await apply(world, "one");
  expect(await codeOf(apply(world, "two"))).toBe("CAUSEWAY_LIMIT_COUNT");
  await limits.setLimit({ name: "applicationsMax", value: 2n });
  await apply(world, "two");
  // New certificates have the new lifetime, and the old one stays as it is.
  await limits.setLimit({ name: "leafLifetimeMs", value: 3_600_000n });
  const [leaf] = world.store.certificates((await world.enrol(name)).spiffeId, 1);
  expect((leaf?.notAfterUnixMs ?? 0) - world.scheduler.now().unix).toBeLessThanOrEqual(3_600_000);
});

test("values that are not allowed or contradict each other change nothing", async () => {
  const { limits } = await open();
  const set = (limit: string, value: bigint) => codeOf(limits.setLimit({ name: limit, value }));
  expect(await set("leafLifetimeMs", 1n)).toBe("CAUSEWAY_CONFIG_INVALID");
  expect(await set("issuingLifetimeMs", 86_400_000n)).toBe("CAUSEWAY_CONFIG_INVALID");
  expect(await set("rootLifetimeMs", 31_536_000_000_000n)).toBe("CAUSEWAY_CONFIG_INVALID");
  expect(await set("nothing", 1n)).toBe("CAUSEWAY_CONFIG_INVALID");
  expect((await limits.listLimits({})).limits.filter(({ setBy }) => setBy !== "default")).toMatchObject([
    { name: "applicationsMax" },
  ]);
  expect(await codeOf(limits.reloadLimits({}))).toBe("CAUSEWAY_UNSUPPORTED");
});

test("only operators of the domain have the limits", async () => {
  const { world, as } = await open();
  const member = await world.enrol(name);
  const monitor = await world.enrol("spiffe://blue.example/monitor/prometheus", { role: "monitor" });
  for (const caller of [
    applicant(generatePurposeKeys()),
    ...[member, monitor].map((each) => world.peer(each.chain("tls"))),
  ]) {
    const { listLimits, setLimit, reloadLimits } = createClient(admin.LimitsService, as(caller));
    for (const call of [listLimits({}), setLimit({ name: "applicationsMax", value: 5n }), reloadLimits({})])
      expect(await codeOf(call)).toMatch(/^CAUSEWAY_IDENTITY_(ROLE_WRONG|CERTIFICATE_SELF_SIGNED)$/);
  }
});

test("metrics have every table with its bound, calls by method and refusals by code [AAP-103]", async () => {
  const { world, operator, as } = await open();
  await apply(world, "one");
  const calls = new CallTally();
  calls.addCall("enrol");
  calls.addRefusal("CAUSEWAY_LIMIT_COUNT");
  const text = world.authority.metrics(operator, calls);
  for (const table of Object.keys(authorityTables)) expect(text).toContain(`causeway_table_entries{table="${table}"} `);
  expect(text).toContain('causeway_table_entries{table="applications"} 1\n');
  expect(text).toContain('causeway_table_entries_max{table="applications"} 1\n');
  expect(text).toContain('causeway_table_entries{table="certificates"} 1\n');
  expect(text).toContain('causeway_authority_calls_total{method="enrol"} 1\n');
  expect(text).toContain('causeway_authority_refused_total{code="limit_count"} 1\n');
  // The routes count for themselves.
  const metrics = createClient(admin.MetricsService, as(operator));
  await metrics.readMetrics({});
  expect((await metrics.readMetrics({})).text).toContain('causeway_authority_calls_total{method="readMetrics"} 2\n');
});

test("metrics count other domains and read none of their bundles", async () => {
  const { world, operator } = await open();
  for (const domain of ["green.example", "red.example"])
    world.authority.addOwnTrust((await World.open({ domain })).authority.exportBundle());
  const read = vi.spyOn(world.store, "bundles");
  const domains = 'causeway_table_entries{table="foreign_domains"}';
  expect(world.authority.metrics(operator, new CallTally())).toContain(`${domains} 2\n`);
  world.authority.removeTrust(operator, create(aca.RemoveTrustRequestSchema, { domain: "red.example" }));
  read.mockClear();
  expect(world.authority.metrics(operator, new CallTally())).toContain(`${domains} 1\n`);
  expect(read).not.toHaveBeenCalled();
});

test("metrics are read by operators and monitors of the domain, and by nobody else", async () => {
  const { world, as } = await open();
  const monitor = await world.enrol("spiffe://blue.example/monitor/prometheus", { role: "monitor" });
  const read = (caller: Caller) => createClient(admin.MetricsService, as(caller)).readMetrics({});
  expect((await read(world.peer(monitor.chain("tls")))).text).toMatch(/# EOF\n$/);
  const member = await world.enrol(name);
  expect(await codeOf(read(world.peer(member.chain("tls"))))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
});
