/** Plays core/sync/scenarios/*.txt. Set UPDATE_SCENARIOS=1 to record anew; read the difference before you commit it. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { playScenario } from "../testing/scenario.ts";

const folder = new URL("../scenarios/", import.meta.url);
const covers: Readonly<Record<string, string>> = {
  "worked-example-chain": "[AMSP-89] [AMSP-90] [AMSP-91] [AMSP-92]",
  "worked-example-star": "[AMSP-97]",
};

for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt"))) {
  const name = file.slice(0, -4);
  test(`${name.replaceAll("-", " ")} goes as recorded ${covers[name] ?? ""}`.trimEnd(), () => {
    const recorded = readFileSync(new URL(file, folder), "utf8");
    const played = playScenario(recorded);
    if (process.env["UPDATE_SCENARIOS"] !== undefined) writeFileSync(new URL(file, folder), played);
    else expect(played).toBe(recorded);
  });
}
