/** What is stored for agents that are away: looking at it, and doing something about it. */
import { parseAgentId, refuse, type SpiffeId, shortName } from "@causeway/core-base";
import { hex } from "@causeway/core-wire";
import type { Command } from "commander";
import type { Operator } from "../processes/operator.ts";
import { counted, table, timeOf } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { askGateways, showAsked } from "./asking.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";
import { messageIdOf } from "./data.ts";

/** How long a gateway may take to answer. */
const answerMs = 10_000;

interface MailboxOptions extends CommonOptions {
  readonly gateway?: string;
}

interface ChoiceOptions extends MailboxOptions {
  readonly message?: string;
  readonly all?: boolean;
  readonly dead?: boolean;
}

export function addMailboxCommands(program: Command): void {
  const mailbox = program.command("mailbox").description("messages that gateways store for agents that are away");
  const add = (usage: string, description: string): Command =>
    withCommonOptions(mailbox.command(usage))
      .description(description)
      .option("--gateway <name>", "only at this gateway (default: at all of the domain)");

  add("list", "mailboxes with something in them").action((options: MailboxOptions) =>
    asOperator(options, (operator, context) => list(operator, context, options)),
  );
  add("show <agent>", "what waits for one agent, without content").action((agent: string, options: MailboxOptions) =>
    asOperator(options, (operator, context) => show(operator, context, options, { agent, deadLetters: false }), agent),
  );
  add("dead-letters [agent]", "messages that were given up, and why").action(
    (agent: string | undefined, options: MailboxOptions) =>
      asOperator(options, (operator, context) => show(operator, context, options, { agent, deadLetters: true }), agent),
  );
  add("replay [agent]", "put dead letters back into their mailboxes, to be delivered after all")
    .option("--message <id>", "only this message")
    .option("--all", "all dead letters of the domain")
    .action((agent: string | undefined, options: ChoiceOptions) =>
      asOperator(options, (operator, context) => replay(operator, context, options, agent), agent),
    );
  add("purge [agent]", "delete stored messages for good; their senders are not told")
    .option("--message <id>", "only this message")
    .option("--dead", "only dead letters")
    .option("--all", "of all agents of the domain")
    .action((agent: string | undefined, options: ChoiceOptions) =>
      asOperator(options, (operator, context) => purge(operator, context, options, agent), agent),
    );
}

async function list(operator: Operator, { out }: Context, options: MailboxOptions): Promise<void> {
  const asked = await askGateways(operator, options.gateway, async (gateway) => ({
    gateway: gateway.name,
    ...(await operator.gateway(gateway).listMailboxes({}, { timeoutMs: answerMs })),
  }));
  const { answers } = asked;
  const mailboxes = answers.flatMap(({ gateway, mailboxes: each }) => each.map((box) => ({ gateway, ...box })));
  const totals = answers.map(({ gateway, messages, messagesMax, bytes, bytesMax, deadLetters }) => ({
    gateway,
    messages,
    messagesMax,
    bytes,
    bytesMax,
    deadLetters,
  }));
  showAsked(out, asked, { mailboxes, totals }, () =>
    table(
      ["gateway", "agent", "state", "messages", "bytes", "under way", "oldest", "dead letters"],
      mailboxes.map((box) => [
        box.gateway,
        shortName(box.agentId as SpiffeId),
        box.state,
        String(box.messages),
        String(box.bytes),
        String(box.underWay),
        timeOf(box.oldestUnixMs),
        String(box.deadLetters),
      ]),
      "nothing is stored",
    ),
  );
}

async function show(
  operator: Operator,
  { out }: Context,
  options: MailboxOptions,
  what: { readonly agent: string | undefined; readonly deadLetters: boolean },
): Promise<void> {
  const { agent, deadLetters } = what;
  const agentId = agent === undefined ? "" : parseAgentId(agent);
  const asked = await askGateways(operator, options.gateway, async (gateway) => ({
    gateway: gateway.name,
    ...(await operator.gateway(gateway).listStored({ agentId, deadLetters }, { timeoutMs: answerMs })),
  }));
  const { answers } = asked;
  const messages = answers.flatMap(({ gateway, messages: each }) =>
    each.map(({ messageId, ...mail }) => ({ gateway, messageId: hex(messageId), ...mail })),
  );
  const total = answers.reduce((sum, answer) => sum + Number(answer.total), 0);
  showAsked(out, asked, { messages, total }, () => {
    const rows = messages.map((mail) => [
      mail.gateway,
      mail.messageId,
      shortName(mail.source as SpiffeId),
      ...(deadLetters
        ? [
            shortName(mail.agentId as SpiffeId),
            timeOf(mail.deadUnixMs),
            mail.error?.code ?? "",
            mail.error?.message ?? "",
          ]
        : [
            String(mail.bytes),
            mail.state,
            String(mail.attempts),
            timeOf(mail.storedUnixMs),
            timeOf(mail.expiresUnixMs),
          ]),
    ]);
    const head = deadLetters
      ? ["gateway", "message", "from", "for", "since", "code", "why"]
      : ["gateway", "message", "from", "bytes", "state", "attempts", "stored", "until"];
    const more = total > messages.length ? `\n${total - messages.length} more are not shown` : "";
    return table(head, rows, deadLetters ? "no dead letters" : "nothing waits") + more;
  });
}

async function replay(
  operator: Operator,
  { out }: Context,
  options: ChoiceOptions,
  agent: string | undefined,
): Promise<void> {
  const choice = choiceOf(options, agent);
  const asked = await askGateways(operator, options.gateway, (gateway) =>
    operator.gateway(gateway).replayDeadLetters(choice, { timeoutMs: answerMs }),
  );
  const { answers } = asked;
  const replayed = answers.reduce((sum, answer) => sum + answer.replayed, 0);
  const refused = answers.reduce((sum, answer) => sum + answer.refused, 0);
  showAsked(out, asked, { replayed, refused }, () => {
    const rest = refused > 0 ? `; ${refused} did not fit into their mailboxes and stay dead letters` : "";
    return `${counted(replayed, "dead letter")} put back${rest}`;
  });
}

async function purge(
  operator: Operator,
  { out }: Context,
  options: ChoiceOptions,
  agent: string | undefined,
): Promise<void> {
  const request = { ...choiceOf(options, agent), deadLettersOnly: options.dead === true };
  const asked = await askGateways(operator, options.gateway, (gateway) =>
    operator.gateway(gateway).purgeStored(request, { timeoutMs: answerMs }),
  );
  const purged = asked.answers.reduce((sum, answer) => sum + answer.purged, 0);
  showAsked(out, asked, { purged }, () => `${counted(purged, "message")} deleted`);
}

/** Everything has to be said, so that nobody deletes it by leaving something out. */
function choiceOf(
  options: ChoiceOptions,
  agent: string | undefined,
): { readonly agentId: string; readonly messageId: Uint8Array; readonly all: boolean } {
  const messageId = options.message === undefined ? new Uint8Array() : messageIdOf(options.message);
  if (messageId === undefined) {
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a message id of 32 hexadecimal digits, got ${options.message}`);
  }
  if (agent === undefined && messageId.length === 0 && options.all !== true) {
    throw refuse("CAUSEWAY_CONFIG_INVALID", "expected an agent, --message or --all; got none of them");
  }
  return { agentId: agent === undefined ? "" : parseAgentId(agent), messageId, all: options.all === true };
}
