import type { ChildProcess } from "node:child_process";
import type { BenchOptions } from "./options.ts";
import { cpuSeconds, messageOf, type Processes } from "./processes.ts";
import { answers, type Command } from "./protocol.ts";
import type { RelaySystem } from "./system.ts";

/** One measurement of one system with one payload size. */
export interface Sample {
  readonly system: string;
  readonly round: number;
  readonly size: number;
  readonly messagesPerSecond: number;
  /** CPU-seconds of the gateway process for a million relayed messages; undefined without /proc. */
  readonly gatewayCpuPerMillion: number | undefined;
  /** Sent and never received, as a share of what was sent. */
  readonly lost: number;
  readonly roundTripP50Micros: number;
  readonly roundTripP99Micros: number;
  readonly roundTrips: number;
}

/** What one run of a system gave. */
export interface SystemRun {
  readonly samples: readonly Sample[];
  readonly facts: Readonly<Record<string, string>>;
}

/** Starts a system, measures all sizes, and ends it. */
export async function measureSystem(
  system: RelaySystem,
  round: number,
  options: BenchOptions,
  processes: Processes,
  workDir: string,
): Promise<SystemRun> {
  const gateway = await system.start(processes, workDir);
  const clients: ChildProcess[] = [];
  try {
    const open = async (
      role: "sender" | "receiver",
    ): Promise<{ child: ChildProcess; facts: Readonly<Record<string, string>> }> => {
      const child = processes.node(new URL("./client.ts", import.meta.url), 1);
      clients.push(child);
      const opened = messageOf(child, answers("open"), `${system.name} ${role}`);
      tell(child, { do: "open", config: gateway.clients[role], role });
      return { child, facts: (await opened).facts };
    };
    const receiver = await open("receiver");
    const sender = await open("sender");
    const samples: Sample[] = [];
    for (const size of options.sizes) {
      const flood = await measureFlood(sender.child, receiver.child, gateway.pid, size, options);
      const trips = await measureRoundTrips(sender.child, receiver.child, size, options);
      samples.push({ system: system.name, round, size, ...flood, ...trips });
    }
    return { samples, facts: { ...receiver.facts, ...sender.facts } };
  } finally {
    await Promise.all(clients.map((child) => processes.end(child)));
    await gateway.stop();
  }
}

async function measureFlood(
  sender: ChildProcess,
  receiver: ChildProcess,
  pid: number,
  size: number,
  options: BenchOptions,
) {
  const aheadMax = Math.max(aheadMessagesMin, Math.floor(aheadBytes / size));
  await prepare(receiver, { do: "prepare", size, isEchoing: false, reportEvery: Math.ceil(aheadMax / 16) });
  await prepare(sender, { do: "prepare", size, isEchoing: false });
  const forward = (message: unknown) => {
    if (answers("progress")(message)) tell(sender, { do: "acknowledge", received: message.received });
  };
  receiver.on("message", forward);
  try {
    tell(sender, { do: "flood", aheadMax });
    await sleep(options.warmUpMs);
    const before = await snapshot(receiver, pid);
    await sleep(options.floodMs);
    const after = await snapshot(receiver, pid);
    const stopped = messageOf(sender, answers("stop"), "the sender");
    tell(sender, { do: "stop" });
    const { sent } = await stopped;
    const arrived = await drained(receiver, sent);
    const count = after.received - before.received;
    if (count === 0) throw new Error(`no message of ${size} bytes arrived in ${options.floodMs} ms`);
    const cpu = before.cpu === undefined || after.cpu === undefined ? undefined : after.cpu - before.cpu;
    return {
      messagesPerSecond: (count * 1_000) / (after.at - before.at),
      gatewayCpuPerMillion: cpu === undefined ? undefined : (cpu * 1_000_000) / count,
      lost: Math.max(0, 1 - arrived / sent),
    };
  } finally {
    receiver.off("message", forward);
  }
}

async function measureRoundTrips(sender: ChildProcess, receiver: ChildProcess, size: number, options: BenchOptions) {
  await prepare(receiver, { do: "prepare", size, isEchoing: true });
  await prepare(sender, { do: "prepare", size, isEchoing: false });
  const measured = messageOf(sender, answers("roundTrips"), "round trips", options.roundTripMs + 30_000);
  tell(sender, { do: "roundTrips", forMs: options.roundTripMs });
  const { micros } = await measured;
  const sorted = micros.toSorted((a, b) => a - b);
  return {
    roundTripP50Micros: quantile(sorted, 0.5),
    roundTripP99Micros: quantile(sorted, 0.99),
    roundTrips: sorted.length,
  };
}

async function prepare(child: ChildProcess, command: Command): Promise<void> {
  const done = messageOf(child, answers("prepare"), "a client");
  tell(child, command);
  await done;
}

async function snapshot(receiver: ChildProcess, pid: number) {
  const counted = messageOf(receiver, answers("count"), "the receiver");
  tell(receiver, { do: "count" });
  const { received, at } = await counted;
  return { received, at, cpu: cpuSeconds(pid) };
}

/** Waits until everything arrived, or nothing more does for a while: what comes late would spoil the round trips. */
async function drained(receiver: ChildProcess, sent: number): Promise<number> {
  let last = -1;
  for (let quiet = 0; quiet < quietTimesMin; ) {
    const counted = messageOf(receiver, answers("count"), "the receiver");
    tell(receiver, { do: "count" });
    const { received } = await counted;
    if (received >= sent) return received;
    quiet = received === last ? quiet + 1 : 0;
    last = received;
    await sleep(settleMs);
  }
  return last;
}

/** The value below which the share `q` of sorted values lies; NaN without values. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

const tell = (child: ChildProcess, command: Command): void => void child.send(command);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How far a sender runs ahead of the receiver: enough to keep the gateway busy, little enough for every system's queues. */
const aheadBytes = 8_388_608;
const aheadMessagesMin = 256;
const settleMs = 300;
const quietTimesMin = 3;
