/**
 * What the metrics of every service have in common (AAP-103): tables with their bounds, calls and why they were refused,
 * and what the process uses. Which tables there are, and what is counted, is the service's matter.
 */
import { type MetricFamily, openMetricsText } from "./open-metrics.ts";

/** How full a table is. What it is not bounded by, or not counted in, is left out. */
export interface TableSize {
  readonly entries?: number;
  readonly entriesMax?: number;
  readonly bytes?: number;
  readonly bytesMax?: number;
}

/** What a process uses. */
export interface ProcessUsage {
  /** Processor time, all threads together. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** Longest delay of the event loop since the last reading. */
  readonly loopDelaySeconds: number;
}

/** Names and meaning of the families of tables. */
export const tableFamilyHelps: Readonly<Record<keyof TableSize, readonly [name: string, help: string, unit?: string]>> =
  {
    entries: ["causeway_table_entries", "Entries of each table and queue now."],
    entriesMax: ["causeway_table_entries_max", "Entries that each table and queue takes at most."],
    bytes: ["causeway_table_bytes", "Bytes of each table and queue now.", "bytes"],
    bytesMax: ["causeway_table_bytes_max", "Bytes that each table and queue takes at most."],
  };

/** Tables by name, in the order given. */
export function tableFamilies(sizes: Readonly<Record<string, TableSize>>): readonly MetricFamily[] {
  return (Object.keys(tableFamilyHelps) as (keyof TableSize)[]).map((kind) => {
    const [name, help, unit] = tableFamilyHelps[kind];
    const samples = Object.entries(sizes).flatMap(([table, size]) => {
      const value = size[kind];
      return value === undefined ? [] : [{ labels: { table }, value }];
    });
    return { name, type: "gauge", help, ...(unit !== undefined && { unit }), samples };
  });
}

/** What the process uses, under the names that every exporter has; and when it started, as `startName`. */
export function processFamilies(
  usage: ProcessUsage | undefined,
  startName: `${string}_start_time_seconds`,
  startedUnixMs: number,
): readonly MetricFamily[] {
  const gauge = (name: string, help: string, value: number, unit: string): MetricFamily => ({
    name,
    type: "gauge",
    help,
    unit,
    samples: [{ value }],
  });
  const started = gauge(startName, "When it started, in Unix time.", startedUnixMs / 1_000, "seconds");
  if (usage === undefined) return [started];
  return [
    started,
    {
      name: "process_cpu_seconds_total",
      type: "counter",
      unit: "seconds",
      help: "Processor time used by the process, all threads together.",
      samples: [{ value: usage.cpuSeconds }],
    },
    gauge("process_resident_memory_bytes", "Memory of the process.", usage.residentBytes, "bytes"),
    gauge("process_heap_bytes", "JavaScript heap in use.", usage.heapBytes, "bytes"),
    gauge(
      "causeway_event_loop_delay_seconds",
      "Longest delay of the event loop since the last reading.",
      usage.loopDelaySeconds,
      "seconds",
    ),
  ];
}

/** Calls of a service by method, and refusals by code: as many of each as there are methods and codes. */
export class CallTally {
  readonly #calls = new Map<string, number>();
  readonly #refused = new Map<string, number>();

  addCall(method: string): void {
    this.#calls.set(method, (this.#calls.get(method) ?? 0) + 1);
  }

  /** `code` is one of the table of errors. */
  addRefusal(code: string): void {
    const short = code.replace(/^CAUSEWAY_/, "").toLowerCase();
    this.#refused.set(short, (this.#refused.get(short) ?? 0) + 1);
  }

  /** `<prefix>_calls_total` and `<prefix>_refused_total`, sorted. */
  families(prefix: string): readonly MetricFamily[] {
    const family = (name: string, help: string, label: string, counts: ReadonlyMap<string, number>): MetricFamily => ({
      name: `${prefix}_${name}_total`,
      type: "counter",
      help,
      samples: [...counts]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => ({ labels: { [label]: key }, value })),
    });
    return [
      family("calls", callHelps.calls, "method", this.#calls),
      family("refused", callHelps.refused, "code", this.#refused),
    ];
  }
}

/** Meaning of the families of `CallTally`. */
export const callHelps = {
  calls: "Calls by method, refused ones included.",
  refused: "Calls refused, by error code; limit_rate is over a rate limit.",
} as const;

/** What is told of a service that answers calls. */
export interface CallServiceMetrics {
  /** By table. */
  readonly sizes: Readonly<Record<string, TableSize>>;
  readonly calls: CallTally;
  readonly usage: ProcessUsage | undefined;
  readonly startedUnixMs: number;
}

/** The text of now, of a service whose families begin with `prefix`. */
export function callServiceText(prefix: string, { sizes, calls, usage, startedUnixMs }: CallServiceMetrics): string {
  return openMetricsText([
    ...tableFamilies(sizes),
    ...calls.families(prefix),
    ...processFamilies(usage, `${prefix}_start_time_seconds`, startedUnixMs),
  ]);
}
