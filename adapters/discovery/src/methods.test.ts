/** Configured methods become sources; DHCP leases are read from files. */
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assigned } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createDiscovery, type DiscoveryMethod } from "./methods.ts";

const deps = { domain: "blue.example", now: () => 0, fraction: () => 0 };
const { signal } = new AbortController();
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-dhcp-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("lists and anycast addresses are known at once; the documented anycast addresses are the default [AAP-47]", () => {
  const { sources } = createDiscovery(
    [{ method: "static", gateways: ["gw1.blue.example", "https://10.0.0.1:7401"] }, { method: "anycast" }],
    deps,
  );
  expect(sources.map(({ method, hints }) => [method, hints?.map(({ endpoint }) => endpoint)])).toEqual([
    ["static", [`https://gw1.blue.example:${assigned.gatewayPort}`, "https://10.0.0.1:7401"]],
    [
      "anycast",
      [
        `https://${assigned.anycastAddress}:${assigned.gatewayPort}`,
        `https://[${assigned.anycastAddressV6}]:${assigned.gatewayPort}`,
      ],
    ],
  ]);
});

/** What replaces each value of private use, and where an agent then looks. */
const replaced: Record<
  Exclude<keyof typeof assigned, "dnsLabel" | "dnsService" | "linkMediaType">,
  readonly [DiscoveryMethod, string]
> = {
  gatewayPort: [{ method: "static", gateways: ["10.0.0.1:9000"] }, "https://10.0.0.1:9000"],
  discoveryPort: [{ method: "anycast", address: "10.0.0.1:9001", datagram: true }, "udp://10.0.0.1:9001"],
  anycastAddress: [{ method: "anycast", address: "10.0.0.2:9000" }, "https://10.0.0.2:9000"],
  anycastAddressV6: [{ method: "anycast", address: "[fd00::2]:9000" }, "https://[fd00::2]:9000"],
  dhcpOption: [{ method: "dhcp", option: 230, files: ["FOLDER/lease"], port: 9000 }, "https://10.0.0.3:9000"],
};

test.each(Object.entries(replaced))("configuration replaces %s [AAP-104]", async (_, [method, endpoint]) => {
  writeFileSync(join(folder, "lease"), `opt${assigned.dhcpOption}=10.9.9.9\nopt230=10.0.0.3\n`);
  const place = method.method === "dhcp" ? { ...method, files: [join(folder, "lease")] } : method;
  const { sources, lookUp } = createDiscovery([place], deps);
  const hints = sources[0]?.hints ?? (await lookUp(0, signal));
  expect(hints.map((hint) => hint.endpoint)).toEqual([endpoint]);
});

test("DHCP: the option of every lease file, the newest file first [AAP-52]", async () => {
  const write = (name: string, text: string, age: number): void => {
    writeFileSync(join(folder, name), text);
    utimesSync(join(folder, name), 1_700_000_000 - age, 1_700_000_000 - age);
  };
  write("dhclient.eth0.leases", 'lease {\n  option unknown-224 "10.0.0.1:7401";\n}\n', 100);
  write("dhclient.eth1.leases", 'lease {\n  option unknown-224 "gw2.blue.example";\n}\n', 10);
  write("other.txt", "opt224=10.9.9.9\n", 0);
  const { lookUp, sources } = createDiscovery([{ method: "dhcp", files: [join(folder, "dhclient.*.leases")] }], deps);
  expect(sources).toEqual([{ method: "dhcp" }]);
  expect(await lookUp(0, signal)).toEqual([
    { method: "dhcp", endpoint: `https://gw2.blue.example:${assigned.gatewayPort}`, discover: true },
    { method: "dhcp", endpoint: "https://10.0.0.1:7401", discover: true },
  ]);
  const none = createDiscovery([{ method: "dhcp", files: [join(folder, "nothing*"), "/nowhere/*"] }], deps);
  expect(await none.lookUp(0, signal)).toEqual([]);
});

const bad: Record<string, readonly DiscoveryMethod[]> = {
  "no method": [],
  "a list without gateways": [{ method: "static", gateways: [] }],
  "a gateway without TLS": [{ method: "static", gateways: ["http://gw1"] }],
  "a directory without registry": [{ method: "directory" }],
  "a name server that is no address": [{ method: "dns", servers: ["ns1"] }],
};
test.each(Object.entries(bad))("a configuration with %s is refused", (_name, methods) => {
  expect(() => createDiscovery(methods, deps)).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_CONFIG_INVALID" }) as Error,
  );
});
