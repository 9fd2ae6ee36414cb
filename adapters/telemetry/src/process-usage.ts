import { monitorEventLoopDelay } from "node:perf_hooks";
import type { ProcessUsage } from "@causeway/core-base";

/** Distance of the samples of the event loop's delay. */
const sampleMs = 20;

/** Watches this process from now on; call the result to read. */
export function watchProcess(): () => ProcessUsage {
  const delay = monitorEventLoopDelay({ resolution: sampleMs });
  delay.enable();
  return () => {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    const loopDelaySeconds = delay.count === 0 ? 0 : Math.max(0, delay.max / 1e9 - sampleMs / 1e3);
    delay.reset();
    return { cpuSeconds: (user + system) / 1e6, residentBytes: rss, heapBytes: heapUsed, loopDelaySeconds };
  };
}
