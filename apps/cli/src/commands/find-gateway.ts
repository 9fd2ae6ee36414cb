/** Attaching an agent to show which gateway is found, how, and why that one. */
import type { AgentReport } from "@causeway/agent/node";
import type { Command } from "commander";
import { interruption } from "../terminal/interruption.ts";
import { type AgentCommandOptions, connect, tokenOf } from "./acting.ts";
import { contextOf, withCommonOptions } from "./context.ts";
import { numberOf } from "./data.ts";
import { type DiscoveryCommandOptions, discoveryOf, withDiscoveryOptions } from "./discovery.ts";

interface FindGatewayOptions extends AgentCommandOptions, DiscoveryCommandOptions {
  readonly registry?: string;
  readonly timeout: string;
  readonly once?: boolean;
}

const timeoutMsMax = 3_600_000;

export function addFindGatewayCommand(program: Command): void {
  withDiscoveryOptions(withCommonOptions(program.command("find-gateway <name>")))
    .description("attach an agent, say which gateway was found and why, and stay until Ctrl-C")
    .option("--token <token>", "join token, when the operator's identity is not on this machine")
    .option("--registry <url>", "registry of the domain, for --via directory")
    .option("--timeout <ms>", "how long to try", "30000")
    .option("--once", "end when it is attached")
    .action(findGateway);
}

async function findGateway(name: string, options: FindGatewayOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const discovery = discoveryOf(options);
  await using agent = await out.during(
    `attaching ${name}`,
    connect({
      home,
      name,
      timeoutMs: numberOf(options.timeout, "--timeout", 1, timeoutMsMax),
      // What is said by --via needs no domain on this machine.
      ...((discovery === undefined || options.token === undefined) && { config: home.config(options, name) }),
      ...(discovery && { discovery }),
      ...(options.registry !== undefined && { registry: options.registry }),
      ...tokenOf(options),
    }),
  );
  const show = (): void => {
    const { gateway, state, discovery: found } = agent.status();
    out.result({ agent: agent.id, state, gateway, discovery: found }, () => describeDiscovery(gateway, found));
  };
  show();
  if (options.once === true) return;
  const stop = interruption();
  const end = agent.onEvent((event) => {
    if (event.type === "attached") show();
    else if (event.type === "detached") out.line(`detached: ${event.error.message}`);
    else if (event.type === "reconnecting") out.line(`no gateway yet; next round in ${Math.round(event.inMs)} ms`);
  });
  await stop;
  end();
}

/** The gateway, how it was found, and what was not used on the way. */
export function describeDiscovery(gateway: string | undefined, found: AgentReport["discovery"]): string {
  const { chosen, passedOver } = found;
  return [
    chosen
      ? `attached to ${gateway ?? "a gateway"} at ${chosen.endpoint}, found by ${chosen.method}: ${chosen.reason}`
      : "not attached",
    ...passedOver.map(
      ({ method, endpoint, why }) => `  not used: ${endpoint === "" ? method : `${endpoint} (${method})`}: ${why}`,
    ),
  ].join("\n");
}
