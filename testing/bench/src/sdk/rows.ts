/** SDK to SDK through one gateway, ours with MLS and acknowledgements, beside SLIM's sessions. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { startNetwork } from "../../../../apps/cli/src/demo/network.ts";
import { Home } from "../../../../apps/cli/src/home.ts";
import { Supervisor } from "../../../../apps/cli/src/processes/supervisor.ts";
import type { Figures } from "../crowd/context.ts";
import type { BenchOptions } from "../options.ts";
import { messageOf, type Processes } from "../processes.ts";
import type { RelaySystem } from "../system.ts";
import type { SdkCommand } from "./client.ts";

/** Our SDK: services of a domain as processes, two agents attached to one gateway. */
export async function measureSdk(
  processes: Processes,
  workDir: string,
  options: BenchOptions,
  round: number,
): Promise<Figures> {
  const home = new Home(join(workDir, `home-${round}`));
  await using supervisor = new Supervisor();
  await using network = await startNetwork(home, supervisor);
  const domain = network.configs[0].domain;
  const open = async (name: string): Promise<ChildProcess> => {
    const child = processes.node(new URL("./client.ts", import.meta.url), 1);
    await ask(child, { do: "agent", home: home.directory, domain, name: `${domain}/bench/${name}` }, "open");
    return child;
  };
  const receiver = await open("receiver");
  const sender = await open("sender");
  try {
    const to = `${domain}/bench/receiver`;
    return {
      "sdk reliable/s": await settledRate(sender, to, "reliable", options),
      "sdk mls/s": await arrivedRate(sender, receiver, to, options),
    };
  } finally {
    await Promise.all([processes.end(sender), processes.end(receiver)]);
  }
}

/** SLIM's sessions: acknowledged without MLS, and with MLS. */
export async function measureSlimSessions(
  system: RelaySystem,
  processes: Processes,
  workDir: string,
  options: BenchOptions,
): Promise<Figures> {
  const figures: Record<string, number> = {};
  for (const kind of ["reliable", "mls"] as const) {
    const gateway = await system.start(processes, workDir);
    const clients: ChildProcess[] = [];
    try {
      for (const role of ["receiver", "sender"] as const) {
        const child = processes.node(new URL("./client.ts", import.meta.url), 1);
        clients.push(child);
        const { settings } = gateway.clients[role];
        await ask(child, { do: "slim", settings, role, mls: kind === "mls", reliable: kind === "reliable" }, "open");
      }
      const [receiver, sender] = clients;
      if (receiver === undefined || sender === undefined) continue;
      figures[`session ${kind}/s`] =
        kind === "reliable"
          ? await settledRate(sender, "", "reliable", options)
          : await arrivedRate(sender, receiver, "", options);
    } finally {
      await Promise.all(clients.map((child) => processes.end(child)));
      await gateway.stop();
    }
  }
  return figures;
}

/** Messages a second whose end the sender knows. */
async function settledRate(sender: ChildProcess, to: string, mode: "reliable", options: BenchOptions): Promise<number> {
  const command = { do: "send", to, mode, forMs: 2 * options.floodMs } as const;
  const { settled = 0, ms = 1, unsettled = 0 } = await ask(sender, command, "send");
  if (settled === 0) throw new Error(`no message was settled, ${unsettled} are under way`);
  return (settled * 1_000) / ms;
}

/** Messages a second that arrive, sent without waiting for an acknowledgement. */
async function arrivedRate(
  sender: ChildProcess,
  receiver: ChildProcess,
  to: string,
  options: BenchOptions,
): Promise<number> {
  const sending = ask(
    sender,
    { do: "send", to, mode: "best-effort", forMs: options.warmUpMs + options.floodMs },
    "send",
  );
  await new Promise((resolve) => setTimeout(resolve, options.warmUpMs));
  const before = await ask(receiver, { do: "count" }, "count");
  await sending;
  const after = await ask(receiver, { do: "count" }, "count");
  return (((after.received ?? 0) - (before.received ?? 0)) * 1_000) / ((after.at ?? 0) - (before.at ?? 0));
}

interface Answer {
  readonly did: string;
  readonly settled?: number;
  readonly ms?: number;
  readonly unsettled?: number;
  readonly received?: number;
  readonly at?: number;
}

function ask(child: ChildProcess, command: SdkCommand, did: string): Promise<Answer> {
  const isAnswer = (message: unknown): message is Answer =>
    typeof message === "object" && message !== null && "did" in message && message.did === did;
  const answered = messageOf(child, isAnswer, `a client of the SDK (${command.do})`, 120_000);
  child.send(command);
  return answered;
}
