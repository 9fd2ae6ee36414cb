/**
 * The lab: one domain, two gateways behind one anycast address, an access network with DHCP and DNS, and impostors.
 * Runs inside a box of its own (`namespaces.ts`) and writes what it saw as one JSON line.
 *
 *     access 10.80.1.0/24 ── box (router, authority, core, edge) ── backbone 10.80.0.0/24
 *        laptop · dhcp · names · rogue                                  near (.11) · far (.12)
 */
import type { ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ConnectOptions, DiscoveryMethod } from "@causeway/agent/node";
import { assigned } from "@causeway/core-base";
import { readDomainConfig } from "../../../../apps/cli/src/config/domain.ts";
import { Home } from "../../../../apps/cli/src/home.ts";
import { connectAgent } from "../../../../apps/cli/src/processes/agents.ts";
import { startDomain } from "../../../../apps/cli/src/processes/domain.ts";
import { Operator } from "../../../../apps/cli/src/processes/operator.ts";
import { Supervisor } from "../../../../apps/cli/src/processes/supervisor.ts";
import { until } from "../world.ts";
import type { Attempt, LabReport } from "./lab-report.ts";
import { answers, Machine, makeNetwork, prepareBox, run } from "./namespaces.ts";

const folder = process.argv[2] ?? "";
const home = new Home(join(folder, "home"));
const program = fileURLToPath(new URL("../../../../apps/cli/src/main.ts", import.meta.url));
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const node = [process.execPath, "--disable-warning=ExperimentalWarning"] as const;
/** Hosts that the registry names have addresses by the name server of the access network. */
const directory: DiscoveryMethod = { method: "directory", servers: ["10.80.1.53"] };
const children = new Set<ChildProcess>();
const { gatewayPort, discoveryPort, anycastAddress, dhcpOption } = assigned;
/** Nothing of the machine's own configuration, in the foreground, as whoever we are. */
const quiet = [
  "--keep-in-foreground",
  "--conf-file=/dev/null",
  "--user=root",
  "--group=root",
  "--pid-file=",
  "--log-facility=/dev/null",
];

prepareBox();
makeNetwork("access", "10.80.1.1/24");
makeNetwork("backbone", "10.80.0.1/24");
const laptop = new Machine("laptop", "access", "10.80.1.20/24", "10.80.1.1");
const guest = new Machine("guest", "access");
const names = new Machine("names", "access", "10.80.1.53/24", "10.80.1.1");
const dhcp = new Machine("dhcp", "access", "10.80.1.2/24", "10.80.1.1");
const rogue = new Machine("rogue", "access", "10.80.1.66/24", "10.80.1.1");
const near = new Machine("near", "backbone", "10.80.0.11/24", "10.80.0.1");
const far = new Machine("far", "backbone", "10.80.0.12/24", "10.80.0.1");
for (const machine of [laptop, guest])
  machine.filter(`table ip sockets {
  set dialled { type ipv4_addr . inet_service; flags dynamic; }
  chain outgoing {
    type filter hook output priority 0;
    ct state new meta l4proto tcp add @dialled { ip daddr . tcp dport }
  }
}
`);
for (const machine of [near, far]) machine.run("ip", "addr", "add", `${anycastAddress}/32`, "dev", "lo");
// What a routing protocol would have worked out: the near one by the better metric.
run("ip", "route", "add", `${anycastAddress}/32`, "via", "10.80.0.11", "metric", "10");
run("ip", "route", "add", `${anycastAddress}/32`, "via", "10.80.0.12", "metric", "20");

await using supervisor = new Supervisor();
const configFile = home.configFile("blue.example");
mkdirSync(join(configFile, ".."), { recursive: true });
writeFileSync(
  configFile,
  JSON.stringify({
    domain: "blue.example",
    masterKeyFile: home.masterKeyFile,
    authority: { listen: "10.80.0.1:7400" },
    registry: { listen: "10.80.0.1:7401", gateway: "core", semantic: false },
    gateways: [
      { name: "core", level: 2, listen: "10.80.0.1:7403" },
      {
        name: "edge",
        level: 1,
        listen: `10.80.1.1:${gatewayPort}`,
        datagrams: `10.80.1.1:${discoveryPort}`,
        uplinks: ["core"],
      },
    ],
  }),
);
const config = readDomainConfig(configFile);
await startDomain({ home, config, configFile, supervisor });
await using operator = await Operator.open(config);
const nearGateway = await startGateway("near", near, "10.80.0.11");
await startGateway("far", far, "10.80.0.12");
await using partner = await connectAgent({ home, config, name: "blue.example/lab/partner" });
partner.onRequest(() => "hello");
await partner.register({
  name: "Partner",
  description: "Answers",
  version: "1",
  skills: [{ id: "answer", description: "Answers" }],
});

const report: LabReport = {
  dns: {},
  dhcp: {},
  anycast: await anycast(),
  datagram: await attempt(laptop, "datagram", [{ method: "anycast", address: anycastAddress, datagram: true }]),
  flooded: await flooded(),
  static: await attempt(laptop, "static", [{ method: "static", gateways: ["10.80.1.1"] }]),
  directory: {},
  full: {},
  impostors: {},
};
await namesWork();
await fullOneIsPassedOver();
await leasesWork();
await impostorsFail();
process.stdout.write(`${JSON.stringify(report)}\n`);
for (const child of children) child.kill("SIGKILL");

/** An agent on a machine, which asks another one once it is attached. */
async function attempt(
  machine: Machine,
  name: string,
  methods: readonly DiscoveryMethod[],
  more: Partial<ConnectOptions> = {},
): Promise<Attempt> {
  const agent = await startAgent(machine, name, methods, more);
  const first = await agent.next();
  const dialled = machine.collected("ip", "sockets", "dialled");
  await agent.end();
  return { ...first, dialled };
}

async function startAgent(
  machine: Machine,
  name: string,
  methods: readonly DiscoveryMethod[],
  more: Partial<ConnectOptions> = {},
) {
  const id = `blue.example/lab/${name}`;
  const options: ConnectOptions = {
    name: id,
    dataDir: join(folder, "agents", name),
    masterKeyFile: join(folder, "agents", `${name}.key`),
    token: await operator.agentToken(id),
    registry: "https://10.80.0.1:7401",
    discovery: { methods },
    timeoutMs: 25_000,
    ...more,
  };
  machine.run("nft", "flush", "set", "ip", "sockets", "dialled");
  const child = launch(machine, [...node, here("lab-agent.ts"), JSON.stringify(options)], "pipe");
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const lines: Attempt[] = [];
  const waiting: ((line: Attempt) => void)[] = [];
  const take = (said: Attempt): void => {
    const wake = waiting.shift();
    if (wake) wake(said);
    else lines.push(said);
  };
  if (child.stdout === null) throw new Error("the agent has no output");
  const output = createInterface({ input: child.stdout });
  output.on("line", (line) => take(JSON.parse(line) as Attempt));
  output.on("close", () => take({ event: "ended", failures: [] }));
  return {
    next: (): Promise<Attempt> => {
      const line = lines.shift();
      return line ? Promise.resolve(line) : new Promise((resolve) => waiting.push(resolve));
    },
    end: () => {
      child.stdin?.end();
      return ended;
    },
  };
}

function launch(machine: Machine, command: readonly string[], stdin: "pipe" | "ignore" = "ignore"): ChildProcess {
  const [first = "", ...rest] = command;
  const child = machine.spawn(first, rest, { stdio: [stdin, "pipe", "inherit"] });
  children.add(child);
  child.on("exit", () => children.delete(child));
  return child;
}

async function startGateway(name: string, machine: Machine, address: string): Promise<ChildProcess> {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(
    file,
    JSON.stringify({
      domain: "blue.example",
      dataDir: join(folder, name),
      masterKeyFile: home.masterKeyFile,
      authority: { listen: "10.80.0.1:7400" },
      gateways: [
        {
          name,
          level: 1,
          listen: `0.0.0.0:${gatewayPort}`,
          url: `https://${address}:${gatewayPort}`,
          datagrams: `0.0.0.0:${discoveryPort}`,
          uplinks: [config.gateways.find(({ level }) => level === 2)?.url],
        },
      ],
    }),
  );
  const { token } = await operator.authority.createToken({
    spiffeId: `spiffe://blue.example/gateway/${name}`,
    role: "gateway",
    hosts: [address],
    gateway: { gatewayUri: `https://${name}.blue.example/amsp`, level: 1, namespaces: [] },
  });
  const words = ["gateway", name, "--config", file, "--token", token, "--home", home.directory];
  const child = launch(machine, [...node, program, ...words]);
  child.stdout?.resume();
  await until(`gateway ${name}`, () => answers(address, gatewayPort));
  return child;
}

/** The near gateway is taken; when it goes, and routing knows, the far one takes over. */
async function anycast(): Promise<LabReport["anycast"]> {
  const agent = await startAgent(laptop, "anycast", [{ method: "anycast" }]);
  const first = await agent.next();
  run("ip", "route", "del", `${anycastAddress}/32`, "via", "10.80.0.11");
  nearGateway.kill("SIGKILL");
  const lost = await agent.next();
  const second = await agent.next();
  await agent.end();
  return { first, lost, second };
}

/** Agents look for a gateway and attach while it is flooded with questions. */
async function flooded(): Promise<LabReport["flooded"]> {
  const flood = launch(rogue, [...node, here("flood.ts"), "10.80.0.12", String(discoveryPort)]);
  await new Promise((resolve) => flood.stdout?.once("data", resolve));
  const overTls = await attempt(laptop, "flooded-tls", [{ method: "anycast", address: anycastAddress }]);
  const inDatagrams = await attempt(laptop, "flooded", [
    { method: "anycast", address: anycastAddress, datagram: true },
  ]);
  const isFlooding = flood.exitCode === null;
  await stop(flood);
  return { overTls, inDatagrams, isFlooding };
}

async function namesWork(): Promise<void> {
  const svcb = (owner: string, priority: number, target: string, port: number): string =>
    `--dns-rr=${owner},64,${svcbHex(priority, target, port)}`;
  const service = (domain: string, priority: number, target: string): string =>
    `--srv-host=_causeway._tcp.${domain},${target},${gatewayPort},${priority},1`;
  await serveNames([
    svcb("_causeway.blue.example", 1, "edge.blue.example", gatewayPort),
    svcb("_causeway.blue.example", 2, "far.blue.example", gatewayPort),
    "--host-record=edge.blue.example,10.80.1.1",
    "--host-record=far.blue.example,10.80.0.12",
    service("srv.example", 1, "far.blue.example"),
    "--ptr-record=_causeway._tcp.sd.example,edge._causeway._tcp.sd.example",
    `--srv-host=edge._causeway._tcp.sd.example,edge.blue.example,${gatewayPort}`,
    "--txt-record=edge._causeway._tcp.sd.example,txtvers=1",
    // A lie: the first address is the impostor's.
    svcb("_causeway.spoofed.example", 1, "mixed.blue.example", gatewayPort),
    "--host-record=mixed.blue.example,10.80.1.66",
    "--host-record=mixed.blue.example,10.80.1.1",
    svcb("_causeway.lies.example", 1, "rogue.blue.example", gatewayPort),
    "--host-record=rogue.blue.example,10.80.1.66",
  ]);
  const by = (domain: string): DiscoveryMethod => ({ method: "dns", domain, servers: ["10.80.1.53"] });
  report.dns["svcb"] = await attempt(laptop, "svcb", [{ method: "dns", servers: ["10.80.1.53"] }]);
  report.dns["srv"] = await attempt(laptop, "srv", [by("srv.example")]);
  report.dns["dns-sd"] = await attempt(laptop, "sd", [by("sd.example")]);
  // The registry names edge, where its partner is; it is not told of any other gateway.
  report.directory["alone"] = await attempt(laptop, "directory", [directory]);
  report.dns["nothing, then the next method"] = await attempt(laptop, "order", [
    { method: "dhcp", files: [join(folder, "nothing")] },
    by("empty.example"),
    by("srv.example"),
  ]);
}

/** The gateway of the access network is as full as it may be before it makes no offers; the other one has room. */
async function fullOneIsPassedOver(): Promise<void> {
  const limits = operator.limits(`https://10.80.1.1:${gatewayPort}`, "gateway");
  const silentFrom = async (value: bigint): Promise<void> =>
    void (await limits.setLimit({ name: "silentAtLoadPercent", value }));
  // The partner is attached there: a load of 5.
  await limits.setLimit({ name: "attachmentsMax", value: 20n });
  await silentFrom(5n);
  const both = ["10.80.1.1", "10.80.0.12"];
  report.full["asked over TLS"] = await attempt(laptop, "full", [{ method: "static", gateways: both }]);
  const datagrams: DiscoveryMethod = { method: "anycast", address: both, datagram: true };
  report.full["asked in a datagram"] = await attempt(laptop, "full-datagram", [datagrams]);
  await silentFrom(95n);
  await limits.setLimit({ name: "attachmentsMax", value: 100_000n });
}

async function serveNames(records: readonly string[]): Promise<void> {
  launch(names, ["dnsmasq", ...quiet, "--no-resolv", "--no-hosts", "--local=/example/", "--port=53", ...records]);
  await until("the name server", () => answers("10.80.1.53", 53));
}

/** Each form of the option, by a DHCP server and a DHCP client of Debian. */
async function leasesWork(): Promise<void> {
  writeFileSync(join(folder, "resolv.conf"), "nameserver 10.80.1.53\n");
  run("mount", "--bind", join(folder, "resolv.conf"), "/etc/resolv.conf");
  const forms: Readonly<Record<string, string>> = {
    // The gateway of the access network is on the host of the default route.
    address: "10.80.1.1",
    name: "far.blue.example",
    url: `https://10.80.0.12:${gatewayPort}`,
  };
  for (const [form, value] of Object.entries(forms)) {
    const server = serveLeases(dhcp, value);
    const file = await lease(`lease-${form}`);
    report.dhcp[form] = await attempt(guest, `dhcp-${form}`, [{ method: "dhcp", files: [file] }]);
    await stop(server);
  }
}

function serveLeases(machine: Machine, value: string): ChildProcess {
  return launch(machine, [
    "dnsmasq",
    ...quiet,
    "--port=0",
    "--dhcp-range=10.80.1.100,10.80.1.150,1h",
    "--dhcp-option=3,10.80.1.1",
    `--dhcp-option=${dhcpOption},${value}`,
    "--dhcp-authoritative",
    `--dhcp-leasefile=${join(folder, "leases")}`,
  ]);
}

/** Lets busybox's client get a lease, and answers where its script has stored it. */
async function lease(name: string): Promise<string> {
  const file = join(folder, name);
  const script = join(folder, "udhcpc.sh");
  writeFileSync(
    script,
    `#!/bin/sh
case "$1" in
bound|renew)
  ip addr flush dev "$interface"; ip addr add "$ip/24" dev "$interface"
  ip route replace default via "$router"
  set | grep -E '^(ip|router|opt[0-9]+)=' > "$lease_file.new" && mv "$lease_file.new" "$lease_file";;
esac
`,
  );
  chmodSync(script, 0o755);
  guest.run(
    "env",
    `lease_file=${file}`,
    "busybox",
    "udhcpc",
    "-i",
    "eth0",
    "-f",
    "-q",
    "-t",
    "20",
    "-T",
    "1",
    "-O",
    String(dhcpOption),
    "-s",
    script,
  );
  await until("the lease", () => existsSync(file));
  return file;
}

async function impostorsFail(): Promise<void> {
  const real: DiscoveryMethod = { method: "static", gateways: ["10.80.1.1"] };
  const claims = {
    id: "spiffe://blue.example/gateway/edge",
    uri: "https://edge.blue.example/amsp",
    endpoint: `https://10.80.1.66:${gatewayPort}`,
  };
  const attack = async (
    name: string,
    order: Readonly<Record<string, unknown>>,
    tries: Readonly<Record<string, () => Promise<Attempt>>>,
  ): Promise<void> => {
    const child = launch(rogue, [
      ...node,
      here("impostor.ts"),
      JSON.stringify({ listen: "10.80.1.66", port: gatewayPort, claims, ...order }),
    ]);
    const heard: string[] = [];
    child.stdout?.on("data", (chunk: Buffer) => {
      for (const line of chunk.toString().split("\n"))
        if (line !== "") heard.push((JSON.parse(line) as { readonly event: string }).event);
    });
    await until("the impostor", () => heard.includes("ready"));
    heard.length = 0;
    for (const [way, run] of Object.entries(tries))
      report.impostors[`${name}: ${way}`] = { ...(await run()), heard: heard.splice(0) };
    await stop(child);
  };

  await attack(
    "foreign",
    { kind: "foreign" },
    {
      "a rogue DHCP server": async () => {
        const server = serveLeases(rogue, "10.80.1.66");
        const file = await lease("lease-rogue");
        const tried = await attempt(guest, "rogue-dhcp", [{ method: "dhcp", files: [file] }, real]);
        await stop(server);
        return tried;
      },
      "a rogue DNS answer": () =>
        attempt(laptop, "rogue-dns", [{ method: "dns", domain: "spoofed.example", servers: ["10.80.1.53"] }]),
      "a spoofed offer in a datagram": () =>
        attempt(laptop, "rogue-datagram", [
          { method: "anycast", address: ["10.80.1.66", "10.80.0.12"], datagram: true },
        ]),
      "nothing else is known": () =>
        attempt(laptop, "rogue-only", [{ method: "dns", domain: "lies.example", servers: ["10.80.1.53"] }], {
          timeoutMs: 4_000,
        }),
    },
  );
  const stolen = join(folder, "agents", "svcb", "identity");
  await attack(
    "agent",
    { kind: "agent", identity: { directory: stolen, masterKeyFile: join(folder, "agents", "svcb.key") } },
    {
      "an agent's certificate": () =>
        attempt(laptop, "rogue-agent", [{ method: "static", gateways: ["10.80.1.66"] }, real]),
    },
  );
  const bent = join(folder, "far", "gateways", "far", "identity");
  await attack(
    "spoof",
    { kind: "spoof", identity: { directory: bent, masterKeyFile: home.masterKeyFile } },
    {
      "a spoofed offer": () => attempt(laptop, "rogue-offer", [{ method: "static", gateways: ["10.80.1.66"] }, real]),
    },
  );
}

async function stop(child: ChildProcess): Promise<void> {
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill();
  await gone;
}

/** RDATA of a SVCB record with a target and a port, as dnsmasq takes it. */
function svcbHex(priority: number, target: string, port: number): string {
  const labels = target.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const number = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
  return Buffer.concat([number(priority), ...labels, Buffer.from([0]), number(3), number(2), number(port)]).toString(
    "hex",
  );
}
