import type { MetricFamily } from "@causeway/core-base";

/** Connections of each IO worker, among the counters of the status. */
export function workerCounters(connections: readonly number[] | undefined): Readonly<Record<string, number>> {
  return Object.fromEntries(
    (connections ?? []).map((count, i) => [`causeway_gateway_worker_${i}_connections`, count] as const),
  );
}

/** The same as a metric; nothing where there are no workers. */
export function workerFamilies(connections: readonly number[] | undefined): readonly MetricFamily[] {
  if (connections === undefined || connections.length === 0) return [];
  return [
    {
      name: "causeway_worker_connections",
      type: "gauge",
      help: "TCP connections of each thread that does TCP and TLS.",
      samples: connections.map((value, i) => ({ labels: { worker: String(i) }, value })),
    },
  ];
}
