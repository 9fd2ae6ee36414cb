/** Topics from the command line. */
import { refuse, shortName } from "@causeway/core-base";
import type { Command } from "commander";
import { interruption } from "../terminal/interruption.ts";
import { type AgentCommandOptions, asAgent, withAgentOptions } from "./acting.ts";
import { contextOf } from "./context.ts";
import { dataOf, numberOf, printable } from "./data.ts";

export function addTopicCommands(program: Command): void {
  const topic = program.command("topic").description("create topics, publish and subscribe");
  withAgentOptions(topic.command("create <topic>"))
    .description("create a topic under the own name and admit subscribers until Ctrl-C")
    .option("--publishers <prefix...>", "names, or prefixes ending in /, that may publish (default: the own domain)")
    .option("--subscribers <prefix...>", "names, or prefixes ending in /, that may subscribe (default: every agent)")
    .option("--retained <count>", "last publications that are kept for those who subscribe later, 0 to 100", "0")
    .option("--overflow <policy>", "what happens to slow subscribers: drop-oldest, block or disconnect", "drop-oldest")
    .action(create);
  withAgentOptions(topic.command("publish <topic> <data>"))
    .description("publish to everyone who subscribed; data is text, JSON, or - for standard input")
    .action(publish);
  withAgentOptions(topic.command("subscribe <topic>"))
    .description("print what is published until Ctrl-C; with --json one value for each")
    .action(subscribe);
}

interface CreateOptions extends AgentCommandOptions {
  readonly publishers?: string[];
  readonly subscribers?: string[];
  readonly retained: string;
  readonly overflow: string;
}

async function create(topic: string, options: CreateOptions): Promise<void> {
  const { out } = contextOf(options);
  const { overflow } = options;
  if (overflow !== "drop-oldest" && overflow !== "block" && overflow !== "disconnect")
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected --overflow drop-oldest, block or disconnect, got ${overflow}`);
  const retained = numberOf(options.retained, "--retained", 0, 100);
  const full = (prefixes: readonly string[]) => prefixes.map((prefix) => prefix.replace(/^(?!spiffe:)/, "spiffe://"));
  await asAgent(
    options,
    async (agent) => {
      const stop = interruption();
      const name = await agent.createTopic(topic, {
        ...(options.publishers && { publishers: full(options.publishers) }),
        ...(options.subscribers && { subscribers: full(options.subscribers) }),
        retained,
        overflow,
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
