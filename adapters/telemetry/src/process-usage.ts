import { monitorEventLoopDelay } from "node:perf_hooks";

/** What this process uses. */
export interface ProcessUsage {
  /** Processor time, all threads together. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** Longest delay of the event loop since the last reading. */
  readonly loopDelaySeconds: number;
}

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
