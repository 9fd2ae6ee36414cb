/**
 * Many idle agents at one real gateway: what an attachment costs, what an attached agent costs, that none is lost, and
 * that those who fall silent are listed no longer than the times of leases say.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaults } from "@causeway/core-base";
import { BenchDomain } from "./certificates.ts";
import { cpuSeconds, messageOf, Processes } from "./processes.ts";
import type { SoakCommand, SoakCount } from "./soak-agents.ts";
import type { LeaseTimes } from "./system.ts";
import { startCauseway } from "./systems/causeway.ts";

export interface SoakOptions {
  readonly agents: number;
  /** How long they stay after the last one is attached. */
  readonly idleMs: number;
  /** Processes that hold them. */
  readonly clients: number;
  /** Of the agents, those whose process is stopped after the idle time: they say nothing more, and their links stay. */
  readonly silenced: number;
  /** Times of leases. Default: those of the product. */
  readonly times?: LeaseTimes;
  readonly onProgress?: (line: string) => void;
}

/** Figures of one run; undefined where the system does not give them. */
export interface SoakReport {
  readonly agents: number;
  readonly attached: number;
  readonly lost: number;
  /** Agents whose process was stopped; the others are still attached after that. */
  readonly silenced: number;
  /** Agents that the gateway lists at the end. */
  readonly listed: number;
  /** How long the last of the silenced agents was still listed; undefined when it was listed for too long, or nobody was silenced. */
  readonly silencedListedMs: number | undefined;
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
  const { agents, idleMs, clients, silenced, times = {}, onProgress = () => undefined } = options;
  const domain = new BenchDomain();
  const processes = new Processes();
  const folder = mkdtempSync(join(tmpdir(), "causeway-soak-"));
  try {
    const gateway = await startCauseway(domain, processes, folder, { workers: 0, core: 0, times });
    const { url, trustState } = gateway.clients.sender.settings as {
      readonly url: string;
      readonly trustState: string;
    };
    const open = async (): Promise<ChildProcess> => {
      const child = processes.node(new URL("./soak-agents.ts", import.meta.url), 1, ["--max-old-space-size=4096"]);
      await tell(child, { do: "start", url, trustState });
      return child;
    };
    const children = await Promise.all(Array.from({ length: clients }, open));
    const silent = silenced > 0 ? await open() : undefined;
    const before = facts(gateway.pid);
    for (let at = 0; at < agents; ) {
      const isSilent = at < silenced && silent !== undefined;
      const batch = Math.min(batchSize, (isSilent ? silenced : agents) - at);
      await attach(domain, isSilent ? [silent] : children, at, batch);
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
    const early = silent && ((await tell(silent, { do: "count" })) as SoakCount);
    let silencedListedMs: number | undefined;
    if (silent !== undefined) {
      onProgress(`${silenced} agents fall silent`);
      silent.kill("SIGSTOP");
      silencedListedMs = await listedFor(gateway, agents - silenced, times);
    }
    const counts = [
      ...(await Promise.all(children.map((child) => tell(child, { do: "count" }) as Promise<SoakCount>))),
      ...(early ? [early] : []),
    ];
    const sum = (value: (count: SoakCount) => number): number => counts.reduce((all, each) => all + value(each), 0);
    return {
      agents,
      attached: sum(({ attached }) => attached),
      lost: sum(({ lost }) => lost),
      silenced,
      listed: await gateway.attachments(),
      silencedListedMs,
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

/** Has the processes attach so many agents, numbered from `first`. */
async function attach(
  domain: BenchDomain,
  children: readonly ChildProcess[],
  first: number,
  count: number,
): Promise<void> {
  let next = first;
  await Promise.all(
    children.map((child, i) => {
      const share = Math.floor((count + i) / children.length);
      const identities = Array.from({ length: share }, () => domain.identity(`soak/a${next++}`));
      return tell(child, { do: "attach", identities });
    }),
  );
}

/** Waits until the gateway lists `live` agents or fewer; how long that took, undefined when it was too long. */
async function listedFor(
  gateway: { attachments(): Promise<number> },
  live: number,
  { staleAfterMs = defaults.staleAfterMs, removeAfterStaleMs = defaults.removeAfterStaleMs }: LeaseTimes,
): Promise<number | undefined> {
  const started = performance.now();
  for (;;) {
    const isOver = (await gateway.attachments()) <= live;
    const ms = performance.now() - started;
    if (isOver) return ms;
    if (ms > staleAfterMs + removeAfterStaleMs + graceMs) return undefined;
    await pass(pollMs);
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
const pollMs = 500;
/** A busy machine acts a little later than it is due. */
const graceMs = 15_000;
const answerMs = 300_000;
/** Memory of the handshakes goes back meanwhile. */
const settleMs = 10_000;
