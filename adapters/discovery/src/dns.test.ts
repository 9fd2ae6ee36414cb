/** Gateways by DNS, against a name server over real sockets. */
import { isCausewayError } from "@causeway/core-base";
import { afterEach, expect, test } from "vitest";
import { gatewayNamed, gatewaysOf } from "./dns.ts";
import { DnsClient } from "./dns-client.ts";
import { createDiscovery, type DiscoveryMethod } from "./methods.ts";
import { type DnsRecord, startDnsServer, svcb, type TestDnsServer } from "./testing/dns-server.ts";

const { signal } = new AbortController();
let servers: TestDnsServer[] = [];
let clock = 0;

afterEach(async () => {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  servers = [];
});

async function serve(...records: readonly DnsRecord[]): Promise<TestDnsServer> {
  const server = await startDnsServer(records);
  servers.push(server);
  return server;
}
const clientOf = (...addresses: readonly string[]): DnsClient =>
  new DnsClient({ servers: addresses, now: () => clock, timeoutMs: 2_000 });
const endpointsOf = async (client: DnsClient, domain = "blue.example"): Promise<readonly string[]> =>
  (await gatewaysOf(domain, { client, signal, fraction: () => 0 })).map(({ endpoint }) => endpoint);
const a = (name: string, data: string, ttl = 60): DnsRecord => ({ name, type: "A", data, ttl });
const svcbOf = (name: string, data: Buffer): DnsRecord => ({ name, type: "UNKNOWN_64", data });
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (thrown: unknown) => (isCausewayError(thrown) ? thrown.code : thrown),
  );

test("SVCB: every address in the order of priority, and an alias is followed [AAP-56]", async () => {
  const server = await serve(
    svcbOf("_causeway.blue.example", svcb(0, "_causeway.edge.example")),
    svcbOf("_causeway.edge.example", svcb(2, "gw2.edge.example", 7402)),
    svcbOf("_causeway.edge.example", svcb(1, "gw1.edge.example", 7401)),
    a("gw1.edge.example", "10.0.0.1"),
    a("gw1.edge.example", "10.0.0.2"),
    { name: "gw1.edge.example", type: "AAAA", data: "fd00::1" },
    a("gw2.edge.example", "10.0.0.3"),
  );
  expect(await endpointsOf(clientOf(server.address))).toEqual([
    "https://10.0.0.1:7401",
    "https://10.0.0.2:7401",
    "https://[fd00::1]:7401",
    "https://10.0.0.3:7402",
  ]);
});

test("answers are used as long as they live, and asked for again then [AAP-56]", async () => {
  const server = await serve(
    svcbOf("_causeway.blue.example", svcb(1, "gw1.blue.example")),
    a("gw1.blue.example", "10.0.0.1", 30),
  );
  const client = clientOf(server.address);
  const asks = () => server.asked.filter((each) => each === "A gw1.blue.example").length;
  await endpointsOf(client);
  clock += 29_999;
  await endpointsOf(client);
  expect(asks()).toBe(1);
  server.records = [...server.records.slice(0, 1), a("gw1.blue.example", "10.0.0.9")];
  clock += 1;
  expect(await endpointsOf(client)).toEqual(["https://10.0.0.9:7443"]);
  expect(asks()).toBe(2);
});

test("names and ports of private use are defaults, and configuration replaces them [AAP-104]", async () => {
  const server = await serve(
    svcbOf("_agents.blue.example", svcb(1, "gw1.blue.example")),
    {
      name: "_agw._tcp.blue.example",
      type: "SRV",
      data: { priority: 0, weight: 0, port: 7401, target: "gw1.blue.example" },
    },
    a("gw1.blue.example", "10.0.0.1"),
  );
  const found = async (more: Partial<DiscoveryMethod & { method: "dns" }>): Promise<readonly string[]> => {
    const method = { method: "dns" as const, servers: [server.address], ...more };
    const { lookUp } = createDiscovery([method], { domain: "blue.example", now: () => clock, fraction: () => 0 });
    return (await lookUp(0, signal)).map(({ endpoint }) => endpoint);
  };
  expect(await found({})).toEqual([]);
  expect(await found({ label: "_agents", port: 9_000 })).toEqual(["https://10.0.0.1:9000"]);
  expect(await found({ service: "_agw._tcp" })).toEqual(["https://10.0.0.1:7401"]);
});

test("DNS-SD: services with their records, and those of a version that is not known are left out", async () => {
  const service = "_causeway._tcp.blue.example";
  const instance = (name: string, target: string, txt: readonly string[]): DnsRecord[] => [
    { name: service, type: "PTR", data: `${name}.${service}` },
    { name: `${name}.${service}`, type: "SRV", data: { priority: 0, weight: 0, port: 7401, target } },
    { name: `${name}.${service}`, type: "TXT", data: txt },
  ];
  const server = await serve(
    ...instance("one", "gw1.blue.example", ["txtvers=1", "note=by the door"]),
    ...instance("two", "gw2.blue.example", ["txtvers=2"]),
    a("gw1.blue.example", "10.0.0.1"),
    a("gw2.blue.example", "10.0.0.2"),
  );
  expect(await endpointsOf(clientOf(server.address))).toEqual(["https://10.0.0.1:7401"]);
});

test("SRV: by priority, then by weight", async () => {
  const srv = (priority: number, weight: number, target: string): DnsRecord => ({
    name: "_causeway._tcp.blue.example",
    type: "SRV",
    data: { priority, weight, port: 7401, target },
  });
  const server = await serve(
    srv(1, 0, "gw3.blue.example"),
    srv(0, 10, "gw1.blue.example"),
    srv(0, 90, "gw2.blue.example"),
    ...[1, 2, 3].map((n) => a(`gw${n}.blue.example`, `10.0.0.${n}`)),
  );
  const order = async (fraction: number): Promise<readonly string[]> =>
    (await gatewaysOf("blue.example", { client: clientOf(server.address), signal, fraction: () => fraction })).map(
      ({ endpoint }) => endpoint.slice("https://10.0.0.".length, -":7401".length),
    );
  expect([await order(0), await order(0.5)]).toEqual([
    ["1", "2", "3"],
    ["2", "1", "3"],
  ]);
});

test("a gateway's own name leads to its addresses [AAP-56]", async () => {
  const server = await serve(a("gw1.blue.example", "10.0.0.1"));
  const hints = await gatewayNamed("gw1.blue.example", { client: clientOf(server.address), signal, fraction: () => 0 });
  expect(hints).toEqual([{ method: "dns", endpoint: "https://10.0.0.1:7443", discover: true }]);
});

test("an answer that is cut is asked for over TCP", async () => {
  const server = await serve(
    svcbOf("_causeway.blue.example", svcb(1, "gw1.blue.example")),
    a("gw1.blue.example", "10.0.0.1"),
  );
  server.isCutting = true;
  expect(await endpointsOf(clientOf(server.address))).toEqual(["https://10.0.0.1:7443"]);
});

test("what does not fit the question is no answer: another number, another name, no DNS", async () => {
  const server = await serve(
    svcbOf("_causeway.blue.example", svcb(1, "gw1.blue.example")),
    a("gw1.blue.example", "10.0.0.1"),
  );
  server.noise = (answer) => {
    const number = Buffer.from(answer);
    number.writeUInt16BE((answer.readUInt16BE(0) + 1) % 0x10000);
    const name = Buffer.from(answer.toString("latin1").replaceAll("blue", "evil"), "latin1");
    return [number, name, Buffer.from("hello"), Buffer.alloc(0)];
  };
  expect(await endpointsOf(clientOf(server.address))).toEqual(["https://10.0.0.1:7443"]);
});

test("without records there is no gateway; without a server there is an error; the next server is asked", async () => {
  const server = await serve();
  expect(await endpointsOf(clientOf(server.address))).toEqual([]);
  const gone = await serve();
  await gone[Symbol.asyncDispose]();
  servers = servers.filter((each) => each !== gone);
  expect(await codeOf(endpointsOf(clientOf(gone.address)))).toBe("CAUSEWAY_UNREACHABLE");
  server.records = [svcbOf("_causeway.blue.example", svcb(1, "gw1.blue.example")), a("gw1.blue.example", "10.0.0.1")];
  expect(await endpointsOf(clientOf(gone.address, server.address))).toEqual(["https://10.0.0.1:7443"]);
  expect(await codeOf(endpointsOf(clientOf(server.address), "blue example"))).toBe("CAUSEWAY_CONFIG_INVALID");
  expect(() => clientOf("ns.example")).toThrow("expected a DNS server");
});
