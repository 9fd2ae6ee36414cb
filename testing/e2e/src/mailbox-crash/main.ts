/** `npm run crash -- --kills 300`: prints one line for each ten kills and the report as JSON; exit code 1 when a message is missing. */
import { parseArgs } from "node:util";
import { runCrashes } from "./run.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "300" },
    flows: { type: "string", default: "8" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});

const kills = Number(values.kills);
let state = Number(values.seed);
/** Small and good enough for choosing instants. */
const random = (): number => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
};

process.stderr.write(`kills ${kills}, seed ${values.seed}\n`);
const report = await runCrashes({
  kills,
  flows: Number(values.flows),
  random,
  onKill: (done, stored) => {
    if (done % 10 === 0) process.stderr.write(`${done} kills, ${stored} messages acknowledged as stored\n`);
  },
});
process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
process.exitCode = report.lost.length + report.repeated.length === 0 ? 0 : 1;
