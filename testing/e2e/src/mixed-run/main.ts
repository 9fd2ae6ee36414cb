/**
 * `npm run mixed -- --agents 1000 --minutes 10`: agents of two domains that send messages, ask, stream and publish at the
 * same time. Prints what came of it; exit code 1 when anything was lost, repeated or refused, or memory grew.
 */
import { parseArgs } from "node:util";
import { type MixedReport, runMixed } from "./run.ts";

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "1000" },
    minutes: { type: "string", default: "10" },
    pause: { type: "string", default: "10000" },
    json: { type: "boolean", default: false },
  },
});
const number = (name: "agents" | "minutes" | "pause", min: number, max: number): number => {
  const value = Number(values[name]);
  if (value >= min && value <= max) return value;
  throw new Error(`expected --${name} from ${min} to ${max}, got ${values[name]}`);
};
const report = await runMixed({
  agents: number("agents", 4, 10_000),
  forMs: number("minutes", 0.05, 10_000) * 60_000,
  pauseMs: number("pause", 0, 600_000),
  ...(!values.json && { onProgress: (line) => process.stderr.write(`${line}\n`) }),
});
process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : textOf(report));
process.exitCode = isWell(report) ? 0 : 1;

function isWell({ agents, attached, lost, repeated, held, failed, linksLost, memory }: MixedReport): boolean {
  const isCalm = attached === agents && linksLost === 0 && memory.every(({ isBounded }) => isBounded);
  return isCalm && lost.length + repeated.length + held + Object.keys(failed).length === 0;
}

function textOf(report: MixedReport): string {
  const { agents, attached, seconds, acknowledged, lost, repeated, held, failed, linksLost, memory, delays } = report;
  const ms = (micros: number): string => (micros / 1_000).toFixed(1).padStart(9);
  const lines = [
    `agents        ${attached} of ${agents} attached after ${seconds} s; ${linksLost} links lost`,
    `acknowledged  ${Object.entries(acknowledged)
      .map(([kind, count]) => `${kind} ${count}`)
      .join(", ")}`,
    `lost          ${lost.length} ${lost.slice(0, 5).join(", ")}`,
    `repeated      ${repeated.length} ${repeated.slice(0, 5).join(", ")}`,
    `held back     ${held}`,
    `failed        ${JSON.stringify(failed)}`,
    "",
    "delay in ms                 p50       p99       max",
    ...Object.entries(delays).map(
      ([label, { p50Micros, p99Micros, maxMicros }]) =>
        `${label.padEnd(20)}${ms(p50Micros)} ${ms(p99Micros)} ${ms(maxMicros)}`,
    ),
    "",
    "memory in MB, most in the first and in the second half",
    ...memory.map(
      ({ process, firstHalfMaxMb, secondHalfMaxMb, isBounded }) =>
        `${process.padEnd(26)} ${firstHalfMaxMb}  ${secondHalfMaxMb}${isBounded ? "" : "  grew"}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
