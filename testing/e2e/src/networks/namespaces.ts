/** A network in a box: Linux network namespaces with cables between them, inside a namespace that ends with its process. */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { fileURLToPath } from "node:url";

const boxed = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"] as const;

/** Why namespaces cannot be made here; undefined where they can. */
export function namespacesMissing(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are a thing of Linux";
  const probe = spawnSync("unshare", [...boxed, ...asRoot(), "ip", "link", "set", "lo", "up"], { encoding: "utf8" });
  if (probe.status === 0) return undefined;
  return `network namespaces cannot be made here (${(probe.error?.message ?? probe.stderr).trim().slice(0, 200)})`;
}

/** Runs a program of this folder in a box of its own; whatever it starts ends with it. */
function spawnBoxed(program: string, env: NodeJS.ProcessEnv, ...args: readonly string[]): ChildProcess {
  const file = fileURLToPath(new URL(program, import.meta.url));
  const words = [...boxed, ...asRoot(), process.execPath, "--disable-warning=ExperimentalWarning", file, ...args];
  return spawn("unshare", words, { env, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a program of this folder in a box of its own to its end, and answers the JSON that it wrote. Fails with what it said. */
export async function reportOfBox(
  program: string,
  env: NodeJS.ProcessEnv,
  ...args: readonly string[]
): Promise<unknown> {
  const box = spawnBoxed(program, env, ...args);
  let output = "";
  let errors = "";
  box.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  box.stderr?.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-8_000)));
  const code = await new Promise((resolve) => box.on("close", resolve));
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}: ${output}\n${errors}`);
  return JSON.parse(output) as unknown;
}

const asRoot = (): readonly string[] => (process.getuid?.() === 0 ? [] : ["--map-root-user"]);

/** Runs a command to its end; fails with what it said. */
export function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

const ip = (...args: readonly string[]): string => run("ip", ...args);

/** Makes the box ready for namespaces of its own. Call once, inside it. */
export function prepareBox(): void {
  mkdirSync("/run/netns", { recursive: true });
  // Only this process and its children see what is mounted here.
  run("mount", "--make-rprivate", "/");
  run("mount", "-t", "tmpfs", "tmpfs", "/run/netns");
  ip("link", "set", "lo", "up");
  run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1");
}

/** A bridge of the box: a network that machines are plugged into. Without an address the box itself is not in it. */
export function makeNetwork(name: string, address?: string): void {
  ip("link", "add", name, "type", "bridge", "stp_state", "0");
  if (address !== undefined) ip("addr", "add", address, "dev", name);
  ip("link", "set", name, "up");
}

/** A machine: a namespace with a cable (eth0), and others where it is a router. */
export class Machine {
  readonly name: string;

  /** Without an address the machine has to get one by itself. */
  constructor(name: string, network: string, address?: string, router?: string) {
    this.name = name;
    ip("netns", "add", name);
    this.run("ip", "link", "set", "lo", "up");
    this.plug("eth0", network, address);
    if (router !== undefined) this.run("ip", "route", "add", "default", "via", router);
  }

  /** One more cable. */
  plug(device: string, network: string, address?: string): void {
    const outside = `v${device.slice(-1)}-${this.name}`;
    ip("link", "add", outside, "type", "veth", "peer", "name", device, "netns", this.name);
    ip("link", "set", outside, "master", network, "up");
    this.run("ip", "link", "set", device, "up");
    if (address !== undefined) this.run("ip", "addr", "add", address, "dev", device);
  }

  /** Passes on what is for others, as far as `rules` (nftables) let it. */
  route(rules: string): void {
    this.filter(rules);
    this.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1");
  }

  /** Adds to the packet filter of this machine. */
  filter(rules: string): void {
    execFileSync("ip", ["netns", "exec", this.name, "nft", "-f", "-"], { input: rules });
  }

  /** What a set of the packet filter has collected: a line for each, its parts with spaces between. */
  collected(family: string, table: string, set: string): readonly string[] {
    const listed = JSON.parse(this.run("nft", "-j", "list", "set", family, table, set)) as {
      readonly nftables: readonly { readonly set?: { readonly elem?: readonly unknown[] } }[];
    };
    const elements = listed.nftables.flatMap((each) => each.set?.elem ?? []) as (
      | string
      | number
      | { readonly concat: readonly (string | number)[] }
    )[];
    return elements.map((each) => (typeof each === "object" ? each.concat.join(" ") : String(each))).sort();
  }

  run(command: string, ...args: readonly string[]): string {
    return ip("netns", "exec", this.name, command, ...args);
  }

  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn("ip", ["netns", "exec", this.name, command, ...args], options);
  }
}

/** Whether somebody listens there, seen from the box. */
export function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, host);
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.on("connect", () => finish(true));
    socket.on("error", () => finish(false));
  });
}

/** Ports on which a machine listens, where anybody but itself could reach them. */
export function listening(machine: Machine): readonly string[] {
  const rows = machine.run("ss", "-Hltun").trim().split("\n");
  const addresses = rows.map((row) => row.trim().split(/\s+/)[4] ?? "").filter((address) => address !== "");
  return addresses.filter((address) => !/^(127\.|\[::1\]|\[::ffff:127\.)/.test(address)).sort();
}
