/**
 * Two domains and a border that lets nothing pass but what their Level-2 gateways say to each other. Agents are behind
 * routers that translate addresses and let nobody in. Runs inside a box of its own (`namespaces.ts`) and writes what it
 * saw as one JSON line. The box is in the networks of both domains, as their operators' hands are, and passes nothing on.
 *
 *     desk 192.168.81.2 ── house (NAT) .30 ┐                                         ┌ house (NAT) ── desk 192.168.82.2
 *     core (authority, registry, gw1)  .10 ├─ blue 10.81.0.0/24 ─ border ─ green 10.82.0.0/24 ─┤ core
 *     door (gw2)                       .20 ┘                                         └ door
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { assigned } from "@causeway/core-base";
import { type DomainConfig, readDomainConfig } from "../../../../apps/cli/src/config/domain.ts";
import { hopsOf } from "../../../../apps/cli/src/demo/steps.ts";
import { Home } from "../../../../apps/cli/src/home.ts";
import { Operator } from "../../../../apps/cli/src/processes/operator.ts";
import { gatewayToken, registryToken } from "../../../../apps/cli/src/processes/service-tokens.ts";
import { until } from "../world.ts";
import type { BorderReport, Story } from "./border-report.ts";
import { answers, listening, Machine, makeNetwork, prepareBox, run } from "./namespaces.ts";

const folder = process.argv[2] ?? "";
const home = new Home(join(folder, "home"));
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const program = here("../../../../apps/cli/src/main.ts");
const node = [process.execPath, "--disable-warning=ExperimentalWarning"] as const;
const { gatewayPort } = assigned;

prepareBox();
run("sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.bridge.bridge-nf-call-iptables=0");
const subnets = { "blue.example": 81, "green.example": 82 } as const;
type DomainName = keyof typeof subnets;
const short = (domain: DomainName): string => domain.slice(0, domain.indexOf("."));
const at = (domain: DomainName, host: number): string => `10.${subnets[domain]}.0.${host}`;
for (const domain of ["blue.example", "green.example"] as const) makeNetwork(short(domain), `${at(domain, 5)}/24`);
const doors = `{ ${at("blue.example", 20)}, ${at("green.example", 20)} }`;
const border = new Machine("border", "blue", `${at("blue.example", 1)}/24`);
border.plug("eth1", "green", `${at("green.example", 1)}/24`);
border.route(`table ip border {
  set crossed { type ipv4_addr . ipv4_addr . inet_service; flags dynamic; }
  set refused { type ipv4_addr . ipv4_addr . inet_service; flags dynamic; }
  chain between {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ip saddr ${doors} ip daddr ${doors} tcp dport ${gatewayPort} add @crossed { ip saddr . ip daddr . tcp dport } accept
    meta l4proto tcp add @refused { ip saddr . ip daddr . tcp dport }
    meta l4proto udp add @refused { ip saddr . ip daddr . udp dport }
    reject with icmp type admin-prohibited
  }
}
`);
const [blue, green] = [enterprise("blue.example"), enterprise("green.example")];
writeConfig(green, []);
writeConfig(blue, [`https://${at("green.example", 20)}:${gatewayPort}`]);
const [blueSide, greenSide] = await Promise.all([startDomain(blue), startDomain(green)]);
const bundles = await Promise.all([blueSide.operator.bundle(), greenSide.operator.bundle()]);
await blueSide.operator.authority.addTrust({ bundle: bundles[1] });
await greenSide.operator.authority.addTrust({ bundle: bundles[0] });

const clerk = await startClerk();
await startGuideAndHotel();
const story = await tellStory();
const report: BorderReport = {
  story,
  way: (await hopsOf(story.messageId, [blueSide.operator, greenSide.operator])).map(({ gateway }) => gateway),
  crossed: border.collected("ip", "border", "crossed"),
  refused: border.collected("ip", "border", "refused"),
  knocked: [blue, green].flatMap(({ desk, house }) => [
    ...desk.collected("ip", "desk", "knocked"),
    ...house.collected("ip", "house", "knocked"),
  ]),
  listening: listening(green.desk),
  seenFrom: Object.fromEntries([blue, green].map(({ domain, core }) => [domain, clientsOf(core)])),
};
process.stdout.write(`${JSON.stringify(report)}\n`);
process.exit(0);

interface Enterprise {
  readonly domain: DomainName;
  readonly core: Machine;
  readonly door: Machine;
  readonly house: Machine;
  readonly desk: Machine;
}

/** The machines of a domain. The desk of the agents is behind a router that lets only out. */
function enterprise(domain: DomainName): Enterprise {
  const name = short(domain);
  const machine = (role: string, host: number): Machine =>
    new Machine(`${name}-${role}`, name, `${at(domain, host)}/24`, at(domain, 1));
  const house = machine("house", 30);
  const inside = `192.168.${subnets[domain]}`;
  makeNetwork(`${name}-home`);
  house.plug("eth1", `${name}-home`, `${inside}.1/24`);
  house.route(`table ip house {
  set knocked { type ipv4_addr . ipv4_addr . inet_service; flags dynamic; }
  chain between {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "eth1" accept
    meta l4proto tcp add @knocked { ip saddr . ip daddr . tcp dport }
    meta l4proto udp add @knocked { ip saddr . ip daddr . udp dport }
  }
  chain incoming {
    type filter hook input priority 0;
    ct state new meta l4proto tcp add @knocked { ip saddr . ip daddr . tcp dport }
    ct state new meta l4proto udp add @knocked { ip saddr . ip daddr . udp dport }
  }
  chain translate {
    type nat hook postrouting priority 100;
    oifname "eth0" masquerade
  }
}
`);
  const desk = new Machine(`${name}-desk`, `${name}-home`, `${inside}.2/24`, `${inside}.1`);
  desk.filter(`table ip desk {
  set knocked { type ipv4_addr . ipv4_addr . inet_service; flags dynamic; }
  chain incoming {
    type filter hook input priority 0;
    iifname "lo" accept
    ct state new meta l4proto tcp add @knocked { ip saddr . ip daddr . tcp dport }
    ct state new meta l4proto udp add @knocked { ip saddr . ip daddr . udp dport }
  }
}
`);
  return { domain, core: machine("core", 10), door: machine("door", 20), house, desk };
}

function writeConfig({ domain }: Enterprise, peers: readonly string[]): void {
  const file = home.configFile(domain);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const core = at(domain, 10);
  const gateways = [
    { name: "gw1", level: 1, listen: `${core}:${gatewayPort}`, uplinks: ["gw2"] },
    { name: "gw2", level: 2, listen: `${at(domain, 20)}:${gatewayPort}`, peers },
  ];
  const config = {
    domain,
    logLevel: "error",
    masterKeyFile: home.masterKeyFile,
    authority: { listen: `${core}:7400` },
    registry: { listen: `${core}:7401`, gateway: "gw2", semantic: false },
    gateways: gateways.map((gateway) => ({ ...gateway, workers: 0 })),
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
}

interface Side {
  readonly config: DomainConfig;
  readonly operator: Operator;
}

async function startDomain({ domain, core, door }: Enterprise): Promise<Side> {
  const configFile = home.configFile(domain);
  const config = readDomainConfig(configFile);
  const start = async (machine: Machine, port: number, ...words: readonly string[]): Promise<void> => {
    const child = launch(machine, [program, ...words, "--config", configFile, "--home", home.directory]);
    child.stdout?.resume();
    const address = machine === door ? at(domain, 20) : at(domain, 10);
    await until(words.join(" "), () => answers(address, port));
  };
  await start(core, 7400, "authority");
  const operator = await Operator.open(config);
  const token = async (request: Parameters<typeof operator.authority.createToken>[0]): Promise<readonly string[]> => [
    "--token",
    (await operator.authority.createToken(request)).token,
  ];
  await Promise.all(
    config.gateways.map(async (gateway) =>
      start(
        gateway.level === 2 ? door : core,
        gatewayPort,
        "gateway",
        gateway.name,
        ...(await token(gatewayToken(config, gateway))),
      ),
    ),
  );
  await start(core, 7401, "registry", ...(await token(registryToken(config))));
  return { config, operator };
}

function launch(machine: Machine, words: readonly string[], stdin: "pipe" | "ignore" = "ignore"): ChildProcess {
  const [first, ...rest] = [...node, ...words];
  const child = machine.spawn(first as string, rest, { stdio: [stdin, "pipe", "inherit"] });
  child.on("exit", (code) => {
    if (code !== null && code !== 0) process.stderr.write(`${words.slice(0, 3).join(" ")} ended with ${code}\n`);
  });
  return child;
}

/** Everything that an agent behind a router is told: who it is, and where its own domain is. */
async function agentWords({ config, operator }: Side, name: string) {
  return {
    name,
    dataDir: home.agentDirectory(name),
    masterKeyFile: home.masterKeyFile,
    gateway: config.gateways[0]?.url ?? "",
    registry: config.registry?.url ?? "",
    token: await operator.agentToken(name),
  };
}

/** An agent of green.example that answers to every kind of message. */
async function startClerk() {
  const words = await agentWords(greenSide, "green.example/desk/clerk");
  const child = launch(green.desk, [here("border-clerk.ts"), JSON.stringify(words)], "pipe");
  const lines = linesOf(child);
  await lines.next();
  return { comeBack: () => child.stdin?.end("come back\n") };
}

async function startGuideAndHotel(): Promise<void> {
  const guide = await agentWords(greenSide, "green.example/travel/guide");
  const { name, token, gateway, registry, dataDir } = guide;
  const example = (folder: string): string => here(`../../../../examples/${folder}/src/main.ts`);
  launch(green.desk, [example("travel-guide"), name, token, gateway, registry, dataDir]).stdout?.resume();
  const hotel = launch(green.desk, [example("a2a-hotel-agent")]);
  const { value: url } = await linesOf(hotel).next();
  const hotels = "green.example/travel/hotels";
  const place = ["--home", home.directory, "--domain", "green.example"];
  const join = ["--token", await greenSide.operator.agentToken(hotels)];
  launch(green.desk, [program, "attach", String(url), "--name", hotels, ...join, ...place]).stdout?.resume();
}

async function tellStory(): Promise<Story> {
  const agents = await Promise.all(
    ["blue.example/assistant/planner", "blue.example/news/reader"].map((name) => agentWords(blueSide, name)),
  );
  const past = {
    "the other domain's authority": `${at("green.example", 10)}:7400`,
    "its registry": `${at("green.example", 10)}:7401`,
    "its Level-1 gateway": `${at("green.example", 10)}:${gatewayPort}`,
    "its border gateway": `${at("green.example", 20)}:${gatewayPort}`,
    "the router of its agents": `${at("green.example", 30)}:${gatewayPort}`,
  };
  const child = launch(blue.desk, [here("border-story.ts"), JSON.stringify({ agents, past })]);
  for await (const line of linesOf(child)) {
    const said = JSON.parse(line) as { readonly stored?: true; readonly story?: Omit<Story, "listening"> };
    if (said.stored) clerk.comeBack();
    // Its agents are attached until it is ended.
    if (said.story) return { ...said.story, listening: listening(blue.desk) };
  }
  throw new Error("the story broke off");
}

function linesOf(child: ChildProcess): AsyncIterator<string> & AsyncIterable<string> {
  if (child.stdout === null) throw new Error("the program has no output");
  return createInterface({ input: child.stdout })[Symbol.asyncIterator]() as AsyncIterator<string> &
    AsyncIterable<string>;
}

/** From where the connections to the Level-1 gateway come. */
function clientsOf(core: Machine): readonly string[] {
  const rows = core.run("ss", "-Htn", "state", "established", "sport", "=", `:${gatewayPort}`).trim().split("\n");
  const remote = rows.map((row) => row.trim().split(/\s+/).at(-1) ?? "");
  return [...new Set(remote.map((address) => address.replace(/:\d+$/, "").replace(/^\[::ffff:(.*)\]$/, "$1")))].sort();
}
