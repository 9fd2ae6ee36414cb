/** A certificate for a monitoring system of another make, as files, renewed for as long as the command runs. */
import { resolve } from "node:path";
import { createLog } from "@causeway/adapter-telemetry";
import type { Command } from "commander";
import { runService } from "../processes/lifecycle.ts";
import { tokenOf } from "./acting.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";

/** Any time; nothing happens then. */
const aliveMs = 3_600_000;

interface MonitorCommandOptions extends CommonOptions {
  readonly name: string;
  readonly token?: string;
  readonly once?: boolean;
}

export function addMonitorCommand(program: Command): void {
  withCommonOptions(program.command("monitor <dir>"))
    .description(
      "keep cert.pem, key.pem and ca.pem in a folder, with which Prometheus reads /metrics and nothing else; renews them until Ctrl-C",
    )
    .option("--name <name>", "its identity is <domain>/monitor/<name>", "prometheus")
    .option("--token <token>", "join token, when the operator's identity is not on this machine")
    .option("--once", "write the files, renewed when they are due, and end: for a timer that comes every hour")
    .action(monitor);
}

async function monitor(dir: string, options: MonitorCommandOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const config = home.config(options);
  const directory = resolve(dir);
  const log = createLog({ level: "warn", fields: { service: "monitor" } });
  const { openMonitor } = await import("../processes/monitor.ts");
  const open = async (signal?: AbortSignal) => {
    const { name } = options;
    const opening = openMonitor({ home, config, name, directory, log, ...tokenOf(options), ...(signal && { signal }) });
    const opened = await out.during(`getting a certificate for ${config.domain}/monitor/${name}`, opening);
    if (options.once === true) {
      try {
        await opened.renewIfDue();
      } catch (thrown) {
        await opened.stop();
        throw thrown;
      }
    }
    const { spiffeId } = opened;
    const notAfterUnixMs = opened.notAfterUnixMs();
    const until = new Date(notAfterUnixMs).toISOString();
    const rest = options.once === true ? "" : " It is renewed until Ctrl-C.";
    out.result(
      { ok: true, spiffeId, directory, notAfterUnixMs },
      () => `${directory} has cert.pem, key.pem and ca.pem of ${spiffeId}, until ${until}.${rest}`,
    );
    return opened;
  };
  if (options.once === true) await (await open()).stop();
  else {
    await runService(log, async (signal) => {
      const opened = await open(signal);
      // It listens nowhere: while it waits to reach the authority again, nothing else keeps the process.
      const alive = setInterval(() => undefined, aliveMs);
      return {
        url: opened.spiffeId,
        async stop() {
          clearInterval(alive);
          await opened.stop();
        },
      };
    });
  }
}
