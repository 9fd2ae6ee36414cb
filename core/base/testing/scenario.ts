import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";

/** What a scenario is played on: performs one command, a line for each effect. */
export interface Stage {
  run(command: string): readonly string[];
}

/**
 * A test for each recorded scenario of a folder: `command`, a dashed line, the effects. The first line of a file is the
 * title of its test. `CAUSEWAY_UPDATE_SCENARIOS=1` rewrites the effects; commit that only if you understand every changed
 * line.
 */
export function testScenarios(folder: URL, newStage: () => Stage): void {
  for (const file of readdirSync(folder).sort()) {
    const url = new URL(file, folder);
    const text = readFileSync(url, "utf8").trimEnd();
    test(`${file}: ${text.split("\n", 1)[0]?.replace(/^# /, "")}`, () => {
      const played = play(text, newStage());
      if (process.env["CAUSEWAY_UPDATE_SCENARIOS"]) writeFileSync(url, played);
      else expect(played).toBe(`${text}\n`);
    });
  }
}

function play(text: string, stage: Stage): string {
  const blocks = text.split(/\n\n+/).map((block) => {
    const lines = block.split("\n").filter((line) => line !== "");
    const comments = lines.filter((line) => line.startsWith("#"));
    const dashes = lines.findIndex((line) => /^-+$/.test(line));
    const commands = lines.slice(0, dashes < 0 ? lines.length : dashes).filter((line) => !line.startsWith("#"));
    if (commands.length === 0) return comments.join("\n");
    return [...comments, ...commands, "----", ...commands.flatMap((command) => stage.run(command))].join("\n");
  });
  return `${blocks.join("\n\n")}\n`;
}
