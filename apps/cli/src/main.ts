/** The program `causeway`: the one place that composes rooms, reads the environment and ends the process. */
import { Command, CommanderError } from "commander";
import { addAgentCommands } from "./commands/agents.ts";
import { addOperatorCommands } from "./commands/operators.ts";
import { addServiceCommands } from "./commands/services.ts";
import { reportFailure } from "./terminal/output.ts";

/** Time for output to leave after the end. */
const lastWordsMs = 500;

const program = new Command("causeway")
  .description(
    "The agent gateway network: identity, attachment, discovery and end-to-end encrypted messages between agents.",
  )
  .version("0.1.0")
  .showHelpAfterError("(causeway --help lists the commands)")
  .showSuggestionAfterError()
  .exitOverride();

addServiceCommands(program);
addAgentCommands(program);
addOperatorCommands(program);
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

try {
  await program.parseAsync();
} catch (thrown) {
  process.exitCode =
    thrown instanceof CommanderError ? thrown.exitCode : reportFailure(thrown, process.argv.includes("--json"));
}
// The work is over: what was left open must not keep the process; whatever it still has to say gets a moment.
setTimeout(() => process.exit(), lastWordsMs).unref();
