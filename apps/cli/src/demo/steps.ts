/** What happens in the demo, step by step; each answers its part of the report. */
import { randomUUID } from "node:crypto";
import { type Message, Role, type StreamResponse, type Task, TaskState } from "@a2a-js/sdk";
import { type Client, ClientFactory } from "@a2a-js/sdk/client";
import type { Agent, Match } from "@causeway/agent";
import { type AgentId, CausewayError, domainOf, refuse, shortName } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import type { Operator } from "../processes/operator.ts";
import type { DemoReport, HopReport } from "./report.ts";

/** How long replication may take before the demo gives up on it. */
const convergeMs = 15_000;
const pollMs = 100;

/** Asks until `attempt` answers something, or gives up. */
export async function eventually<T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + convergeMs;
  for (;;) {
    const result = await attempt();
    if (result !== undefined) return result;
    if (performance.now() > deadline)
      throw refuse("CAUSEWAY_TIMEOUT", `${what} did not happen within ${convergeMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Finds an agent of another domain in plain words. */
export function discoverRemote(agent: Agent, query: string): Promise<Match> {
  return eventually(`a remote match for ${JSON.stringify(query)}`, async () => {
    const { matches } = await agent.discover(query);
    return matches.find((match) => !match.local);
  });
}

/** An encrypted request across both domains, with the way that it took. */
export async function exchange(
  agent: Agent,
  target: AgentId,
  operators: readonly Operator[],
): Promise<Pick<DemoReport, "path" | "hops" | "e2e">> {
  const answer = await agent.request(target, { method: "tip", data: "Tokyo" }, { trace: true, timeoutMs: convergeMs });
  const hops = await hopsOf(answer.messageId, operators);
  const session = agent.status().sessions.find((s) => s.peer === target);
  return {
    path: hops.map((hop) => hop.gateway),
    hops,
    e2e: { protocol: "mls", suite: session?.suite ?? 0, answer: String(answer.data) },
  };
}

/** What each gateway of both domains did with a message, in order of travel. */
export async function hopsOf(messageId: string, operators: readonly Operator[]): Promise<HopReport[]> {
  const id = new Uint8Array(Buffer.from(messageId.replaceAll("-", ""), "hex"));
  const answers = await Promise.all(
    operators.flatMap((operator) =>
      operator.gateways().map((gateway) => operator.gateway(gateway).explain({ messageId: id })),
    ),
  );
  return answers
    .flatMap((answer) => answer.hops)
    .toSorted((a, b) => b.hopTtl - a.hopTtl || Number(a.atUnixMs - b.atUnixMs))
    .map((hop) => ({ gateway: hop.gatewayUri, verdict: hop.verdict, reason: hop.reason }));
}

/** Publishes once and counts who got it. */
export async function publishAcross(options: {
  readonly owner: Agent;
  readonly reader: Agent;
  readonly guide: AgentId;
}): Promise<DemoReport["topic"]> {
  const { owner, reader, guide } = options;
  const topic = await owner.createTopic("offers", {
    subscribers: ["spiffe://blue.example/", "spiffe://green.example/"],
  });
  const heardHere: string[] = [];
  await using _subscription = await reader.subscribe(
    topic,
    (publication) => void heardHere.push(String(publication.data)),
  );
  await owner.request(guide, { method: "follow", data: topic }, { timeoutMs: convergeMs });
  const text = "Two nights for the price of one";
  await owner.publish(topic, text);
  const delivered = await eventually("delivery of the publication", async () => {
    const there = (await owner.request(guide, { method: "heard" })).data;
    const remote = Array.isArray(there) && there.includes(text);
    return remote && heardHere.includes(text) ? [domainOf(reader.id), domainOf(guide)] : undefined;
  });
  return { topic, delivered: delivered.length, domains: delivered };
}

/** An unmodified A2A client against the endpoint: send, stream, get and cancel. */
export async function useA2a(agentUrl: string): Promise<DemoReport["a2a"]> {
  const client = await new ClientFactory().createFromUrl(agentUrl);
  const sent = await client.sendMessage(ask("Book me a hotel room in Tokyo for two nights"));
  const task = "messageId" in sent ? undefined : await client.getTask({ id: sent.id, tenant: "" });
  let streamed = 0;
  for await (const _event of client.sendMessageStream(ask("A room in Paris, please"))) streamed += 1;
  const canceled = await cancelOne(client);
  const state = task?.status === undefined ? "no task" : TaskState[task.status.state];
  return {
    ok:
      state === "TASK_STATE_COMPLETED" &&
      task?.artifacts.length === 1 &&
      streamed >= 3 &&
      canceled === "TASK_STATE_CANCELED",
    state,
    streamed,
    canceled,
  };
}

/** Starts a task that takes long, and cancels it. */
async function cancelOne(client: Client): Promise<string> {
  for await (const event of client.sendMessageStream(ask("Put me on the waitlist for Lisbon"))) {
    const id = startedTask(event);
    if (id !== undefined) {
      const task: Task = await client.cancelTask({ id, tenant: "", metadata: undefined });
      return task.status === undefined ? "no status" : TaskState[task.status.state];
    }
  }
  return "no task";
}

function startedTask(event: StreamResponse): string | undefined {
  return event.payload?.$case === "statusUpdate" && event.payload.value.status?.state === TaskState.TASK_STATE_WORKING
    ? event.payload.value.taskId
    : undefined;
}

function ask(text: string): { message: Message; tenant: string; configuration: undefined; metadata: undefined } {
  const message: Message = {
    messageId: randomUUID(),
    contextId: "",
    taskId: "",
    role: Role.ROLE_USER,
    parts: [{ content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "text/plain" }],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  };
  return { message, tenant: "", configuration: undefined, metadata: undefined };
}

/** Revokes an attached agent, measures until it is out, and tries to bring it back. */
export async function revoke(options: {
  readonly agent: Agent;
  readonly operator: Operator;
  readonly reconnect: () => Promise<Agent>;
}): Promise<DemoReport["revoked"]> {
  const { agent, operator } = options;
  const detached = new Promise<number>((resolve) => {
    agent.onEvent((event) => event.type === "detached" && resolve(performance.now()));
  });
  const from = performance.now();
  await operator.authority.revoke({ spiffeId: agent.id, reason: aca.RevocationReason.CESSATION_OF_OPERATION });
  const timeout = new Promise<number>((resolve) =>
    setTimeout(() => resolve(Number.POSITIVE_INFINITY), convergeMs).unref(),
  );
  const detachedMs = Math.round((await Promise.race([detached, timeout])) - from);
  await agent.close();
  try {
    const back = await options.reconnect();
    await back.close();
    return { agentId: agent.id, detachedMs, returned: true, code: "" };
  } catch (thrown) {
    return { agentId: agent.id, detachedMs, returned: false, code: CausewayError.from(thrown).code };
  }
}

/** A name as people read it. */
export const display = (id: string): string => shortName(id as AgentId);
