/**
 * `npm run signalling -- --agents 10000 --minutes 20`: frames and bytes of attachment for each agent and hour, soft
 * against stateful, counted on a virtual clock. Exit code 1 when soft costs more, or an agent was listed wrongly.
 */
import { parseArgs } from "node:util";
import type { CrowdReport } from "./crowd.ts";
import { compare, isAsPromised } from "./situations.ts";

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "10000" },
    minutes: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const number = (name: "agents" | "minutes" | "seed", max: number): number => {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value > 0 && value <= max) return value;
  throw new Error(`expected --${name} from 1 to ${max}, got ${values[name]}`);
};
const size = { agents: number("agents", 100_000), minutes: number("minutes", 1_440), seed: number("seed", 2 ** 32) };
const comparisons = compare(size);
const isFine = isAsPromised(comparisons);

const line = (what: string, model: string, { perAgentHour, handshakes, reaped, ghosts, listedMsMax }: CrowdReport) =>
  [
    what.padEnd(22),
    model.padEnd(8),
    perAgentHour.frames.toFixed(1).padStart(8),
    perAgentHour.bytes.toFixed(0).padStart(8),
    handshakes.frames.toFixed(1).padStart(10),
    String(reaped).padStart(7),
    String(ghosts).padStart(7),
    (listedMsMax / 1_000).toFixed(0).padStart(9),
  ].join(" ");

process.stdout.write(
  values.json
    ? `${JSON.stringify({ ok: isFine, ...size, comparisons })}\n`
    : [
        `${size.agents} agents, ${size.minutes} minutes; frames of attachment for each agent and hour, both ways`,
        "                       model      frames    bytes handshakes  reaped  ghosts  listed s",
        ...comparisons.flatMap(({ situation, stateful, soft }) => [
          line(situation, "stateful", stateful),
          line("", "soft", soft),
        ]),
        "",
      ].join("\n"),
);
process.exitCode = isFine ? 0 : 1;
