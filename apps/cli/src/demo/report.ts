/** What the demo found out; the last line of `--json`. */

export interface HopReport {
  readonly gateway: string;
  readonly verdict: string;
  readonly reason: string;
}

export interface DemoReport {
  /** True only if every other member is as it should be. */
  readonly ok: boolean;
  readonly domains: number;
  readonly gateways: number;
  readonly agents: readonly string[];
  readonly discovered: { readonly query: string; readonly agentId: string; readonly why: string };
  /** Gateways that the encrypted request passed, in order. */
  readonly path: readonly string[];
  readonly hops: readonly HopReport[];
  readonly e2e: { readonly protocol: "mls"; readonly suite: number; readonly answer: string };
  readonly a2a: { readonly ok: boolean; readonly state: string; readonly streamed: number; readonly canceled: string };
  readonly topic: { readonly topic: string; readonly delivered: number; readonly domains: readonly string[] };
  readonly revoked: {
    readonly agentId: string;
    readonly detachedMs: number;
    readonly returned: boolean;
    readonly code: string;
  };
  readonly elapsedMs: number;
}

/** What is not as it should be, in sentences; empty when all of it is true. */
export function shortcomings(report: Omit<DemoReport, "ok">): string[] {
  const problems: string[] = [];
  const expect = (isTrue: boolean, sentence: string): void => {
    if (!isTrue) problems.push(sentence);
  };
  expect(
    report.domains === 2 && report.gateways === 4,
    `expected 2 domains with 4 gateways, got ${report.domains} with ${report.gateways}`,
  );
  expect(report.agents.length >= 2, `expected at least two agents, got ${report.agents.length}`);
  expect(report.discovered.agentId !== "", `nobody was found by ${JSON.stringify(report.discovered.query)}`);
  expect(report.path.length === 4, `expected four gateways on the way, got ${report.path.join(", ") || "none"}`);
  expect(report.e2e.suite > 0 && report.e2e.answer !== "", "no encrypted answer came back");
  expect(
    report.a2a.ok,
    `the A2A client got ${report.a2a.state}, ${report.a2a.streamed} events, and ${report.a2a.canceled} on cancel`,
  );
  expect(
    report.topic.delivered >= 2 && report.topic.domains.length === 2,
    `the publication reached ${report.topic.delivered} subscribers in ${report.topic.domains.join(", ")}`,
  );
  expect(report.revoked.detachedMs <= 1_000, `the revoked agent was out after ${report.revoked.detachedMs} ms`);
  expect(!report.revoked.returned, "the revoked agent came back");
  return problems;
}
