import { parseArgs } from "node:util";

/** What to measure. */
export interface BenchOptions {
  /** Rows to measure. */
  readonly rows: readonly string[];
  /** Idle agents, and the widest fan-out. */
  readonly idleAgents: number;
  readonly widest: number;
  readonly systems: readonly string[];
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** Time before a measurement, for connections and JIT to warm up. */
  readonly warmUpMs: number;
  readonly floodMs: number;
  readonly roundTripMs: number;
  readonly isJson: boolean;
  /** Where the JSON goes in addition. */
  readonly outFile: string | undefined;
}

export const usage = `Usage: npm run bench -- [options]

Measures Causeway and its peers in turn, gateway and clients in processes of their own, TLS 1.3 with client certificates,
and holds the ratios against the product's targets.

  --only a,b        rows: relay, pairs, fan-out, stopped, stored, classes, scale, idle, sdk (default: all these), and
                    workers: the gateway with none, one and two threads for its connections, on all cores
  --rounds N        rounds; in each, every system is measured once (default 5)
  --quick           one round of short measurements, to see that it runs
  --systems a,b     of causeway, nats, slim, link (default: causeway,nats,slim)
                    link: our transport with nothing but a name lookup behind it, as a floor
  --sizes a,b       payload bytes (default 100,1024,16384)
  --json            JSON on standard output; the table goes to standard error
  --out FILE        writes the JSON to FILE as well
`;

const defaultRows = ["relay", "pairs", "fan-out", "stopped", "stored", "classes", "scale", "idle", "sdk"];
const knownRows = [...defaultRows, "workers"];
const knownSystems = ["causeway", "nats", "slim", "link"];

/** Reads the command line. Throws a text for the user. */
export function readOptions(args: readonly string[]): BenchOptions | "help" {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      systems: { type: "string" },
      sizes: { type: "string" },
      json: { type: "boolean", default: false },
      out: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  const systems = values.systems?.split(",") ?? ["causeway", "nats", "slim"];
  for (const name of systems) {
    if (!knownSystems.includes(name))
      throw new Error(`expected systems of ${knownSystems.join(", ")}, got ${JSON.stringify(name)}`);
  }
  const rows = values.only?.split(",") ?? defaultRows;
  for (const name of rows) {
    if (!knownRows.includes(name))
      throw new Error(`expected rows of ${knownRows.join(", ")}, got ${JSON.stringify(name)}`);
  }
  return {
    rows,
    idleAgents: values.quick ? 1_000 : 10_000,
    widest: values.quick ? 1_000 : 10_000,
    systems,
    sizes: values.sizes?.split(",").map((text) => wholeNumber("--sizes", text, 4_000_000)) ?? [100, 1_024, 16_384],
    rounds: values.rounds !== undefined ? wholeNumber("--rounds", values.rounds, 1_000) : values.quick ? 1 : 5,
    warmUpMs: values.quick ? 300 : 1_000,
    floodMs: values.quick ? 1_000 : 4_000,
    roundTripMs: values.quick ? 500 : 2_000,
    isJson: values.json,
    outFile: values.out,
  };
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new Error(`expected ${name} from 1 to ${max}, got ${JSON.stringify(text)}`);
  return value;
}
