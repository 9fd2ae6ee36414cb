/** What services count and hold (AAP-103). Monitoring reads the same with GET /metrics: `causeway monitor`. */
import type { Command } from "commander";
import type { Operator } from "../processes/operator.ts";
import { asOperator } from "./acting.ts";
import { askAll, type ServiceChoice, servicesOf, showAsked, withServiceOptions } from "./asking.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";

/** How long a service may take to answer. */
const answerMs = 10_000;

export function addMetricsCommand(program: Command): void {
  withServiceOptions(withCommonOptions(program.command("metrics")))
    .description("tables and queues with their bounds, counters, and what the process uses, as OpenMetrics text")
    .action((options: CommonOptions & ServiceChoice) =>
      asOperator(options, (operator, context) => metrics(operator, context, options)),
    );
}

async function metrics(operator: Operator, { out }: Context, choice: ServiceChoice): Promise<void> {
  const chosen = servicesOf(operator, choice);
  const asked = await askAll(chosen, async ({ service, url, role }) => ({
    service,
    text: (await operator.metrics({ url }, role).readMetrics({}, { timeoutMs: answerMs })).text,
  }));
  const gateways = asked.answers.flatMap(({ service, text }) =>
    service.startsWith(gatewayPrefix) ? [{ gateway: service.slice(gatewayPrefix.length), text }] : [],
  );
  const services = asked.answers.filter(({ service }) => !service.startsWith(gatewayPrefix));
  // One text alone is printed as it is, for whoever collects it: nothing may follow its end.
  showAsked(out, asked, { gateways, services }, () =>
    chosen.length > 1
      ? asked.answers.map(({ service, text }) => `## ${service}\n${text}`).join("\n")
      : asked.answers.map(({ text }) => text.trimEnd()).join("\n"),
  );
}

const gatewayPrefix = "gateway ";
