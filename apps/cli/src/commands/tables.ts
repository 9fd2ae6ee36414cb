/** The tables of gateways: who is attached, which way messages take, who wants which topics. */
import { parseDomain, parseSpiffeId, type SpiffeId, shortName } from "@causeway/core-base";
import type { admin } from "@causeway/core-wire";
import type { Command } from "commander";
import type { Operator } from "../processes/operator.ts";
import { table, timeOf } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { type Asked, askGateways, showAsked } from "./asking.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";
import { numberOf } from "./data.ts";

/** How long a gateway may take to answer. */
const answerMs = 10_000;
/** Rows that a gateway answers with at most. */
const rowsMax = 10_000;

interface TableOptions extends CommonOptions {
  readonly gateway?: string;
}

interface NamedOptions extends TableOptions {
  readonly limit: string;
}

/** Which rows are asked for. */
interface Choice {
  readonly prefix: string;
  readonly limit: number;
}

/** What each gateway answers. */
interface Answer<R> {
  readonly rows: readonly (R & { readonly gateway: string })[];
  /** The gateway, when it has more rows than were asked for. */
  readonly truncated: readonly string[];
}

export function addTableCommands(program: Command): void {
  const attachment = program.command("attachment").description("agents that are attached to gateways");
  addList(
    attachment,
    "attached agents and how they are: all, one, or those below a domain or namespace",
    listAttachments,
  );
  const route = program.command("route").description("ways to agents");
  addList(route, "the forwarding table: to all agents, to one, or to those below a domain or namespace", listRoutes);
  const subscription = program.command("subscription").description("who wants which topics");
  withGateway(subscription.command("list"))
    .description("topics and patterns that agents here and gateways elsewhere want")
    .action((options: TableOptions) =>
      asOperator(options, (operator, context) => listSubscriptions(operator, context, options)),
    );
}

function addList(
  noun: Command,
  description: string,
  list: (operator: Operator, context: Context, options: TableOptions, choice: Choice) => Promise<void>,
): void {
  withGateway(noun.command("list [name]"))
    .description(description)
    .option("--limit <count>", `rows of each gateway, 1 to ${rowsMax}`, "1000")
    .action((name: string | undefined, options: NamedOptions) => {
      const choice = choiceOf(name, options);
      return asOperator(options, (operator, context) => list(operator, context, options, choice));
    });
}

const withGateway = (command: Command): Command =>
  withCommonOptions(command).option("--gateway <name>", "only at this gateway (default: at all of the domain)");

async function listAttachments(
  operator: Operator,
  { out }: Context,
  options: TableOptions,
  choice: Choice,
): Promise<void> {
  const asked = await askGateways(operator, options.gateway, async (gateway) => {
    const answer = await operator.gateway(gateway).listAttachments(choice, { timeoutMs: answerMs });
    return answerOf(gateway.name, answer.attachments, answer.truncated);
  });
  const { rows: attachments, truncated } = whole(asked);
  showAsked(out, asked, { attachments, truncated }, () =>
    withMore(
      table(
        ["gateway", "agent", "instance", "state", "says", "model", "since", "until", "heard", "in", "out", "features"],
        attachments.map((each) => [
          each.gateway,
          shortName(each.agentId as SpiffeId),
          each.instance,
          each.state,
          each.condition,
          each.model,
          timeOf(each.sinceUnixMs),
          timeOf(each.expiresUnixMs),
          timeOf(each.lastHeardUnixMs),
          String(each.messagesIn),
          String(each.messagesOut),
          each.features.join(" "),
        ]),
        "no attachments",
      ),
      truncated,
      "name an agent or namespace, or raise --limit",
    ),
  );
}

async function listRoutes(operator: Operator, { out }: Context, options: TableOptions, choice: Choice): Promise<void> {
  const asked = await askGateways(operator, options.gateway, async (gateway) => {
    const answer = await operator.gateway(gateway).listRoutes(choice, { timeoutMs: answerMs });
    return answerOf(gateway.name, answer.routes, answer.truncated);
  });
  const { rows: routes, truncated } = whole(asked);
  showAsked(out, asked, { routes, truncated }, () =>
    withMore(
      table(
        ["gateway", "target", "way", "next", "status", "usable", "why"],
        routes.map((each) => [
          each.gateway,
          // The default route is for every name.
          each.target === "*" ? "*" : shortName(each.target as SpiffeId),
          each.kind,
          each.nextHop,
          each.status,
          each.applicable ? "yes" : "no",
          each.reason,
        ]),
        "no routes",
      ),
      truncated,
      "name an agent or namespace, or raise --limit",
    ),
  );
}

async function listSubscriptions(operator: Operator, { out }: Context, options: TableOptions): Promise<void> {
  const asked = await askGateways(operator, options.gateway, async (gateway) => {
    const answer = await operator.gateway(gateway).listTopics({}, { timeoutMs: answerMs });
    return answerOf(gateway.name, answer.subscriptions, answer.truncated);
  });
  const { rows: subscriptions, truncated } = whole(asked);
  showAsked(out, asked, { subscriptions, truncated }, () =>
    withMore(
      table(
        ["gateway", "topic", "subscriber", "instance", "next", "state"],
        subscriptions.map((each) => [
          each.gateway,
          each.topic,
          each.subscriber.replace(/^spiffe:\/\//, ""),
          each.instance,
          each.peer,
          each.state,
        ]),
        "no subscriptions",
      ),
      truncated,
      `a gateway tells of ${rowsMax} at most`,
    ),
  );
}

function choiceOf(name: string | undefined, { limit }: NamedOptions): Choice {
  return { prefix: name === undefined ? "" : prefixOf(name), limit: numberOf(limit, "--limit", 1, rowsMax) };
}

/** An agent, or the domain or namespace that agents are below. Throws `CAUSEWAY_NAME_INVALID`. */
function prefixOf(name: string): string {
  const bare = name.replace(/\/$/, "");
  return /^(spiffe:\/\/)?[^/]*$/.test(bare) ? parseDomain(bare.replace("spiffe://", "")) : parseSpiffeId(bare);
}

function answerOf<R extends admin.Attachment | admin.Route | admin.Subscription>(
  gateway: string,
  rows: readonly R[],
  isTruncated: boolean,
): Answer<R> {
  return { rows: rows.map((row) => ({ gateway, ...row })), truncated: isTruncated ? [gateway] : [] };
}

function whole<R>({ answers }: Asked<Answer<R>>): Answer<R> {
  return { rows: answers.flatMap((each) => each.rows), truncated: answers.flatMap((each) => each.truncated) };
}

function withMore(text: string, gateways: readonly string[], advice: string): string {
  return [text, ...gateways.map((gateway) => `${gateway} has more than is shown; ${advice}`)].join("\n");
}
