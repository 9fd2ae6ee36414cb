/** The program `causeway`: the one place that composes rooms, reads the environment and ends the process. */
import { Command } from "commander";
import { addA2aCommands } from "./commands/a2a.ts";
import { addAgentCommands } from "./commands/agents.ts";
import { addBenchCommand } from "./commands/bench.ts";
import { addCertCommands } from "./commands/cert.ts";
import { addEventCommands } from "./commands/events.ts";
import { addFindGatewayCommand } from "./commands/find-gateway.ts";
import { addLimitCommands } from "./commands/limits.ts";
import { addMailboxCommands } from "./commands/mailboxes.ts";
import { addMetricsCommand } from "./commands/metrics.ts";
import { addMonitorCommand } from "./commands/monitor.ts";
import { addNetworkCommands } from "./commands/network.ts";
import { addServiceCommands } from "./commands/services.ts";
import { addTableCommands } from "./commands/tables.ts";
import { addTopicCommands } from "./commands/topics.ts";
import type { ChildReport } from "./processes/supervisor.ts";
import { failureOf } from "./terminal/failure.ts";

/** Time for output to leave after the end. */
const lastWordsMs = 500;

const isJson = process.argv.includes("--json");
const program = new Command("causeway")
  .description(
    "The agent gateway network: identity, attachment, discovery and end-to-end encrypted messages between agents.",
  )
  .version("0.1.0")
  .showHelpAfterError("(causeway --help lists the commands)")
  .showSuggestionAfterError()
  .exitOverride();

addServiceCommands(program);
addA2aCommands(program);
addFindGatewayCommand(program);
addAgentCommands(program);
addTopicCommands(program);
addMailboxCommands(program);
addLimitCommands(program);
addMetricsCommand(program);
addMonitorCommand(program);
addCertCommands(program);
addNetworkCommands(program);
addTableCommands(program);
addEventCommands(program);
addBenchCommand(program);
program
  .command("demo")
  .description("two domains on this machine, agents, an encrypted exchange, and the story of it")
  .option("--once", "do it once and exit")
  .option("--json", "print one JSON object as the last line")
  .option("--home <dir>", "where to keep it (default: CAUSEWAY_HOME or ./.causeway)")
  .action(async (options: { readonly once?: boolean; readonly json?: boolean; readonly home?: string }) => {
    const { demo } = await import("./demo/demo.ts");
    process.exitCode = await demo(options);
  });

// Whoever read our output and left, as `head` does, wants no more of it.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
try {
  await program.parseAsync();
} catch (thrown) {
  const failure = failureOf(thrown);
  if (failure !== undefined) {
    if (isJson) process.stdout.write(`${failure.json}\n`);
    else if (failure.text !== "") process.stderr.write(`${failure.text}\n`);
    const { code, message } = failure;
    process.send?.({ failed: { code, message } } satisfies ChildReport);
    process.exitCode = failure.exitCode;
  }
}
// The work is over: what was left open must not keep the process; whatever it still has to say gets a moment.
setTimeout(() => process.exit(), lastWordsMs).unref();
