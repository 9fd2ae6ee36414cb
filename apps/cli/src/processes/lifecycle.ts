/** What every service process does alike: tell the supervisor that it serves, stop on a signal, free what it opened. */
import type { Log } from "@causeway/core-base";
import { exitCodeOf, interruption } from "../terminal/interruption.ts";
import type { ChildReport } from "./supervisor.ts";

/** A process that serves until `stop`. */
export interface RunningService {
  readonly url: string;
  /** Resolves when the service has ended by itself, as a gateway does that an operator drained. */
  readonly ended?: Promise<void>;
  /** Takes over what the configuration says now of what can change while it runs. `by` is who asked. */
  reload?(by: string): void;
  stop(): Promise<void>;
}

/** Time after which a process that does not end by itself is ended. */
const lastResortMs = 10_000;

/** SIGHUP: the configuration is read again. What is wrong with it is in the log, and everything stays as it was. */
function reload(service: RunningService, log: Log): void {
  if (service.reload === undefined) {
    log.info("process.reload_ignored", { what: "this service has nothing that can change while it runs" });
    return;
  }
  try {
    service.reload("SIGHUP");
  } catch (thrown) {
    log.warn("process.reload_refused", { reason: thrown instanceof Error ? thrown.message : "failed" });
  }
}

/** Starts a service, reports that it serves, and resolves after SIGINT, SIGTERM or its own end when it has stopped. */
export async function runService(log: Log, start: (signal: AbortSignal) => Promise<RunningService>): Promise<void> {
  const abort = new AbortController();
  const { promise: stopped, resolve: end } = Promise.withResolvers<void>();
  abort.signal.addEventListener("abort", () => end());
  void interruption().then((signal) => {
    log.info("process.stop_requested", { signal });
    abort.abort();
  });
  // A supervisor that is gone takes its services with it.
  process.once("disconnect", () => {
    log.warn("process.supervisor_lost");
    abort.abort();
  });
  const service = await startedOrStopped();
  if (service === undefined) return;
  log.info("process.ready", { url: service.url });
  const hangUp = (): void => reload(service, log);
  // Of a terminal that is closed, the signal means the end, as it does without us.
  if (!process.stderr.isTTY) process.on("SIGHUP", hangUp);
  process.send?.({ ready: true, url: service.url } satisfies ChildReport);
  void service.ended?.then(() => {
    if (abort.signal.aborted) return;
    log.info("process.service_ended", { what: "it was drained and is not started again" });
    process.send?.({ ended: true } satisfies ChildReport);
    end();
  });
  await stopped;
  process.removeListener("SIGHUP", hangUp);
  setTimeout(() => process.exit(1), lastResortMs).unref();
  await service.stop();
  log.info("process.stopped");
  process.removeAllListeners("disconnect");
  if (process.connected) process.disconnect();

  /** Undefined when it was stopped before it served. */
  async function startedOrStopped(): Promise<RunningService | undefined> {
    try {
      return await start(abort.signal);
    } catch (thrown) {
      if (!abort.signal.aborted) throw thrown;
      process.exitCode = exitCodeOf("SIGINT");
      return undefined;
    }
  }
}
