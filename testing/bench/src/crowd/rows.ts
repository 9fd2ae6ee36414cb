/** Measurements with many connections: pairs with nothing to batch, fan-out, a subscriber that stops, idle agents. */
import { readFileSync } from "node:fs";
import { measureClasses } from "../classes/rows.ts";
import type { BenchOptions } from "../options.ts";
import { cpuSeconds } from "../processes.ts";
import { Audience } from "./audience.ts";
import { type CrowdContext, counted, type Figures, full, sleep, warmUpMsMin, who, withGateway } from "./context.ts";
import { Crowd } from "./crowd.ts";
import type { EndSpec } from "./end.ts";
import { measureStored } from "./stored.ts";

/** One row and the systems that it is measured for. */
export interface CrowdRow {
  readonly name: string;
  readonly systems: readonly string[];
  readonly measure: (context: CrowdContext) => Promise<Figures>;
}

/** The rows that were asked for. What takes long and varies little is measured in the first round only. */
export function crowdRows(options: BenchOptions, round: number): readonly CrowdRow[] {
  const both = ["causeway", "nats"];
  const all: readonly (CrowdRow & { readonly row: string })[] = [
    { row: "pairs", name: "64 pairs", systems: both, measure: measurePairs },
    ...[10, 100, 1_000].map((count) => ({
      row: "fan-out",
      name: `fan-out to ${count}`,
      systems: both,
      measure: (context: CrowdContext) => measureFanOut(context, count, count === 10),
    })),
    { row: "stopped", name: "a stopped subscriber", systems: ["causeway"], measure: measureStopped },
    { row: "stored", name: "stored durably", systems: both, measure: measureStored },
    { row: "classes", name: "interactive beside bulk", systems: ["causeway"], measure: measureClasses },
  ];
  const once: readonly (CrowdRow & { readonly row: string })[] = [
    {
      row: "fan-out",
      name: `fan-out to ${options.widest}`,
      systems: options.widest > 1_000 ? ["causeway"] : [],
      measure: (context) => measureFanOut(context, options.widest, true),
    },
    {
      row: "idle",
      name: `${options.idleAgents} idle agents`,
      systems: both,
      measure: (context) => measureIdle(context, options.idleAgents),
    },
  ];
  return [...all, ...(round === 1 ? once : [])].filter(({ row }) => options.rows.includes(row));
}

/** 64 pairs with one message outstanding each: CPU of the gateway for each message that it relays. */
export function measurePairs(context: CrowdContext): Promise<Figures> {
  return withGateway(context, async (gateway) => {
    const name = (side: string, i: number): string => `bench/${side}${i}`;
    const ends = (side: string, other: string): EndSpec[] =>
      Array.from({ length: pairs }, (_, i) => ({
        ...who(context, name(side, i)),
        target: { agent: full(context, name(other, i)) },
      }));
    const replying = await Crowd.open(context.processes, gateway, ends("b", "a"));
    const asking = await Crowd.open(context.processes, gateway, ends("a", "b"));
    try {
      await replying.ask({ do: "prepare", size: 1_024, isEchoing: true }, "prepare");
      await asking.ask({ do: "prepare", size: 1_024, isEchoing: false }, "prepare");
      asking.tell({ do: "ping", outstanding: 1 });
      await sleep(Math.max(warmUpMsMin, context.options.warmUpMs));
      const before = await counted(asking, gateway);
      await sleep(context.options.floodMs);
      const after = await counted(asking, gateway);
      await asking.ask({ do: "stop" }, "stop");
      // Each round trip is two messages through the gateway.
      const messages = 2 * (after.total - before.total);
      return {
        [`pairs cpu µs`]: ((after.cpu - before.cpu) * 1e6) / messages,
        [`pairs messages/s`]: (messages * 1_000) / (after.at - before.at),
      };
    } finally {
      await Promise.all([replying.end(), asking.end()]);
    }
  });
}

/**
 * Fan-out of one publisher to `subscribers`: CPU of the gateway for each delivery, with the publisher as far ahead as the
 * system takes it. When asked also with one publication under way at a time: whatever the number of subscribers, each
 * delivery is then a write of its own, so that what a delivery costs can be compared.
 */
export function measureFanOut(context: CrowdContext, subscribers: number, isAloneToo: boolean): Promise<Figures> {
  return withGateway(context, async (gateway) => {
    await using audience = await Audience.open(context, gateway, { subscribers, stopped: 0, size: 100 });
    const { rate, cpu } = await audience.publish();
    const figures = { [`fan-out ${subscribers} cpu µs`]: cpu * 1e6, [`fan-out ${subscribers} deliveries/s`]: rate };
    if (!isAloneToo) return figures;
    const alone = await audience.publish(1);
    return { ...figures, [`fan-out ${subscribers} one by one cpu µs`]: alone.cpu * 1e6 };
  });
}

/** Ten subscribers, all reading and then with one stopped: what the others get. */
export function measureStopped(context: CrowdContext): Promise<Figures> {
  return withGateway(context, async (gateway) => {
    const rateWith = async (stopped: number): Promise<number> => {
      await using audience = await Audience.open(context, gateway, { subscribers: 10, stopped, size: 1_024 });
      return (await audience.publish()).rateOfEach;
    };
    const all = await rateWith(0);
    const others = await rateWith(1);
    return { "stopped ratio": others / all };
  });
}

/** Agents that are attached and silent: memory of each, and CPU of the gateway for each attachment. */
export function measureIdle(context: CrowdContext, count: number): Promise<Figures> {
  return withGateway(context, async (gateway) => {
    const specs = Array.from({ length: count }, (_, i): EndSpec => {
      const name = `bench/idle${i}`;
      return { ...who(context, name), name, instance: "main" };
    });
    const warm = await Crowd.open(
      context.processes,
      gateway,
      specs.slice(0, 100).map((spec) => ({ ...spec, instance: "warm" })),
    );
    const rssBefore = residentKb(gateway.pid);
    const cpuBefore = cpuSeconds(gateway.pid) ?? Number.NaN;
    const crowd = await Crowd.open(context.processes, gateway, specs);
    const cpu = (cpuSeconds(gateway.pid) ?? Number.NaN) - cpuBefore;
    // Idle for a while: collectors of garbage on both sides come to rest.
    await sleep(idleSettleMs);
    const rss = residentKb(gateway.pid) - rssBefore;
    await Promise.all([crowd.end(), warm.end()]);
    return { "idle rss KB": rss / count, "attach cpu ms": (cpu * 1_000) / count };
  });
}

/** Resident memory of a process. Linux only; NaN elsewhere. */
function residentKb(pid: number): number {
  try {
    const line = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return Number(line?.[1]);
  } catch {
    return Number.NaN;
  }
}

const pairs = 64;
const idleSettleMs = 12_000;
