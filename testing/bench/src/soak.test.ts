import { expect, test } from "vitest";
import { soak } from "./soak.ts";

test("each attached agent has one connection, with 10 agents as with 150, and none is lost [AAP-26]", {
  timeout: 120_000,
}, async () => {
  for (const agents of [10, 150]) {
    const report = await soak({ agents, idleMs: 0, clients: 2 });
    expect(report).toMatchObject({ attached: agents, lost: 0 });
    // Undefined where the system has no /proc.
    expect(Math.round(report.connectionsPerAgent ?? 1)).toBe(1);
  }
});
