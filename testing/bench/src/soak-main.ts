/** `npm run soak -- --agents 10000 --minutes 5`: figures of many idle agents at one gateway. */
import { parseArgs } from "node:util";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "10000" },
    minutes: { type: "string", default: "2" },
    clients: { type: "string", default: "4" },
    json: { type: "boolean", default: false },
  },
});
const number = (name: "agents" | "minutes" | "clients", max: number): number => {
  const value = Number(values[name]);
  if (value > 0 && value <= max) return value;
  throw new Error(`expected --${name} above 0 and up to ${max}, got ${values[name]}`);
};
const report = await soak({
  agents: number("agents", 100_000),
  idleMs: number("minutes", 10_000) * 60_000,
  clients: number("clients", 64),
  ...(!values.json && { onProgress: (line) => process.stderr.write(`${line}\n`) }),
});
const isWell = report.attached === report.agents && report.lost === 0;
const figure = (value: number | undefined, unit: string): string =>
  value === undefined ? "not known on this system" : `${value.toFixed(2)} ${unit}`;
process.stdout.write(
  values.json
    ? `${JSON.stringify(report)}\n`
    : `agents attached       ${report.attached} of ${report.agents}, ${report.lost} lost, ${report.acknowledged} heartbeats answered
RSS per idle agent    ${figure(report.rssKbPerAgent, "KB")}
attach, gateway CPU   ${figure(report.attachCpuMs, "ms")}
idle, gateway CPU     ${figure(report.idleCpuMsPerMinute, "ms per agent and minute")}
connections per agent ${figure(report.connectionsPerAgent, "")}
`,
);
process.exitCode = isWell ? 0 : 1;
