/**
 * The text format of OpenMetrics 1.0, which Prometheus and its kin read. Names and labels are code, values are numbers;
 * what reads it back is a test.
 */
import { refuse } from "./errors.ts";

/** One value of a family. */
export interface MetricSample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Samples of one name. A counter's name ends in `_total`. */
export interface MetricFamily {
  readonly name: string;
  readonly type: "gauge" | "counter";
  /** One sentence. */
  readonly help: string;
  /** Last part of the name when it is one, for example bytes or seconds. */
  readonly unit?: string;
  readonly samples: readonly MetricSample[];
}

/** Content type of the text. */
export const openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** Writes the families in the order given. Throws CAUSEWAY_MISUSE for a name that the format does not allow. */
export function openMetricsText(families: readonly MetricFamily[]): string {
  const seen = new Set<string>();
  const lines: string[] = [];
  for (const { name, type, help, unit, samples } of families) {
    const family = type === "counter" ? name.replace(/_total$/, "") : name;
    const isNamed = namePattern.test(name) && !seen.has(family) && (type === "counter") === name.endsWith("_total");
    if (!isNamed || (unit !== undefined && !family.endsWith(`_${unit}`)))
      throw refuse("CAUSEWAY_MISUSE", `expected a new name of a ${type} that ends in its unit, got ${name}`);
    seen.add(family);
    lines.push(`# TYPE ${family} ${type}`);
    if (unit !== undefined) lines.push(`# UNIT ${family} ${unit}`);
    lines.push(`# HELP ${family} ${escape(help)}`);
    for (const { labels, value } of samples) lines.push(`${name}${labelText(labels)} ${numberText(value)}`);
  }
  return `${lines.join("\n")}${lines.length > 0 ? "\n" : ""}# EOF\n`;
}

function labelText(labels: MetricSample["labels"]): string {
  const pairs = Object.entries(labels ?? {}).map(([name, value]) => `${name}="${escape(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

const escape = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

const namePattern = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
