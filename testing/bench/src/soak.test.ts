import { expect, test } from "vitest";
import { soak } from "./soak.ts";

test("each attached agent has one connection, with 10 agents as with 150, and none is lost [AAP-26]", {
  timeout: 120_000,
}, async () => {
  for (const agents of [10, 150]) {
    const report = await soak({ agents, silenced: 0, idleMs: 0, clients: 2 });
    expect(report).toMatchObject({ attached: agents, listed: agents, lost: 0 });
    // Undefined where the system has no /proc.
    expect(Math.round(report.connectionsPerAgent ?? 1)).toBe(1);
  }
});

/** `npm run soak -- --silenced 1000` does the same with the times of the product; testing/sim with a virtual clock. */
test("agents whose process hangs are listed no longer than the times of leases say, and nobody else is given up", {
  timeout: 120_000,
}, async () => {
  const times = { heartbeatMs: 1_000, staleAfterMs: 15_000, removeAfterStaleMs: 3_000 };
  const report = await soak({ agents: 40, silenced: 10, idleMs: 0, clients: 2, times });
  expect(report).toMatchObject({ attached: 40, lost: 0, listed: 30, silencedListedMs: expect.any(Number) });
});
