/**
 * Clocks that jump while messages flow: of a gateway, of an agent, by two hours and by two days. Leases are counted by
 * monotonic clocks, so that nobody is reaped; expiry and certificates are judged by the time of day, and say so. When
 * the clock is right again, everything is, without anybody's help.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Agent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import type { ClockedReport, ClockedRequest } from "./clocked-agent.ts";
import { fakedTime, WallClock } from "./wall-clock.ts";
import { startWorld, until, type World } from "./world.ts";

const faked = fakedTime();
if ("missing" in faked) process.stderr.write(`clock tests are skipped: ${faked.missing}\n`);

let world: World;
let alice: Agent;
let bob: Agent;
const heard = new Map<string, number>();
/** What happened to the attachments of alice and bob. */
const events: string[] = [];
const clocks = new Map<string, WallClock>();

const folder = mkdtempSync(join(tmpdir(), "causeway-clocks-"));
const clockOf = (name: string): WallClock => {
  if ("missing" in faked) throw new Error(faked.missing);
  const clock = clocks.get(name) ?? new WallClock(faked.library, join(folder, name));
  clocks.set(name, clock);
  return clock;
};

const rightAll = (): void => clocks.forEach((clock) => clock.set(0));
const hourMs = 3_600_000;
const count = (text: string): void => void heard.set(text, (heard.get(text) ?? 0) + 1);
const logOf = (service: string): string => readFileSync(world.home.logFile(service), "utf8");

/** The admin service of gw1 of a domain, over one connection: while the clock is wrong there may be no new one. */
function adminOf(domain: 0 | 1) {
  const { configs, operators } = world.network;
  const gateway = configs[domain].gateways.find(({ name }) => name === "gw1");
  if (gateway === undefined) throw new Error("expected a gateway gw1");
  return operators[domain].gateway(gateway);
}

/** Sends one message after the other until told to stop; each is settled as taken or with a code. */
function flow(label: string): {
  outcomes(): number;
  stop(): Promise<{ readonly taken: string[]; readonly codes: string[] }>;
} {
  let isOver = false;
  const taken: string[] = [];
  const codes: string[] = [];
  const running = (async () => {
    for (let i = 0; !isOver; i++) {
      const text = `${label} ${i}`;
      await alice.send(bob.id, text, { timeoutMs: 10_000 }).then(
        () => taken.push(text),
        (thrown: unknown) => codes.push(CausewayError.from(thrown).code),
      );
    }
  })();
  return {
    outcomes: () => taken.length + codes.length,
    async stop() {
      isOver = true;
      await running;
      return { taken, codes };
    },
  };
}

/** Taken means heard once; nothing is heard twice. */
function check(label: string, { taken }: { readonly taken: string[] }): void {
  expect(taken.filter((text) => heard.get(text) !== 1)).toEqual([]);
  expect([...heard].filter(([text, times]) => text.startsWith(label) && times > 1)).toEqual([]);
}

const sends = (text: string): Promise<boolean> =>
  alice.send(bob.id, text, { timeoutMs: 5_000 }).then(
    () => true,
    () => false,
  );

beforeAll(async () => {
  if ("missing" in faked) return;
  world = await startWorld({}, { environment: (service) => clockOf(service).environment });
  alice = await world.agent("blue.example/people/alice");
  bob = await world.agent("green.example/people/bob");
  for (const agent of [alice, bob])
    agent.onEvent(({ type }) => void (["attached", "detached"].includes(type) && events.push(type)));
  bob.onMessage((message) => count(String(message.data)));
  await bob.register({
    name: "Bob",
    description: "Listens",
    version: "1",
    skills: [{ id: "listen", description: "Listens" }],
  });
  await until("the way to bob", () => sends("first contact"));
}, 120_000);

afterEach(() => rightAll());

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf("missing" in faked)("a clock that jumps while messages flow", () => {
  test.for([
    ["green.example/gw1", 2],
    ["green.example/gw1", -2],
    ["blue.example/gw2", 2],
    ["blue.example/gw2", -2],
  ] as const)(
    "of the gateway %s by %i h: nobody is reaped, nothing acknowledged is lost or doubled",
    { timeout: 120_000 },
    async ([name, hours]) => {
      events.length = 0;
      const label = `${name} ${hours}`;
      const { pid, restarts } = world.service(name);
      const sending = flow(label);
      await until("messages to flow", () => heard.has(`${label} 3`));
      clockOf(name).set(hours);
      const outcomes = sending.outcomes();
      await until("outcomes while the clock is wrong", () => sending.outcomes() > outcomes + 20, 60_000);
      clockOf(name).set(0);
      const before = heard.size;
      await until("messages after the clock is right", () => heard.size > before + 3, 60_000);
      const result = await sending.stop();
      check(label, result);
      // A clock that is ahead takes what expires soon for expired; one that is behind keeps it. Of what was under way the
      // acknowledgement may have been the one that seemed to be late.
      if (hours > 0) expect(result.codes).toContain("CAUSEWAY_FORWARDING_EXPIRED");
      else expect(result.codes).toEqual([]);
      for (const code of result.codes) expect(code).toMatch(/^CAUSEWAY_(FORWARDING_EXPIRED|TIMEOUT)$/);
      expect(events).toEqual([]);
      expect(world.service(name)).toMatchObject({ pid, restarts });
    },
  );

  test("of gateways by two hours either way: agents that only give signs of life stay attached", {
    timeout: 120_000,
  }, async () => {
    events.length = 0;
    const views = [
      { at: 0, agentId: alice.id, hours: -2, clock: clockOf("blue.example/gw1") },
      { at: 1, agentId: bob.id, hours: 2, clock: clockOf("green.example/gw1") },
    ];
    const clients = [adminOf(0), adminOf(1)];
    const viewOf = async (at: number, agentId: string) => {
      const attachments = (await clients[at]?.listAttachments({}))?.attachments ?? [];
      return attachments.find((each) => each.agentId === agentId);
    };
    // A certificate that is younger than two hours is not valid yet for a clock that is behind: who looks is there before.
    for (const { at, agentId } of views) expect((await viewOf(at, agentId))?.state).toBe("ATTACHED");
    for (const { hours, clock } of views) clock.set(hours);
    for (const { at, agentId } of views) {
      const before = Number((await viewOf(at, agentId))?.lastHeardUnixMs);
      // A heartbeat that comes while the clock is wrong: it is told by the gateway's clock, which may have gone back.
      await until(
        `a sign of life of ${agentId}`,
        async () => {
          const view = await viewOf(at, agentId);
          return view?.state === "ATTACHED" && Math.abs(Number(view.lastHeardUnixMs) - before) > 5_000;
        },
        90_000,
      );
    }
    rightAll();
    expect(await sends("idle")).toBe(true);
    expect(events).toEqual([]);
  });

  test.for([2, -2])(
    "of a gateway by %i h while it keeps messages: expiry goes by its clock, and what lasts longer arrives once",
    { timeout: 120_000 },
    async (hours) => {
      const name = `green.example/people/carol${hours}`;
      const [, green] = world.network.configs;
      const clock = clockOf("green.example/gw1");
      const admin = adminOf(1);
      await admin.listStored({});
      const got: string[] = [];
      const start = async (): Promise<Agent> => {
        const carol = await connectAgent({ home: world.home, config: green, name });
        carol.onMessage((message) => void got.push(String(message.data)));
        await carol.register({
          name: "Carol",
          description: "Comes and goes",
          version: "1",
          skills: [{ id: "listen", description: "Listens" }],
        });
        return carol;
      };
      const first = await start();
      await until("the way to carol", () =>
        alice.send(first.id, "hello", { timeoutMs: 3_000 }).then(
          () => true,
          () => false,
        ),
      );
      await first.close({ away: true });
      // In sessions of their own: within one, the later waits a while for the earlier.
      await alice.send(first.id, "an hour", { ack: "stored", expiresMs: hourMs, session: "short" });
      await alice.send(first.id, "a day", { ack: "stored", session: "long" });
      clock.set(hours);
      const again = await start();
      const expected = hours > 0 ? ["a day"] : ["a day", "an hour"];
      await until("what was stored", () => expected.every((text) => got.includes(text)));
      expect(got.filter((text) => text !== "hello").sort()).toEqual(expected);
      const { messages } = await admin.listStored({ agentId: first.id, deadLetters: true });
      expect(messages.map(({ error }) => error?.code)).toEqual(hours > 0 ? ["CAUSEWAY_FORWARDING_EXPIRED"] : []);
      clock.set(0);
      await alice.send(first.id, "after", { timeoutMs: 20_000 });
      await again.close();
      expect(got.filter((text) => text !== "hello").sort()).toEqual([...expected, "after"].sort());
    },
  );
});

describe.skipIf("missing" in faked)("an agent whose clock jumps", () => {
  let child: ChildProcess;
  const reports: ClockedReport[] = [];
  let id = "";
  const sent = (text: string) => reports.find((each) => each.kind === "sent" && each.text === text);
  const ask = (request: ClockedRequest): void => void child.send(request);
  const outcomeOf = async (text: string): Promise<string | undefined> => {
    ask({ to: alice.id, texts: [text] });
    await until(`the outcome of ${text}`, () => sent(text) !== undefined);
    const report = sent(text);
    return report?.kind === "sent" ? report.code : undefined;
  };
  const deliver = (text: string): Promise<string | undefined> =>
    alice.send(id, text, { timeoutMs: 10_000 }).then(
      () => undefined,
      (thrown: unknown) => CausewayError.from(thrown).code,
    );
  const received = (text: string): number =>
    reports.filter((each) => each.kind === "heard" && each.text === text).length;

  beforeAll(async () => {
    const program = fileURLToPath(new URL("clocked-agent.ts", import.meta.url));
    const env = clockOf("dave").environment;
    const { directory } = world.home;
    child = fork(program, [directory, "green.example", "green.example/people/dave"], { env, stdio: "inherit" });
    child.on("message", (report: ClockedReport) => reports.push(report));
    alice.onMessage((message) => count(String(message.data)));
    await until("dave", () => reports.some((each) => each.kind === "ready"), 60_000);
    for (const each of reports) if (each.kind === "ready") id = each.id;
    await until("the way to dave", async () => (await deliver("first")) === undefined);
    expect(await outcomeOf("first of dave")).toBeUndefined();
  }, 120_000);

  afterAll(() => void child?.disconnect());

  test.for([2, -2])(
    "by %i h: it stays attached; what would expire is refused with that reason, and the rest arrives once",
    { timeout: 120_000 },
    async (hours) => {
      const before = reports.filter((each) => each.kind === "event").length;
      clockOf("dave").set(hours);
      // What comes is judged by the receiver's clock, what it sends by the gateways'.
      expect(await deliver(`in ${hours}`)).toBe(hours > 0 ? "CAUSEWAY_FORWARDING_EXPIRED" : undefined);
      expect(await outcomeOf(`out ${hours}`)).toBe(hours > 0 ? undefined : "CAUSEWAY_FORWARDING_EXPIRED");
      expect(received(`in ${hours}`)).toBe(hours > 0 ? 0 : 1);
      expect(heard.get(`out ${hours}`) ?? 0).toBe(hours > 0 ? 1 : 0);
      clockOf("dave").set(0);
      expect(await deliver(`in after ${hours}`)).toBeUndefined();
      expect(await outcomeOf(`out after ${hours}`)).toBeUndefined();
      expect(received(`in after ${hours}`)).toBe(1);
      expect(heard.get(`out after ${hours}`)).toBe(1);
      expect(reports.filter((each) => each.kind === "event").slice(before)).toEqual([]);
    },
  );
});

describe.skipIf("missing" in faked)("a clock that is two days ahead, so that certificates seem to have ended", () => {
  test("of a gateway: newcomers are refused with that reason, and served when the clock is right again", {
    timeout: 240_000,
  }, async () => {
    const [, green] = world.network.configs;
    const name = "green.example/gw1";
    const { pid, restarts } = world.service(name);
    const only = { ...green, gateways: green.gateways.filter((each) => each.name === "gw1") };
    const join = (timeoutMs: number): Promise<Agent> =>
      connectAgent({ home: world.home, config: only, name: "green.example/people/erin", timeoutMs });
    // Enrolled while the clock is right.
    await (await join(30_000)).close();
    events.length = 0;
    clockOf(name).set(48);
    await expect(join(5_000)).rejects.toThrow(
      expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED" }),
    );
    // Who is attached stays so, and hears why a message goes no further.
    const late = alice.send(bob.id, "two days", { timeoutMs: 5_000 });
    await expect(late).rejects.toThrow(expect.objectContaining({ code: "CAUSEWAY_FORWARDING_EXPIRED" }));
    expect(heard.has("two days")).toBe(false);
    expect(logOf(name)).toContain('"code":"CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED"');
    clockOf(name).set(0);
    await until("the clock to be right", () => sends("right again"), 90_000);
    await (await join(60_000)).close();
    expect(events).toEqual([]);
    expect(world.service(name)).toMatchObject({ pid, restarts });
  });
});
