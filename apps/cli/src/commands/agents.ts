/** What agents do, from the command line: discover, call, send. */
import type { Receipt, SendOptions } from "@causeway/agent";
import { parseSpiffeId } from "@causeway/core-base";
import type { Command } from "commander";
import { table } from "../terminal/output.ts";
import { type AgentCommandOptions, asAgent, withAgentOptions } from "./acting.ts";
import { contextOf } from "./context.ts";
import { dataOf, numberOf, printable, wordOf } from "./data.ts";

const timeoutMsMax = 86_400_000;
const expiresMsMax = 604_800_000;
const matchesMax = 100;

export function addAgentCommands(program: Command): void {
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
    .description("send a message; done when it has come as far as --ack says, and says how far, and its id")
    .option(
      "--ack <level>",
      "accepted: the own gateway passed it on; stored: on the disk of the gateway of the other agent; delivered: the other agent has it; processed: its handler took it",
      "processed",
    )
    .option(
      "--expires <ms>",
      "after which nobody needs it any more, at most 604800000 (default: --timeout; with --ack stored, a day)",
    )
    .option("--priority <priority>", "interactive, or bulk for what nobody waits for", "interactive")
    .option("--timeout <ms>", "how long to wait", "30000")
    .option("--trace", "keep the way for: causeway explain")
    .action(send);
}

interface DiscoverOptions extends AgentCommandOptions {
  readonly skill?: string[];
  readonly tag?: string[];
  readonly language?: string[];
  readonly protocol?: string[];
  readonly in?: string[];
  readonly limit: string;
}

async function discover(words: string[], options: DiscoverOptions): Promise<void> {
  const { out } = contextOf(options);
  const limit = numberOf(options.limit, "--limit", 1, matchesMax);
  await asAgent(options, async (agent) => {
    const found = await out.during(
      "asking the registry",
      agent.discover(words.join(" "), {
        ...(options.skill && { skills: options.skill }),
        ...(options.tag && { tags: options.tag }),
        ...(options.language && { languages: options.language }),
        ...(options.protocol && { protocols: options.protocol }),
        ...(options.in && { domains: options.in }),
        limit,
      }),
    );
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

interface CallOptions extends AgentCommandOptions {
  readonly method?: string;
  readonly timeout: string;
  readonly trace?: boolean;
}

async function call(target: string, data: string | undefined, options: CallOptions): Promise<void> {
  const { out } = contextOf(options);
  const to = receiverOf(target);
  const timeoutMs = numberOf(options.timeout, "--timeout", 1, timeoutMsMax);
  const isTraced = options.trace === true;
  const content = {
    ...(options.method !== undefined && { method: options.method }),
    ...(data !== undefined && { data: dataOf(data) }),
  };
  await asAgent(options, async (agent, { domain }) => {
    const answer = await out.during(
      `waiting for ${target}`,
      agent.request(to, content, { timeoutMs, trace: isTraced }),
    );
    out.result({ from: answer.from, messageId: answer.messageId, parts: answer.parts.map(printable) }, (r) => {
      const parts = r.parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join("\n");
      return isTraced ? `${parts}\n${wayOf(r.messageId, domain)}` : parts;
    });
  });
}

interface SendCommandOptions extends AgentCommandOptions {
  readonly timeout: string;
  readonly ack: string;
  readonly expires?: string;
  readonly priority: string;
  readonly trace?: boolean;
}

async function send(target: string, data: string, options: SendCommandOptions): Promise<void> {
  const { out } = contextOf(options);
  const to = receiverOf(target);
  const wanted = wantedOf(options);
  const body = dataOf(data);
  await asAgent(options, async (agent, { domain }) => {
    const { messageId, reached } = await out.during(`waiting for ${target}`, agent.send(to, body, wanted));
    out.result({ ok: true, target, messageId, reached }, () => {
      const line = `${reached}: ${meaningOf[reached]} (message ${messageId})`;
      return options.trace === true ? `${line}\n${wayOf(messageId, domain)}` : line;
    });
  });
}

/** What the SDK is asked for. Throws `CAUSEWAY_CONFIG_INVALID`, saying what was expected. */
export function wantedOf({ ack, expires, priority, timeout, trace }: SendCommandOptions): SendOptions {
  return {
    ack: wordOf(ack, "--ack", ["accepted", "stored", "delivered", "processed"]),
    ...(expires !== undefined && { expiresMs: numberOf(expires, "--expires", 1, expiresMsMax) }),
    priority: wordOf(priority, "--priority", ["interactive", "bulk"]),
    timeoutMs: numberOf(timeout, "--timeout", 1, timeoutMsMax),
    trace: trace === true,
  };
}

const meaningOf: Readonly<Record<Receipt["reached"], string>> = {
  sent: "the message left this process",
  accepted: "the own gateway passed the message on",
  stored: "the message is on the disk of the other agent's gateway",
  delivered: "the other agent has the message",
  processed: "the other agent took the message",
};

/** An agent, one instance of it, or a prefix, of which any one agent is meant. Looked at before anything is connected. */
const receiverOf = (target: string): string => {
  parseSpiffeId(target.endsWith("/") ? target.slice(0, -1) : target);
  return target;
};

const wayOf = (messageId: string, domain: string): string =>
  `(message ${messageId}; its way here: causeway explain message ${messageId} --domain ${domain})`;
