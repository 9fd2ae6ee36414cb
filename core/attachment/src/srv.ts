/** SRV records (RFC 2782) that name gateways, in the order in which they are to be tried. */

export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  /** Empty, or a dot, says that there is no such service here. */
  readonly target: string;
}

/** Lowest priority value first; among equal ones chance decides by weight. `fraction` answers in [0, 1). */
export function orderSrv(records: readonly SrvRecord[], fraction: () => number): readonly SrvRecord[] {
  const rest = records
    .filter(({ target }) => target !== "" && target !== ".")
    .toSorted((a, b) => a.priority - b.priority || a.weight - b.weight);
  const ordered: SrvRecord[] = [];
  while (rest.length > 0) {
    const priority = rest[0]?.priority;
    const level = rest.filter((record) => record.priority === priority);
    const total = level.reduce((sum, { weight }) => sum + weight, 0);
    let left = Math.floor(fraction() * (total + 1));
    const chosen = level.find(({ weight }) => (left -= weight) <= 0) ?? level[0];
    if (chosen === undefined) break;
    ordered.push(chosen);
    rest.splice(rest.indexOf(chosen), 1);
  }
  return ordered;
}
