/** Connections of each IO worker, as counters of the status. */
export function workerCounters(connections: readonly number[] | undefined): Readonly<Record<string, number>> {
  return Object.fromEntries(
    (connections ?? []).map((count, i) => [`causeway_gateway_worker_${i}_connections`, count] as const),
  );
}
