/** What happens in a domain, as it happens. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CausewayError } from "@causeway/core-base";
import type { Command } from "commander";
import type { GatewayConfig } from "../config/domain.ts";
import type { Operator } from "../processes/operator.ts";
import { failureOf } from "../terminal/failure.ts";
import { interruption } from "../terminal/interruption.ts";
import type { Output } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";
import { followAll, type Source } from "./following.ts";

/** How long a gateway may take to answer. */
const answerMs = 5_000;

interface EventOptions extends CommonOptions {
  readonly gateway?: string;
  readonly types?: string[];
}

export function addEventCommands(program: Command): void {
  withCommonOptions(program.command("events"))
    .description(
      "print what happens at the gateways until Ctrl-C; with --json one value for each. A gateway that does not answer is named, and asked again",
    )
    .option("--gateway <name>", "only at this gateway")
    .option("--types <type...>", "only these, for example topic.created, or a family like peer. (default: all)")
    .action((options: EventOptions) => asOperator(options, (operator, context) => follow(operator, context, options)));
}

/** An event, or what became of following a gateway: `gateway.lost` and `gateway.back`. */
interface Line {
  readonly at: string;
  readonly gateway: string;
  readonly type: string;
  readonly subject: string;
  readonly cause: string;
  readonly missed: number;
}

async function follow(operator: Operator, { out }: Context, options: EventOptions): Promise<void> {
  const gateways = operator.gateways(options.gateway);
  const stop = new AbortController();
  void interruption().then(() => stop.abort());
  out.line(`events of ${gateways.map((each) => each.name).join(", ")}; Ctrl-C ends it`);
  const nameOf = (service: string): string => service.slice(servicePrefix.length);
  const note = (service: string, type: string, cause: string): Line => ({
    at: new Date().toISOString(),
    gateway: nameOf(service),
    type,
    subject: nameOf(service),
    cause,
    missed: 0,
  });
  await followAll(
    gateways.map((gateway) => sourceOf(operator, gateway, options.types ?? [], out)),
    {
      signal: stop.signal,
      wait: (ms, signal) => sleep(ms, undefined, { signal }),
      onLost(service, error: CausewayError) {
        if (out.json) print(out, note(service, "gateway.lost", error.message));
        else out.problem(failureOf(error)?.text.split("\n", 1)[0] ?? error.message);
      },
      onBack(service) {
        const cause = "it answers again; what happened there in between is not told";
        if (out.json) print(out, note(service, "gateway.back", cause));
        else out.problem(`causeway: ${service}: ${cause}`);
      },
    },
  );
}

const servicePrefix = "gateway ";

function sourceOf(operator: Operator, gateway: GatewayConfig, types: string[], out: Output): Source {
  const client = operator.gateway(gateway);
  return {
    service: `${servicePrefix}${gateway.name}`,
    async follow(onOpen, signal) {
      // A stream cannot have a time limit; whether the gateway answers at all is asked before.
      await client.status({}, { signal, timeoutMs: answerMs });
      let isOpen = false;
      for await (const { event } of client.watchEvents({ types }, { signal })) {
        if (!isOpen) onOpen();
        isOpen = true;
        if (event === undefined) continue;
        const { type, subject, cause, missed } = event;
        const at = new Date(Number(event.atUnixMs)).toISOString();
        print(out, { at, gateway: gateway.name, type, subject, cause, missed: Number(missed) });
      }
    },
  };
}

function print(out: Output, line: Line): void {
  out.result(line, (e) => {
    const left = e.missed > 0 ? `  (${e.missed} before it left out)` : "";
    return `${e.at}  ${e.gateway}  ${out.style.bold(e.type)}  ${e.subject}: ${e.cause}${left}`;
  });
}
