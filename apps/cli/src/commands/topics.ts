/** Topics from the command line. */

import type { TopicDescription } from "@causeway/agent/node";
import { shortName } from "@causeway/core-base";
import type { Command } from "commander";
import { interruption } from "../terminal/interruption.ts";
import { table } from "../terminal/output.ts";
import { type AgentCommandOptions, asAgent, withAgentOptions } from "./acting.ts";
import { contextOf } from "./context.ts";
import { dataOf, numberOf, printable, wordOf } from "./data.ts";

export function addTopicCommands(program: Command): void {
  const topic = program.command("topic").description("create, find and delete topics, publish and subscribe");
  withAgentOptions(topic.command("create <topic>"))
    .description("create a topic under the own name and admit subscribers until Ctrl-C")
    .option("--publishers <prefix...>", "names, or prefixes ending in /, that may publish (default: the own domain)")
    .option("--subscribers <prefix...>", "names, or prefixes ending in /, that may subscribe (default: every agent)")
    .option("--retained <count>", "last publications that are kept for those who subscribe later, 0 to 100", "0")
    .option("--overflow <policy>", "what happens to slow subscribers: drop-oldest, block or disconnect", "drop-oldest")
    .option("--idle-expiry <ms>", "milliseconds without publication and subscriber after which it goes; 0: never", "0")
    .option("--priority <class>", "class of its publications: interactive or bulk", "interactive")
    .action(create);
  withAgentOptions(topic.command("publish <topic> <data>"))
    .description("publish to everyone who subscribed; data is text, JSON, or - for standard input")
    .action(publish);
  withAgentOptions(topic.command("subscribe <topic>"))
    .description(
      "print what is published until Ctrl-C; with --json one value for each. 'OWNER/*' is every topic of an agent",
    )
    .action(subscribe);
  withAgentOptions(topic.command("list [owner]"))
    .description("topics of an agent (default: the own ones), with who may use them")
    .action(list);
  withAgentOptions(topic.command("describe <topic>")).description("one topic as its gateway keeps it").action(describe);
  withAgentOptions(topic.command("delete <topic>"))
    .description("delete a topic of this agent: its members are out")
    .action(remove);
}

interface CreateOptions extends AgentCommandOptions {
  readonly publishers?: string[];
  readonly subscribers?: string[];
  readonly retained: string;
  readonly overflow: string;
  readonly idleExpiry: string;
  readonly priority: string;
}

async function create(topic: string, options: CreateOptions): Promise<void> {
  const { out } = contextOf(options);
  const overflow = wordOf(options.overflow, "--overflow", ["drop-oldest", "block", "disconnect"]);
  const retained = numberOf(options.retained, "--retained", 0, 100);
  const idleExpiryMs = numberOf(options.idleExpiry, "--idle-expiry", 0, Number.MAX_SAFE_INTEGER);
  const priority = wordOf(options.priority, "--priority", ["interactive", "bulk"]);
  const full = (prefixes: readonly string[]) => prefixes.map((prefix) => prefix.replace(/^(?!spiffe:)/, "spiffe://"));
  await asAgent(
    options,
    async (agent) => {
      const stop = interruption();
      const name = await agent.createTopic(topic, {
        ...(options.publishers && { publishers: full(options.publishers) }),
        ...(options.subscribers && { subscribers: full(options.subscribers) }),
        ...{ retained, overflow, idleExpiryMs, priority },
      });
      // Subscribers ask the owner, so it has to be reachable from everywhere.
      await agent.register({
        name: `Topics of ${shortName(agent.id)}`,
        description: "Admits subscribers to its topics.",
        version: "1.0.0",
        skills: [{ id: "own-topics", description: `Owns ${name}` }],
      });
      out.result({ ok: true, topic: name }, () => `topic ${name}; subscribers are admitted until Ctrl-C`);
      await stop;
      await agent.deregister("the topic is not served any more");
    },
    { advertise: true },
  );
}

async function publish(topic: string, data: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  const body = dataOf(data);
  await asAgent(options, async (agent) => {
    await out.during(`publishing to ${topic}`, agent.publish(topic, body));
    out.result({ ok: true, topic }, () => `published to ${topic}`);
  });
}

async function subscribe(topic: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    const stop = interruption();
    await using _subscription = await out.during(
      `subscribing to ${topic}`,
      agent.subscribe(topic, (publication) => {
        out.result(
          { topic: publication.topic, from: publication.from, data: printable(publication.content) },
          (p) => `${shortName(publication.from)}: ${typeof p.data === "string" ? p.data : JSON.stringify(p.data)}`,
        );
      }),
    );
    out.line(`subscribed to ${topic}; Ctrl-C ends it`);
    await stop;
  });
}

async function list(owner: string | undefined, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    const topics = await out.during("asking for topics", agent.listTopics(owner));
    out.result({ topics }, () =>
      table(["topic", "publishers", "subscribers", "retained", "overflow", "priority"], topics.map(rowOf), "no topics"),
    );
  });
}

async function describe(topic: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    const found = await out.during(`asking for ${topic}`, agent.describeTopic(topic));
    const { rights } = found;
    out.result(found, () =>
      [
        `${found.topic} of ${shortName(found.owner)}, since ${new Date(found.createdUnixMs).toISOString()}`,
        `  publishers   ${publishersOf(rights)}`,
        `  subscribers  ${subscribersOf(rights)}`,
        `  retained     ${rights.retained}${rights.retainedMs > 0 ? `, for ${rights.retainedMs} ms` : ""}`,
        `  overflow     ${rights.overflow}`,
        `  priority     ${rights.priority}`,
        `  idle expiry  ${rights.idleExpiryMs > 0 ? `${rights.idleExpiryMs} ms` : "never"}`,
      ].join("\n"),
    );
  });
}

async function remove(topic: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    await out.during(`deleting ${topic}`, agent.deleteTopic(topic));
    out.result({ ok: true, topic }, () => `${topic} is deleted`);
  });
}

const rowOf = ({ topic, rights }: TopicDescription): string[] => [
  topic,
  publishersOf(rights),
  subscribersOf(rights),
  String(rights.retained),
  rights.overflow,
  rights.priority,
];

const short = (names: readonly string[]): string => names.map((name) => name.replace("spiffe://", "")).join(" ");
const publishersOf = ({ publishers }: TopicDescription["rights"]): string => short(publishers) || "the owner's domain";
const subscribersOf = ({ subscribers }: TopicDescription["rights"]): string => short(subscribers) || "every agent";
