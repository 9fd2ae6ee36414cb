/** What happens in a domain, as it happens. */
import type { Command } from "commander";
import type { Operator } from "../processes/operator.ts";
import { interruption } from "../terminal/interruption.ts";
import { asOperator } from "./acting.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";

interface EventOptions extends CommonOptions {
  readonly gateway?: string;
  readonly types?: string[];
}

export function addEventCommands(program: Command): void {
  withCommonOptions(program.command("events"))
    .description("print what happens at the gateways until Ctrl-C; with --json one value for each")
    .option("--gateway <name>", "only at this gateway")
    .option("--types <type...>", "only these, for example topic.created, or a family like peer. (default: all)")
    .action((options: EventOptions) => asOperator(options, (operator, context) => follow(operator, context, options)));
}

async function follow(operator: Operator, { out }: Context, options: EventOptions): Promise<void> {
  const gateways = operator.gateways(options.gateway);
  const stop = new AbortController();
  const ended = interruption().then(() => stop.abort());
  const feeds = gateways.map(async (gateway) => {
    const events = operator.gateway(gateway).watchEvents({ types: options.types ?? [] }, { signal: stop.signal });
    for await (const { event } of events) {
      if (event === undefined) continue;
      const { type, subject, cause, missed } = event;
      const at = new Date(Number(event.atUnixMs)).toISOString();
      out.result({ at, gateway: gateway.name, type, subject, cause, missed: Number(missed) }, (e) => {
        const left = e.missed > 0 ? `  (${e.missed} before it left out)` : "";
        return `${e.at}  ${e.gateway}  ${out.style.bold(e.type)}  ${e.subject}: ${e.cause}${left}`;
      });
    }
    if (!stop.signal.aborted) out.line(`${gateway.name} has ended its events; it goes out of service`);
  });
  out.line(`events of ${gateways.map((each) => each.name).join(", ")}; Ctrl-C ends it`);
  const all = Promise.all(
    feeds.map((feed) =>
      feed.catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      }),
    ),
  );
  await Promise.race([all, ended]);
  await all;
}
