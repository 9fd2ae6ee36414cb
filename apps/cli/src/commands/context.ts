/** What every command gets: options that all have, and where to write. */
import type { Command } from "commander";
import { Home } from "../home.ts";
import { createOutput, type Output } from "../terminal/output.ts";

/** Options that every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly home?: string;
  readonly config?: string;
  readonly domain?: string;
}

export interface Context {
  readonly out: Output;
  readonly home: Home;
}

/** Adds the common options to a command. */
export function withCommonOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON value instead of text")
    .option("--home <dir>", "where configuration, keys and state are (default: CAUSEWAY_HOME or ./.causeway)")
    .option(
      "--domain <domain>",
      "which domain of the home (default: CAUSEWAY_DOMAIN, that of the agent named, or the only one)",
    )
    .option("--config <file>", "a domain configuration outside of the home");
}

export function contextOf(options: CommonOptions): Context {
  return { out: createOutput({ json: options.json === true }), home: new Home(options.home) };
}
