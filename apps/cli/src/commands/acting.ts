/**
 * In whose name a command acts. What that takes is loaded when the command runs: each process of a domain is this
 * program too, and pays for everything that it imports.
 */
import type { Agent } from "@causeway/agent";
import { CausewayError } from "@causeway/core-base";
import type { Command } from "commander";
import type { DomainConfig } from "../config/domain.ts";
import type { AgentOptions } from "../processes/agents.ts";
import type { Operator } from "../processes/operator.ts";
import { type CommonOptions, type Context, contextOf, withCommonOptions } from "./context.ts";

/** Options of commands that act as an agent. */
export interface AgentCommandOptions extends CommonOptions {
  readonly as?: string;
  readonly token?: string;
}

/** Someone waits at a terminal; a gateway that is not there is told soon. */
const attachMs = 10_000;

/** Commands of one domain at once without a name of their own. */
const atOnceMax = 16;

export function withAgentOptions(command: Command): Command {
  return withCommonOptions(command)
    .option("--as <name>", "Agent ID to act as (default: <domain>/cli/main)")
    .option("--token <token>", "join token, when the operator's identity is not on this machine");
}

/** Acts as an agent, attached while `use` runs; nobody finds it unless it is advertised. */
export async function asAgent<T>(
  options: AgentCommandOptions,
  use: (agent: Agent, config: DomainConfig) => Promise<T>,
  { advertise = false }: { readonly advertise?: boolean } = {},
): Promise<T> {
  const { out, home } = contextOf(options);
  const config = home.config(options, options.as);
  const connectAs = (name: string): Promise<Agent> =>
    out.during(
      `connecting ${name}`,
      connect({
        home,
        config,
        name,
        advertise,
        instance: `cli-${process.pid}`,
        timeoutMs: attachMs,
        ...tokenOf(options),
      }),
    );
  const { as } = options;
  await using agent = await (as === undefined ? firstFree(`${config.domain}/cli/main`, connectAs) : connectAs(as));
  return await use(agent, config);
}

/** Acts as the operator of the domain; `agentName` tells which domain that is, among several. */
export async function asOperator(
  options: CommonOptions,
  use: (operator: Operator, context: Context) => Promise<void>,
  agentName?: string,
): Promise<void> {
  const context = contextOf(options);
  const config = context.home.config(options, agentName);
  const { Operator } = await import("../processes/operator.ts");
  await using operator = await context.out.during(`opening the operator of ${config.domain}`, Operator.open(config));
  await use(operator, context);
}

export const tokenOf = (options: { readonly token?: string }): { readonly token?: string } =>
  options.token === undefined ? {} : { token: options.token };

/** Connects an agent that is kept under the home. */
export async function connect(options: AgentOptions): Promise<Agent> {
  const { connectAgent } = await import("../processes/agents.ts");
  return await connectAgent(options);
}

/** Commands that run at the same time act as agents of their own: `main`, `main-2` and so on. */
async function firstFree(name: string, connectAs: (name: string) => Promise<Agent>): Promise<Agent> {
  for (let number = 1; ; number++) {
    try {
      return await connectAs(number === 1 ? name : `${name}-${number}`);
    } catch (thrown) {
      if (CausewayError.from(thrown).code !== "CAUSEWAY_STORE_IN_USE" || number === atOnceMax) throw thrown;
    }
  }
}
