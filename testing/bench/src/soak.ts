/** Many idle agents at one real gateway: what an attachment costs, what an attached agent costs, and that none is lost. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BenchDomain } from "./certificates.ts";
import { cpuSeconds, messageOf, Processes } from "./processes.ts";
import type { SoakCommand, SoakCount } from "./soak-agents.ts";
import { causewaySystem } from "./systems/causeway.ts";

export interface SoakOptions {
  readonly agents: number;
  /** How long they stay after the last one is attached. */
  readonly idleMs: number;
  /** Processes that hold them. */
  readonly clients: number;
  readonly onProgress?: (line: string) => void;
}

/** Figures of one run; undefined where the system does not give them. */
export interface SoakReport {
  readonly agents: number;
  readonly attached: number;
  readonly lost: number;
  /** Heartbeats that were answered. */
  readonly acknowledged: number;
  /** Longest time that an agent went without a sign of the gateway, at the end. */
  readonly quietMsMax: number;
  /** TCP connections at the gateway for each agent. */
  readonly connectionsPerAgent: number | undefined;
  readonly rssKbPerAgent: number | undefined;
  readonly attachCpuMs: number | undefined;
  /** CPU time for each agent and minute of idling. */
  readonly idleCpuMsPerMinute: number | undefined;
}

/** Attaches the agents, lets them idle and counts. Rejects when one cannot attach. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { agents, idleMs, clients, onProgress = () => undefined } = options;
  const domain = new BenchDomain();
  const processes = new Processes();
  const folder = mkdtempSync(join(tmpdir(), "causeway-soak-"));
  try {
    const gateway = await causewaySystem(domain).start(processes, folder);
    const { url, trustState } = gateway.clients.sender.settings as {
      readonly url: string;
      readonly trustState: string;
    };
    const children = await Promise.all(
      Array.from({ length: clients }, async () => {
        const child = processes.node(new URL("./soak-agents.ts", import.meta.url), 1, ["--max-old-space-size=4096"]);
        await tell(child, { do: "start", url, trustState });
        return child;
      }),
    );
    const before = facts(gateway.pid);
    for (let at = 0; at < agents; ) {
      const batch = Math.min(batchSize, agents - at);
      const shares = children.map((_, i) => Math.floor((batch + i) / children.length));
      await Promise.all(
        children.map((child, i) => {
          const first = at + shares.slice(0, i).reduce((sum, share) => sum + share, 0);
          const identities = Array.from({ length: shares[i] ?? 0 }, (_, n) => domain.identity(`soak/a${first + n}`));
          return tell(child, { do: "attach", identities });
        }),
      );
      at += batch;
      onProgress(`${at} of ${agents} agents are attached`);
    }
    const attachedAt = facts(gateway.pid);
    await pass(Math.min(settleMs, idleMs));
    const idleFrom = facts(gateway.pid);
    const idleStarted = performance.now();
    await pass(Math.max(0, idleMs - settleMs));
    const after = facts(gateway.pid);
    const idleMinutes = (performance.now() - idleStarted) / 60_000;
    const counts = await Promise.all(children.map((child) => tell(child, { do: "count" }) as Promise<SoakCount>));
    const sum = (value: (count: SoakCount) => number): number => counts.reduce((all, each) => all + value(each), 0);
    return {
      agents,
      attached: sum(({ attached }) => attached),
      lost: sum(({ lost }) => lost),
      acknowledged: sum(({ acknowledged }) => acknowledged),
      quietMsMax: Math.max(...counts.map(({ quietMsMax }) => quietMsMax)),
      connectionsPerAgent: per(agents, before.sockets, after.sockets),
      rssKbPerAgent: per(agents, before.rssKb, after.rssKb),
      attachCpuMs: per(agents, before.cpuMs, attachedAt.cpuMs),
      idleCpuMsPerMinute: per(agents * idleMinutes, idleFrom.cpuMs, after.cpuMs),
    };
  } finally {
    await processes.endAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends a command and waits for the answer to it. */
function tell(child: ChildProcess, command: SoakCommand): Promise<unknown> {
  const isAnswer = (message: unknown): message is object =>
    typeof message === "object" && message !== null && "did" in message && message.did === command.do;
  const answer = messageOf(child, isAnswer, `the soak's agents (${command.do})`, answerMs);
  child.send(command);
  return answer;
}

interface Facts {
  readonly cpuMs: number | undefined;
  readonly rssKb: number | undefined;
  readonly sockets: number | undefined;
}

/** What the system says of a process; Linux only. */
function facts(pid: number): Facts {
  const cpu = cpuSeconds(pid);
  const read = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch {
      // No /proc here.
      return undefined;
    }
  };
  return {
    cpuMs: cpu === undefined ? undefined : cpu * 1_000,
    rssKb: read(() => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])),
    sockets: read(() => readdirSync(`/proc/${pid}/fd`).length),
  };
}

const per = (count: number, from: number | undefined, to: number | undefined): number | undefined =>
  from === undefined || to === undefined || count === 0 ? undefined : (to - from) / count;

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const batchSize = 500;
const answerMs = 300_000;
/** Memory of the handshakes goes back meanwhile. */
const settleMs = 10_000;
