/** A network in a box: Linux network namespaces with cables between them, inside a namespace that ends with its process. */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
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
export function spawnBoxed(program: string, env: NodeJS.ProcessEnv, ...args: readonly string[]): ChildProcess {
  const file = fileURLToPath(new URL(program, import.meta.url));
  const words = [...boxed, ...asRoot(), process.execPath, "--disable-warning=ExperimentalWarning", file, ...args];
  return spawn("unshare", words, { env, stdio: ["ignore", "pipe", "pipe"] });
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

/** A bridge of the box: a network that machines are plugged into. */
export function makeNetwork(name: string, address: string): void {
  ip("link", "add", name, "type", "bridge", "stp_state", "0");
  ip("addr", "add", address, "dev", name);
  ip("link", "set", name, "up");
}

/** A machine: a namespace with one cable (eth0). */
export class Machine {
  readonly name: string;

  /** Without an address the machine has to get one by itself. */
  constructor(name: string, network: string, address?: string, router?: string) {
    this.name = name;
    ip("netns", "add", name);
    ip("link", "add", `v-${name}`, "type", "veth", "peer", "name", "eth0", "netns", name);
    ip("link", "set", `v-${name}`, "master", network, "up");
    this.run("ip", "link", "set", "lo", "up");
    this.run("ip", "link", "set", "eth0", "up");
    if (address !== undefined) this.run("ip", "addr", "add", address, "dev", "eth0");
    if (router !== undefined) this.run("ip", "route", "add", "default", "via", router);
  }

  run(command: string, ...args: readonly string[]): string {
    return ip("netns", "exec", this.name, command, ...args);
  }

  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn("ip", ["netns", "exec", this.name, command, ...args], options);
  }
}
