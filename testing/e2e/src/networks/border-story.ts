/** The agents of blue.example behind a router: everything that agents of two domains do with each other, once. */
import { connect as connectTcp } from "node:net";
import { type Agent, type ConnectOptions, connect } from "@causeway/agent/node";
import { openA2aEndpoint } from "@causeway/bridge-a2a";
import { type AgentId, parseAgentId } from "@causeway/core-base";
import { discoverRemote, eventually, publishAcross, useA2a } from "../../../../apps/cli/src/demo/steps.ts";
import type { Story } from "./border-report.ts";

interface Order {
  readonly agents: readonly ConnectOptions[];
  /** Addresses of the other domain. */
  readonly past: Readonly<Record<string, string>>;
}

const order = JSON.parse(process.argv[2] ?? "{}") as Order;
const say = (line: unknown): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
const timeoutMs = 15_000;
const [planner, reader] = (await Promise.all(order.agents.map((each) => connect(each)))) as [Agent, Agent];
await planner.register({
  name: "Planner",
  description: "Plans trips and asks others for the parts.",
  version: "1",
  skills: [{ id: "plan-trip", description: "Plans a whole trip" }],
});
const hotels = await discoverRemote(planner, "someone who can book a hotel in Tokyo");
const guide = await known("sightseeing", parseAgentId("green.example/travel/guide"));
const clerk = await known("repeat", parseAgentId("green.example/desk/clerk"));
const tip = await planner.request(guide, { method: "tip", data: "Tokyo" }, { trace: true, timeoutMs });
const parts: string[] = [];
for await (const part of planner.stream(guide, { method: "itinerary", data: "Lisbon" }, { timeoutMs }))
  parts.push(part.text());
await using endpoint = await openA2aEndpoint(planner, { port: 0 });
const a2a = await useA2a(endpoint.urlOf(hotels.agentId));
const { domains } = await publishAcross({ owner: planner, reader, guide });
const acknowledged: Record<string, string> = {};
for (const ack of ["accepted", "delivered", "processed"] as const)
  acknowledged[ack] = (await planner.send(clerk, ack, { ack, timeoutMs })).reached;
const streamed = await echo(clerk);
const mail = await leaveMail(clerk);
const pastTheGateways: Record<string, string> = {};
for (const [what, address] of Object.entries(order.past)) pastTheGateways[what] = await dial(address);
const story: Omit<Story, "listening"> = {
  found: hotels.agentId,
  answer: String(tip.data),
  messageId: tip.messageId,
  parts,
  a2a: a2a.ok,
  heardIn: domains,
  acknowledged,
  streamed,
  mail,
  pastTheGateways,
};
say({ story });
await new Promise<void>((resolve) => process.once("SIGTERM", () => resolve()));

/** Waits until the registry here has heard of an agent. */
function known(query: string, agentId: AgentId): Promise<AgentId> {
  return eventually(`news of ${agentId}`, async () =>
    (await planner.discover(query)).matches.some((match) => match.agentId === agentId) ? agentId : undefined,
  );
}

async function echo(target: string): Promise<Story["streamed"]> {
  const sent = Buffer.alloc(300_000, "back and forth over the border ");
  const stream = planner.openStream(target);
  const back: Uint8Array[] = [];
  const reading = (async () => {
    for await (const bytes of stream) back.push(bytes);
  })();
  await stream.write(sent);
  await stream.end();
  await reading;
  const whole = Buffer.concat(back);
  return { bytes: whole.length, isSame: whole.equals(sent) };
}

/** A message is stored for an agent that is away; when it is back, it tells what it got. */
async function leaveMail(target: string): Promise<readonly string[]> {
  await planner.request(target, { method: "leave" }, { timeoutMs });
  acknowledged["stored"] = await eventually("a message that is stored", async () => {
    const { reached } = await planner.send(target, "while you were out", { ack: "stored", timeoutMs });
    return reached === "stored" ? reached : undefined;
  });
  say({ stored: true });
  return eventually("the mail", async () => {
    try {
      const { data } = await planner.request(target, { method: "mail" }, { timeoutMs });
      return Array.isArray(data) && data.includes("while you were out") ? data.map(String) : undefined;
    } catch {
      // It may still be on its way back.
      return undefined;
    }
  });
}

function dial(address: string): Promise<string> {
  const { hostname, port } = new URL(`tcp://${address}`);
  return new Promise((resolve) => {
    const socket = connectTcp(Number(port), hostname);
    const finish = (what: string): void => {
      socket.destroy();
      resolve(what);
    };
    socket.setTimeout(3_000, () => finish("no answer"));
    socket.on("connect", () => finish("connected"));
    socket.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? "failed"));
  });
}
