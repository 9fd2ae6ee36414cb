import type { Verdict } from "./figures.ts";
import type { Sample } from "./measure.ts";

/** Median with the range over the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** All rounds of one system and size. */
export interface Row {
  readonly system: string;
  readonly size: number;
  readonly rounds: number;
  readonly messagesPerSecond: Spread;
  readonly gatewayCpuPerMillion: Spread | undefined;
  readonly roundTripP50Micros: Spread;
  readonly roundTripP99Micros: Spread;
  readonly lost: Spread;
}

/** Ours in units of a peer's: above 1 is more. */
export interface Ratio {
  readonly system: string;
  readonly peer: string;
  readonly size: number;
  readonly messagesPerSecond: number;
  readonly gatewayCpuPerMillion: number | undefined;
  readonly roundTripP50Micros: number;
  readonly roundTripP99Micros: number;
}

/** One row for each system and size, in the order in which they were measured first. */
export function summarise(samples: readonly Sample[]): readonly Row[] {
  const groups = Map.groupBy(samples, (sample) => `${sample.size} ${sample.system}`);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const cpus = group.flatMap((s) => (s.gatewayCpuPerMillion === undefined ? [] : [s.gatewayCpuPerMillion]));
    return [
      {
        system: first.system,
        size: first.size,
        rounds: group.length,
        messagesPerSecond: spread(group.map((s) => s.messagesPerSecond)),
        gatewayCpuPerMillion: cpus.length === 0 ? undefined : spread(cpus),
        roundTripP50Micros: spread(group.map((s) => s.roundTripP50Micros)),
        roundTripP99Micros: spread(group.map((s) => s.roundTripP99Micros)),
        lost: spread(group.map((s) => s.lost)),
      },
    ];
  });
}

/** Medians of `system` divided by those of every peer. */
export function ratiosOf(rows: readonly Row[], system: string): readonly Ratio[] {
  return rows
    .filter((row) => row.system === system)
    .flatMap((own) =>
      rows
        .filter((row) => row.size === own.size && row.system !== system)
        .map((peer) => ({
          system,
          peer: peer.system,
          size: own.size,
          messagesPerSecond: own.messagesPerSecond.median / peer.messagesPerSecond.median,
          gatewayCpuPerMillion:
            own.gatewayCpuPerMillion === undefined || peer.gatewayCpuPerMillion === undefined
              ? undefined
              : own.gatewayCpuPerMillion.median / peer.gatewayCpuPerMillion.median,
          roundTripP50Micros: own.roundTripP50Micros.median / peer.roundTripP50Micros.median,
          roundTripP99Micros: own.roundTripP99Micros.median / peer.roundTripP99Micros.median,
        })),
    );
}

/** The table for people. */
export function renderTable(rows: readonly Row[], ratios: readonly Ratio[]): string {
  const bySize = Map.groupBy(rows, (row) => row.size);
  const lines: string[][] = [
    ["payload", "system", "messages/s", "gateway CPU-s per M", "round trip p50 µs", "round trip p99 µs", "lost"],
  ];
  for (const [size, group] of bySize) {
    for (const row of group) {
      lines.push([
        `${size} B`,
        row.system,
        range(row.messagesPerSecond, 0),
        row.gatewayCpuPerMillion === undefined ? "-" : range(row.gatewayCpuPerMillion, 2),
        range(row.roundTripP50Micros, 0),
        range(row.roundTripP99Micros, 0),
        `${(row.lost.median * 100).toFixed(2)} %`,
      ]);
    }
  }
  const ratioLines: string[][] = [
    ["payload", "ratio", "messages/s", "gateway CPU-s per M", "round trip p50", "round trip p99"],
  ];
  for (const ratio of ratios) {
    ratioLines.push([
      `${ratio.size} B`,
      `${ratio.system} / ${ratio.peer}`,
      ratio.messagesPerSecond.toFixed(2),
      ratio.gatewayCpuPerMillion?.toFixed(2) ?? "-",
      ratio.roundTripP50Micros.toFixed(2),
      ratio.roundTripP99Micros.toFixed(2),
    ]);
  }
  return `${columns(lines)}\n\n${ratios.length === 0 ? "" : `${columns(ratioLines)}\n`}`;
}

/** The targets for people, the missed ones marked. */
export function renderVerdicts(verdicts: readonly Verdict[]): string {
  if (verdicts.length === 0) return "";
  const short = (value: number | undefined): string => (value === undefined ? "" : grouped(value, value < 100 ? 2 : 0));
  const lines = verdicts.map(({ measure, by, ours, peer, value, better, must, aim, outcome }) => [
    measure,
    by === undefined ? "" : by.system,
    short(ours),
    short(peer),
    short(value),
    `${better === "lower" ? "≤" : "≥"} ${must}`,
    aim === undefined ? "" : `${better === "lower" ? "≤" : "≥"} ${aim}`,
    outcome === "missed" ? "MISSED" : outcome,
  ]);
  return `${columns([["measure", "against", "ours", "theirs", "value", "must", "aim", "reached"], ...lines])}\n`;
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const median =
    sorted.length % 2 === 1 ? at(sorted, Math.floor(middle)) : (at(sorted, middle - 1) + at(sorted, middle)) / 2;
  return { median, min: at(sorted, 0), max: at(sorted, sorted.length - 1) };
}

const at = (values: readonly number[], index: number): number => values[index] ?? Number.NaN;

const grouped = (value: number, digits: number): string =>
  value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function range(value: Spread, digits: number): string {
  if (value.min === value.max) return grouped(value.median, digits);
  return `${grouped(value.median, digits)} (${grouped(value.min, digits)} to ${grouped(value.max, digits)})`;
}

/** Lines of cells, aligned. */
export function columns(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) =>
      line.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "),
    )
    .join("\n");
}
