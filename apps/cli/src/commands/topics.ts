/** Topics from the command line. */
import { shortName } from "@causeway/core-base";
import type { Command } from "commander";
import { interruption } from "../terminal/interruption.ts";
import { type AgentCommandOptions, asAgent, withAgentOptions } from "./acting.ts";
import { contextOf } from "./context.ts";
import { dataOf, printable } from "./data.ts";

export function addTopicCommands(program: Command): void {
  const topic = program.command("topic").description("create topics, publish and subscribe");
  withAgentOptions(topic.command("create <topic>"))
    .description("create a topic under the own name and keep its group until Ctrl-C")
    .action(create);
  withAgentOptions(topic.command("publish <topic> <data>"))
    .description("publish to everyone who subscribed; data is text, JSON, or - for standard input")
    .action(publish);
  withAgentOptions(topic.command("subscribe <topic>"))
    .description("print what is published until Ctrl-C; with --json one value for each")
    .action(subscribe);
}

async function create(topic: string, options: AgentCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  await asAgent(options, async (agent) => {
    const stop = interruption();
    const name = await agent.createTopic(topic);
    out.result(
      { ok: true, topic: name },
      () => `topic ${name}; it has a group as long as its owner runs: keep this open, Ctrl-C ends it`,
    );
    await stop;
  });
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
