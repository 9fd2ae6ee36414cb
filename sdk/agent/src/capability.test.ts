import { parseAgentId, refuse } from "@causeway/core-base";
import { expect, test } from "vitest";
import type { Answer, Ask, Match } from "./api.ts";
import { requestFor } from "./capability.ts";
import { codeOf } from "./testing/index.ts";

const match = (name: string, score: number): Match =>
  ({ agentId: parseAgentId(name), score, why: `means it (${score})`, status: "online", card: {} }) as unknown as Match;
const [best, next, last] = [match("green.example/a", 0.9), match("green.example/b", 0.8), match("blue.example/c", 0.7)];

function ports(failures: Readonly<Record<string, Parameters<typeof refuse>[0]>>) {
  const asked: string[] = [];
  const discovered: unknown[] = [];
  return {
    asked,
    discovered,
    request: async (target: string, ask: Ask): Promise<Answer> => {
      asked.push(target);
      const failure = failures[target];
      if (failure !== undefined) throw refuse(failure, "a test");
      return { from: target, data: (ask as { data?: unknown }).data } as unknown as Answer;
    },
    discover: async (text: string, options: unknown) => {
      discovered.push([text, options]);
      return { matches: [best, next, last], notes: [], considered: 3 };
    },
    nowMs: () => 0,
  };
}

test("a capability is resolved to the best agent, and the answer says which one was chosen", async () => {
  const p = ports({});
  const { answer, chosen, passedOver } = await requestFor(p, "book a hotel", { data: "Lisbon" }, {});
  expect([answer.from, chosen.agentId, chosen.why, passedOver]).toEqual([
    best.agentId,
    best.agentId,
    "means it (0.9)",
    [],
  ]);
  expect(p.asked).toEqual([best.agentId]);
  expect(p.discovered).toMatchObject([["book a hotel", { statuses: ["online", "degraded"] }]]);
});

test("an agent that was certainly not reached is passed over, and the answer says so", async () => {
  const p = ports({ [best.agentId]: "CAUSEWAY_FORWARDING_NO_ROUTE", [next.agentId]: "CAUSEWAY_E2EE_NO_KEY_PACKAGE" });
  const { chosen, passedOver } = await requestFor(p, { skills: ["book-hotel"] }, { data: 1 }, {});
  expect(chosen.agentId).toBe(last.agentId);
  expect(passedOver.map(({ match: { agentId }, error }) => [agentId, error.code])).toEqual([
    [best.agentId, "CAUSEWAY_FORWARDING_NO_ROUTE"],
    [next.agentId, "CAUSEWAY_E2EE_NO_KEY_PACKAGE"],
  ]);
});

test("an unknown outcome, and a refusal of the agent itself, are not tried on another one", async () => {
  for (const code of ["CAUSEWAY_TIMEOUT", "CAUSEWAY_AGENT_HANDLER_FAILED"] as const) {
    const p = ports({ [best.agentId]: code });
    expect(await codeOf(requestFor(p, "x", { data: 1 }, {}))).toBe(code);
    expect(p.asked).toEqual([best.agentId]);
  }
});

test("nobody, nobody reachable, and nothing asked for are errors that say so", async () => {
  const none = { ...ports({}), discover: async () => ({ matches: [], notes: ["2 weaker matches"], considered: 9 }) };
  await expect(requestFor(none, "x", { data: 1 }, {})).rejects.toThrow(/found none; 2 weaker matches/);
  const all = ports(
    Object.fromEntries([best, next, last].map(({ agentId }) => [agentId, "CAUSEWAY_FORWARDING_NOT_ATTACHED" as const])),
  );
  await expect(requestFor(all, "x", { data: 1 }, {})).rejects.toThrow(/tried .*green.example\/a.*blue.example\/c/);
  expect(await codeOf(requestFor(all, {}, { data: 1 }, {}))).toBe("CAUSEWAY_MISUSE");
});
