/** What gateways count and hold (AAP-103). Monitoring reads the same with GET /metrics: `causeway monitor`. */
import type { Command } from "commander";
import type { Operator } from "../processes/operator.ts";
import { asOperator } from "./acting.ts";
import { askGateways, showAsked } from "./asking.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";

/** How long a gateway may take to answer. */
const answerMs = 10_000;

interface MetricsOptions extends CommonOptions {
  readonly gateway?: string;
}

export function addMetricsCommand(program: Command): void {
  withCommonOptions(program.command("metrics"))
    .description("tables and queues with their bounds, counters, and what the process uses, as OpenMetrics text")
    .option("--gateway <name>", "only of this gateway (default: of all of the domain)")
    .action((options: MetricsOptions) =>
      asOperator(options, (operator, context) => metrics(operator, context, options.gateway)),
    );
}

async function metrics(operator: Operator, { out }: Context, name: string | undefined): Promise<void> {
  const asked = await askGateways(operator, name, async (gateway) => ({
    gateway: gateway.name,
    text: (await operator.metrics(gateway).readMetrics({}, { timeoutMs: answerMs })).text,
  }));
  // One text alone is printed as it is, for whoever collects it: nothing may follow its end.
  showAsked(out, asked, { gateways: asked.answers }, ({ gateways }) =>
    name === undefined
      ? gateways.map(({ gateway, text }) => `## gateway ${gateway}\n${text}`).join("\n")
      : gateways.map(({ text }) => text.trimEnd()).join("\n"),
  );
}
