/**
 * `npm run soak -- --agents 10000 --minutes 5`: figures of many idle agents at one gateway. Exit code 1 when an agent that
 * is there is given up, one that has fallen silent stays listed, or an agent has more than one connection.
 */
import { parseArgs } from "node:util";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "10000" },
    minutes: { type: "string", default: "2" },
    clients: { type: "string", default: "4" },
    silenced: { type: "string", default: "0" },
    json: { type: "boolean", default: false },
  },
});
const number = (name: "agents" | "minutes" | "clients" | "silenced", max: number, min = Number.MIN_VALUE): number => {
  const value = Number(values[name]);
  if (value >= min && value <= max) return value;
  throw new Error(`expected --${name} ${min === 0 ? "from 0" : "above 0"} and up to ${max}, got ${values[name]}`);
};
const agents = number("agents", 100_000);
const report = await soak({
  agents,
  silenced: number("silenced", agents - 1, 0),
  idleMs: number("minutes", 10_000) * 60_000,
  clients: number("clients", 64),
  ...(!values.json && { onProgress: (line) => process.stderr.write(`${line}\n`) }),
});
const isEachListed = report.listed === agents - report.silenced;
const isSilenceNoticed = report.silenced === 0 || report.silencedListedMs !== undefined;
const isOneConnection = Math.abs((report.connectionsPerAgent ?? 1) - 1) < 0.01 || agents < 1_000;
const isWell = report.attached === agents && report.lost === 0 && isEachListed && isSilenceNoticed && isOneConnection;
const figure = (value: number | undefined, unit: string): string =>
  value === undefined ? "not known on this system" : `${value.toFixed(2)} ${unit}`;
const listedText =
  report.silenced === 0
    ? ""
    : `; the last of ${report.silenced} silent ones after ${figure(report.silencedListedMs && report.silencedListedMs / 1_000, "s")}`;
process.stdout.write(
  values.json
    ? `${JSON.stringify(report)}\n`
    : `agents attached       ${report.attached} of ${report.agents}, ${report.lost} lost, ${report.acknowledged} heartbeats answered
listed at the gateway ${report.listed}${listedText}
RSS per idle agent    ${figure(report.rssKbPerAgent, "KB")}
attach, gateway CPU   ${figure(report.attachCpuMs, "ms")}
idle, gateway CPU     ${figure(report.idleCpuMsPerMinute, "ms per agent and minute")}
connections per agent ${figure(report.connectionsPerAgent, "")}
`,
);
process.exitCode = isWell ? 0 : 1;
