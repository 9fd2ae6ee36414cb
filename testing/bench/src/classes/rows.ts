/** Interactive messages beside bulk: their round trips while a receiver is full of bulk, and while the gateway is. */
import type { ChildProcess } from "node:child_process";
import { type CrowdContext, type Figures, full, sleep, warmUpMsMin, who, withGateway } from "../crowd/context.ts";
import { cpuSeconds, messageOf, type Processes } from "../processes.ts";
import type { RunningGateway } from "../system.ts";
import type { ClassesAnswer, ClassesCommand } from "./protocol.ts";

/** Round trips of one sender and one receiver, idle and busy in turn. */
export function measureClasses(context: CrowdContext): Promise<Figures> {
  return withGateway(context, async (gateway) => {
    const { processes } = context;
    const open = (name: string, target: string): Promise<End> => End.open(context, gateway, name, target);
    const asking = await open("asking", "answering");
    const answering = await open("answering", "asking");
    const flooder = await open("flooder", "answering");
    const others: { readonly from: End; readonly to: End }[] = [];
    for (let i = 0; i < pairs; i++)
      others.push({ from: await open(`from${i}`, `to${i}`), to: await open(`to${i}`, `from${i}`) });
    try {
      await answering.ask({ do: "take", bulkBytesPerSecond: receiverBytesPerSecond }, "take");
      for (const { to } of others) await to.ask({ do: "take", bulkBytesPerSecond: 0 }, "take");
      const ping = async (forMs: number): Promise<readonly number[]> =>
        (await asking.ask({ do: "ping", size: 1_024, forMs }, "ping", forMs + 30_000)).micros;
      await ping(Math.max(warmUpMsMin, context.options.warmUpMs));
      const idle: number[] = [];
      const phase = async (floods: readonly End[], takers: readonly End[], size: number) => {
        idle.push(...(await ping(context.options.roundTripMs)));
        for (const each of floods) await each.ask({ do: "flood", size }, "flood");
        await sleep(settleMs);
        const before = await counted(takers, gateway);
        const busy = await ping(2 * context.options.roundTripMs);
        const after = await counted(takers, gateway);
        for (const each of floods) await each.ask({ do: "stop" }, "stop");
        await sleep(settleMs);
        idle.push(...(await ping(context.options.roundTripMs)));
        const seconds = (after.at - before.at) / 1_000;
        return {
          busy,
          mbPerSecond: (after.bytes - before.bytes) / 1e6 / seconds,
          cpu: (after.cpu - before.cpu) / seconds,
        };
      };
      const atReceiver = await phase([flooder], [answering], 4_096);
      const atGateway = await phase(
        others.map(({ from }) => from),
        others.map(({ to }) => to),
        256,
      );
      return {
        "classes idle p50": percentile(idle, 0.5),
        "classes idle p99": percentile(idle, 0.99),
        "classes receiver p50": percentile(atReceiver.busy, 0.5),
        "classes receiver p99": percentile(atReceiver.busy, 0.99),
        "classes receiver bulk MB/s": atReceiver.mbPerSecond,
        "classes gateway p50": percentile(atGateway.busy, 0.5),
        "classes gateway p99": percentile(atGateway.busy, 0.99),
        "classes gateway bulk MB/s": atGateway.mbPerSecond,
        "classes gateway cpu": atGateway.cpu,
      };
    } finally {
      const all = [asking, answering, flooder, ...others.flatMap(({ from, to }) => [from, to])];
      await Promise.all(all.map((each) => each.end(processes)));
    }
  });
}

class End {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async open(context: CrowdContext, gateway: RunningGateway, name: string, target: string): Promise<End> {
    const end = new End(context.processes.node(new URL("./client.ts", import.meta.url), 1, endFlags));
    const { url, trustState } = gateway.clients.sender.settings as { url: string; trustState: string };
    const { identity } = who(context, `bench/${name}`);
    if (identity === undefined) throw new Error("classes are measured for our gateway only");
    await end.ask({ do: "open", url, trustState, identity, target: full(context, `bench/${target}`) }, "open");
    return end;
  }

  async ask<Did extends ClassesAnswer["did"]>(
    command: ClassesCommand,
    did: Did,
    withinMs = 30_000,
  ): Promise<Extract<ClassesAnswer, { did: Did }>> {
    const matches = (message: unknown): message is Extract<ClassesAnswer, { did: Did }> =>
      typeof message === "object" && message !== null && "did" in message && message.did === did;
    const answered = messageOf(this.#child, matches, `an end (${did})`, withinMs);
    this.#child.send(command);
    return await answered;
  }

  end(processes: Processes): Promise<void> {
    return processes.end(this.#child);
  }
}

async function counted(takers: readonly End[], gateway: RunningGateway) {
  let bytes = 0;
  let at = 0;
  for (const each of takers) {
    const count = await each.ask({ do: "count" }, "count");
    bytes += count.bulkBytes;
    at = performance.now();
  }
  return { bytes, at, cpu: cpuSeconds(gateway.pid) ?? Number.NaN };
}

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/**
 * As the gateway has it: with Node's default the memory of received bulk is freed by major collections of 5 to 15 ms in
 * the end that is measured, with this by scavenges of half a millisecond.
 */
const endFlags = ["--max-semi-space-size=2"];
/** What the receiver takes of bulk; a sender has far more. */
const receiverBytesPerSecond = 20_000_000;
/** Pairs of others that keep the gateway busy. */
const pairs = 2;
const settleMs = 500;
