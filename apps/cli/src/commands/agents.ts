/** What agents do, from the command line: attach, discover, call, send, topics. */
import { once } from "node:events";
import { createLog } from "@causeway/adapter-telemetry";
import type { Agent, Content, Json } from "@causeway/agent";
import { attachA2aAgent, openA2aEndpoint, openUpstream } from "@causeway/bridge-a2a";
import { CausewayError, parseAgentId, refuse, shortName } from "@causeway/core-base";
import type { Command } from "commander";
import { connectAgent } from "../processes/agents.ts";
import { runService } from "../processes/lifecycle.ts";
import { table } from "../terminal/output.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";

interface AgentCommandOptions extends CommonOptions {
  readonly as?: string;
  readonly token?: string;
}

export function addAgentCommands(program: Command): void {
  withAgentOptions(program.command("attach <url>"))
    .description("take a running A2A agent onto the network")
    .option("--name <name>", "its Agent ID, domain/namespace/name")
    .option("--languages <codes>", "BCP 47 codes, separated by commas", "en")
    .action(attach);

  withAgentOptions(program.command("a2a"))
    .description("serve the agents of the network to A2A clients of this machine")
    .option("--listen <port>", "port on 127.0.0.1", "7480")
    .action(a2a);

  withAgentOptions(program.command("discover <words...>"))
    .description("find agents in plain words")
    .option("--skill <id...>", "only with these skills")
    .option("--tag <tag...>", "only with these tags")
    .option("--language <code...>", "only speaking these languages")
    .option("--protocol <name...>", "only speaking these protocols")
    .option("--in <domain...>", "only of these domains")
    .option("--limit <n>", "how many at most", "10")
    .action(discover);

  withAgentOptions(program.command("call <target> [data]"))
    .description("ask an agent and print its answer; data is text, JSON, or - for standard input")
    .option("--method <name>", "which handler")
    .option("--timeout <ms>", "how long to wait", "30000")
    .option("--trace", "keep the way for: causeway explain")
    .action(call);

  withAgentOptions(program.command("send <target> <data>"))
    .description("send a message; done when the other agent took it")
    .option("--timeout <ms>", "how long to wait", "30000")
    .action(send);

  const topic = program.command("topic").description("create topics, publish and subscribe");
  withAgentOptions(topic.command("create <topic>"))
    .description("create a topic under the own name")
    .action(topicCreate);
  withAgentOptions(topic.command("publish <topic> <data>"))
    .description("publish to everyone who subscribed")
    .action(topicPublish);
  withAgentOptions(topic.command("subscribe <topic>"))
    .description("print what is published until Ctrl-C")
    .action(topicSubscribe);
}

function withAgentOptions(command: Command): Command {
  return withCommonOptions(command)
    .option("--as <name>", "Agent ID to act as (default: <domain>/cli/main)")
    .option("--token <token>", "join token, when the operator's identity is not on this machine");
}

async function asAgent<T>(options: AgentCommandOptions, use: (agent: Agent) => Promise<T>): Promise<T> {
  const { out, home } = contextOf(options);
  const config = home.config(options);
  const connectAs = (name: string): Promise<Agent> =>
    out.during(
      `connecting ${name}`,
      connectAgent({
        home,
        config,
        name,
        advertise: false,
        instance: `cli-${process.pid}`,
        ...(options.token !== undefined && { token: options.token }),
      }),
    );
  await using agent = await (options.as === undefined
    ? firstFree(`${config.domain}/cli/main`, connectAs)
    : connectAs(options.as));
  return await use(agent);
}

/** Commands that run at the same time act as agents of their own: `main`, `main-2` and so on. */
async function firstFree(name: string, connectAs: (name: string) => Promise<Agent>): Promise<Agent> {
  for (let number = 1; ; number++) {
    try {
      return await connectAs(number === 1 ? name : `${name}-${number}`);
    } catch (thrown) {
      if (CausewayError.from(thrown).code !== "CAUSEWAY_STORE_IN_USE" || number === atOnceMax) throw thrown;
    }
  }
}

/** Commands of one domain at once without a name of their own. */
const atOnceMax = 16;

async function attach(
  url: string,
  options: AgentCommandOptions & { readonly name?: string; readonly languages: string },
): Promise<void> {
  const { out, home } = contextOf(options);
  const config = home.config(options);
  const upstream = await openUpstream(url);
  const name = options.name ?? `${config.domain}/a2a/${slug(upstream.card.name)}`;
  const log = createLog({ level: "warn", fields: { service: "attach" } });
  await runService(log, async () => {
    const agent = await out.during(
      `connecting ${name}`,
      connectAgent({ home, config, name, log, ...(options.token !== undefined && { token: options.token }) }),
    );
    const attached = await attachA2aAgent(agent, upstream, { languages: options.languages.split(",") });
    out.result(
      {
        ok: true,
        agentId: agent.id,
        name: upstream.card.name,
        resourceId: attached.registration.resourceId,
        gateway: agent.status().gateway,
      },
      () => `${out.style.good("attached")} ${upstream.card.name} as ${shortName(agent.id)}. Ctrl-C detaches it.`,
    );
    return {
      url: upstream.url,
      async stop() {
        await attached[Symbol.asyncDispose]();
        await agent.close();
      },
    };
  });
}

async function a2a(options: AgentCommandOptions & { readonly listen: string }): Promise<void> {
  const { out, home } = contextOf(options);
  const config = home.config(options);
  const log = createLog({ level: "warn", fields: { service: "a2a" } });
  await runService(log, async () => {
    const name = options.as ?? `${config.domain}/cli/a2a`;
    const agent = await out.during(
      `connecting ${name}`,
      connectAgent({
        home,
        config,
        name,
        log,
        advertise: false,
        ...(options.token !== undefined && { token: options.token }),
      }),
    );
    const endpoint = await openA2aEndpoint(agent, { port: portOf(options.listen) });
    out.result(
      { ok: true, url: endpoint.url },
      () => `A2A endpoint: ${endpoint.url}/agents/<domain>/<namespace>/<name>. Ctrl-C ends it.`,
    );
    return {
      url: endpoint.url,
      async stop() {
        await endpoint[Symbol.asyncDispose]();
        await agent.close();
      },
    };
  });
}

interface DiscoverCommandOptions extends AgentCommandOptions {
  readonly skill?: string[];
  readonly tag?: string[];
  readonly language?: string[];
  readonly protocol?: string[];
  readonly in?: string[];
  readonly limit: string;
}

async function discover(words: string[], options: DiscoverCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    const found = await agent.discover(words.join(" "), {
      ...(options.skill && { skills: options.skill }),
      ...(options.tag && { tags: options.tag }),
      ...(options.language && { languages: options.language }),
      ...(options.protocol && { protocols: options.protocol }),
      ...(options.in && { domains: options.in }),
      limit: numberOf(options.limit, "--limit"),
    });
    out.result(
      {
        matches: found.matches.map(({ agentId, score, why, local, status, gateway, path, card }) => ({
          agentId,
          score,
          why,
          local,
          status,
          gateway,
          path,
          name: card.name,
        })),
        notes: found.notes,
        considered: found.considered,
      },
      ({ matches, notes }) =>
        [
          table(
            ["agent", "score", "where", "status", "why"],
            matches.map((m) => [
              m.agentId.replace("spiffe://", ""),
              m.score.toFixed(2),
              m.local ? "local" : "remote",
              m.status,
              m.why,
            ]),
            "no agent matches",
          ),
          ...notes.map((note) => `  ${note}`),
        ].join("\n"),
    );
  });
}

async function call(
  target: string,
  data: string | undefined,
  options: AgentCommandOptions & { readonly method?: string; readonly timeout: string; readonly trace?: boolean },
): Promise<void> {
  const { out } = contextOf(options);
  const body = await dataOf(data);
  await asAgent(options, async (agent) => {
    const answer = await agent.request(
      parseAgentId(target),
      { ...(options.method !== undefined && { method: options.method }), ...(body !== undefined && { data: body }) },
      { timeoutMs: numberOf(options.timeout, "--timeout"), trace: options.trace === true },
    );
    out.result({ from: answer.from, messageId: answer.messageId, parts: answer.parts.map(printable) }, (r) => {
      const parts = r.parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join("\n");
      return options.trace === true
        ? `${parts}\n(message ${r.messageId}; its way: causeway explain ${r.messageId})`
        : parts;
    });
  });
}

async function send(
  target: string,
  data: string,
  options: AgentCommandOptions & { readonly timeout: string },
): Promise<void> {
  const { out } = contextOf(options);
  const body = await dataOf(data);
  await asAgent(options, async (agent) => {
    await agent.send(parseAgentId(target), body ?? "", { timeoutMs: numberOf(options.timeout, "--timeout") });
    out.result({ ok: true, target }, () => `${target} took the message`);
  });
}

async function topicCreate(topic: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    const name = await agent.createTopic(topic);
    out.result(
      { ok: true, topic: name },
      () => `topic ${name}; it has a group as long as its owner runs: keep this open, Ctrl-C ends it`,
    );
    if (!out.json) await interrupted();
  });
}

async function topicPublish(topic: string, data: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  const body = await dataOf(data);
  await asAgent(options, async (agent) => {
    await agent.publish(topic, body ?? "");
    out.result({ ok: true, topic }, () => `published to ${topic}`);
  });
}

async function topicSubscribe(topic: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    await using _subscription = await agent.subscribe(topic, (publication) => {
      out.result(
        { topic: publication.topic, from: publication.from, data: printable(publication.content) },
        (p) => `${shortName(publication.from)}: ${typeof p.data === "string" ? p.data : JSON.stringify(p.data)}`,
      );
    });
    out.line(`subscribed to ${topic}; Ctrl-C ends it`);
    await interrupted();
  });
}

async function interrupted(): Promise<void> {
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
}

/** Text, JSON when it parses as an object, array or number, or standard input for "-". */
async function dataOf(data: string | undefined): Promise<Json | undefined> {
  if (data === undefined) return undefined;
  const text = data === "-" ? await readAll() : data;
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    // Looks like JSON and is not: it is text.
    return text;
  }
}

async function readAll(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function printable(content: Content): Json {
  const { data } = content;
  return data instanceof Uint8Array ? Buffer.from(data).toString("base64") : data;
}

function slug(name: string): string {
  return (
    name
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-|-$/g, "") || "agent"
  );
}

function portOf(text: string): number {
  const port = numberOf(text, "--listen");
  if (port > 65_535)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a port from 0 to 65535 for --listen, got ${text}`);
  return port;
}

function numberOf(text: string, option: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a whole number for ${option}, got ${JSON.stringify(text)}`);
}
