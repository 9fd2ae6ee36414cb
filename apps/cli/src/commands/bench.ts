/** Measuring the own installation: latency and rates between agents through its gateways. */
import { refuse } from "@causeway/core-base";
import type { Command } from "commander";
import { type Distribution, millis, plot } from "../bench/distribution.ts";
import type { Pair, Rate } from "../bench/measure.ts";
import { counted, type Output, table } from "../terminal/output.ts";
import { connect } from "./acting.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";
import { numberOf } from "./data.ts";

interface BenchCommandOptions extends CommonOptions {
  readonly pairs: string;
  readonly size: string;
  readonly seconds: string;
  readonly outstanding: string;
}

/** All of it, as `--json` prints it. */
interface BenchReport {
  readonly domain: string;
  /** Those that the agents were attached to. */
  readonly gateways: readonly string[];
  readonly pairs: number;
  readonly size: number;
  readonly seconds: number;
  readonly outstanding: number;
  readonly roundTrip: Distribution;
  readonly bestEffort: Rate;
  readonly acknowledged: Rate;
}

const pairsMax = 32;
const sizeMax = 1_048_576;
const secondsMax = 600;
const outstandingMax = 1_024;
/** Someone waits at a terminal; a gateway that is not there is told soon. */
const attachMs = 10_000;

export function addBenchCommand(program: Command): void {
  withCommonOptions(program.command("bench"))
    .description("measure the installation: latency and messages a second between agents through its gateways")
    .option("--pairs <n>", `senders, each with a receiver of its own, at most ${pairsMax}`, "1")
    .option("--size <bytes>", `bytes of a message, at most ${sizeMax}`, "1024")
    .option("--seconds <n>", `length of each of the three measurements, at most ${secondsMax}`, "5")
    .option("--outstanding <n>", `messages that a sender has under way, at most ${outstandingMax}`, "64")
    .action(bench);
}

async function bench(options: BenchCommandOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const count = numberOf(options.pairs, "--pairs", 1, pairsMax);
  const size = numberOf(options.size, "--size", 1, sizeMax);
  const seconds = numberOf(options.seconds, "--seconds", 1, secondsMax);
  const outstanding = numberOf(options.outstanding, "--outstanding", 1, outstandingMax);
  const config = home.config(options);
  await using agents = new AsyncDisposableStack();
  const open = async (name: string) => {
    const full = `${config.domain}/cli/${name}`;
    return agents.use(
      await out.during(`connecting ${full}`, connect({ home, config, name: full, timeoutMs: attachMs })),
    );
  };
  const pairs: Pair[] = [];
  for (let i = 1; i <= count; i++)
    pairs.push({ sender: await open(`bench-sender-${i}`), receiver: await open(`bench-receiver-${i}`) });
  const { Measurement } = await import("../bench/measure.ts");
  using measurement = new Measurement(pairs, { size, ms: seconds * 1_000, outstanding });
  const roundTrip = await out.during("measuring round trips", measurement.roundTrips());
  const bestEffort = await out.during("measuring best-effort messages", measurement.bestEffort());
  const acknowledged = await out.during("measuring acknowledged messages", measurement.acknowledged());
  const attachedTo = pairs.flatMap(({ sender, receiver }) => [sender, receiver]).map((each) => each.status().gateway);
  const gateways = [...new Set(attachedTo)].filter((gateway) => gateway !== undefined).toSorted();
  if (gateways.length === 0) throw refuse("CAUSEWAY_UNREACHABLE", `${config.domain} has ended every attachment`);
  const report: BenchReport = {
    domain: config.domain,
    gateways,
    pairs: count,
    size,
    seconds,
    outstanding,
    roundTrip,
    bestEffort,
    acknowledged,
  };
  out.result(report, (value) => render(value, out));
}

function render(report: BenchReport, { style }: Output): string {
  const { roundTrip, bestEffort, acknowledged, size, pairs } = report;
  const { minMicros, p50Micros, p90Micros, p99Micros, maxMicros, count } = roundTrip;
  const trips = [count.toLocaleString("en-GB"), ...[minMicros, p50Micros, p90Micros, p99Micros, maxMicros].map(millis)];
  const rate = (name: string, { sent, lost, messagesPerSecond, bytesPerSecond, refused }: Rate): string[] => [
    name,
    messagesPerSecond.toLocaleString("en-GB"),
    (bytesPerSecond / 1e6).toFixed(1),
    sent.toLocaleString("en-GB"),
    lost.toLocaleString("en-GB"),
    Object.entries(refused)
      .map(([code, times]) => `${code} ${times}`)
      .join(", ") || "-",
  ];
  return [
    style.bold(`${report.domain}, ${counted(pairs, "pair")} of agents, messages of ${size} bytes`),
    `gateways: ${report.gateways.join(", ")}`,
    "agents of this process, SDK to SDK, encrypted end to end: their work is in the figures",
    "",
    style.bold("round trip in ms, one request outstanding in each pair"),
    table(["requests", "least", "p50", "p90", "p99", "most"], [trips], ""),
    "",
    plot(roundTrip, style.good),
    "",
    style.bold(`sustained, ${report.outstanding} outstanding for each sender`),
    table(
      ["messages", "per second", "MB/s", "sent", "lost", "refused"],
      [rate("best-effort", bestEffort), rate("acknowledged", acknowledged)],
      "",
    ),
  ].join("\n");
}
