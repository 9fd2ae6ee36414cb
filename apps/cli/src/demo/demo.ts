/** `causeway demo`: the main job, told as a short story. */
import { canTellUsers, openA2aEndpoint } from "@causeway/bridge-a2a";
import { parseAgentId } from "@causeway/core-base";
import { Home } from "../home.ts";
import { connectAgent } from "../processes/agents.ts";
import { Supervisor } from "../processes/supervisor.ts";
import { exitCodeOf, interruption } from "../terminal/interruption.ts";
import { createOutput, type Output } from "../terminal/output.ts";
import { domains, startNetwork } from "./network.ts";
import { startProcessAgent } from "./process-agent.ts";
import { type DemoReport, shortcomings } from "./report.ts";
import { discoverRemote, display, eventually, exchange, publishAcross, revoke, useA2a } from "./steps.ts";

const names = {
  planner: "blue.example/assistant/planner",
  reader: "blue.example/news/reader",
  intern: "blue.example/temp/intern",
  hotels: "green.example/travel/hotels",
  guide: "green.example/travel/guide",
} as const;

const query = "someone who can book a hotel in Tokyo";
/** Preferred port of the A2A endpoint, so that the commands of the README work as they stand. */
const a2aPort = 7480;
const example = (name: string): URL => new URL(`../../../../examples/${name}/src/main.ts`, import.meta.url);

export interface DemoOptions {
  readonly once?: boolean;
  readonly json?: boolean;
  readonly home?: string;
}

/** Answers the exit code. Ctrl-C ends it at any point. */
export async function demo(options: DemoOptions): Promise<number> {
  const stop = interruption();
  const out = createOutput({ json: options.json === true });
  const home = new Home(options.home);
  await using resources = new AsyncDisposableStack();
  const story = play(out, home, resources);
  const told = await Promise.race([story, stop]);
  if (typeof told === "string") {
    // What it was at ends with an error that nobody waits for.
    story.catch(() => undefined);
    out.line("\nstopping ...");
    return exitCodeOf(told);
  }
  const { facts, hotelsUrl } = told;
  const problems = shortcomings(facts);
  const ok = problems.length === 0;
  out.line();
  for (const problem of problems) process.stderr.write(`demo: ${problem}\n`);
  const exitCode = ok ? 0 : 1;
  const { good, bad } = out.style;
  if (out.json) process.stdout.write(`${JSON.stringify({ ok, ...facts })}\n`);
  else if (options.once === true)
    out.line(
      ok
        ? good(`All of it was true, in ${(facts.elapsedMs / 1000).toFixed(1)} s.`)
        : bad("Not all of it was true; see above."),
    );
  if (options.once === true) return exitCode;
  suggest(out, home, options, hotelsUrl);
  await stop;
  out.line("\nstopping ...");
  return exitCode;
}

/** What to try while it stays up. */
function suggest(out: Output, home: Home, options: DemoOptions, hotelsUrl: string): void {
  out.line(out.style.bold("It stays up until Ctrl-C. What to try next, in another terminal of this folder:"));
  const [blue, green] = domains;
  const inHome = options.home === undefined ? "" : ` --home ${home.directory}`;
  for (const command of [
    `status --domain ${blue}`,
    `discover "book a room" --domain ${blue}`,
    `call ${names.guide} Lisbon --method tip --trace --domain ${blue}`,
    `explain ${names.guide} --domain ${blue}`,
    `doctor --domain ${green}`,
  ])
    out.line(`   npm run causeway -- ${command}${inHome}`);
  out.line(`   npm run example -- a2a-client ${hotelsUrl} "A room in Lisbon"`);
  out.line(out.style.dim(`   configuration, keys, data and logs: ${home.directory}`));
}

/** Does everything once, and tells it as it happens. What stays up is left in `resources`. */
async function play(
  out: Output,
  home: Home,
  resources: AsyncDisposableStack,
): Promise<{ readonly facts: Omit<DemoReport, "ok">; readonly hotelsUrl: string }> {
  const started = performance.now();
  const { bold, dim, good, bad } = out.style;
  let step = 0;
  const chapter = (text: string): void => out.line(`\n${bold(`${++step}. ${text}`)}`);
  const tell = (text: string): void => out.line(`   ${text}`);
  const supervisor = resources.use(
    new Supervisor({ onNotice: (_service, description) => out.line(bad(`   ${description}`)) }),
  );

  chapter("Two domains come up, every service its own process");
  const network = resources.use(
    await out.during(
      "starting two domains",
      startNetwork(home, supervisor, {
        onServing: (name, url) => tell(`${good("up")} ${name.padEnd(24)} ${dim(url)}`),
      }),
    ),
  );
  const [blue, green] = network.configs;
  const [blueOperator, greenOperator] = network.operators;
  tell("The operators exchanged trust bundles; nothing is trusted because it connected.");

  chapter("Agents attach");
  const hotelProcess = resources.use(
    await startProcessAgent(example("a2a-hotel-agent"), [], home.logFile("hotel-agent")),
  );
  const [planner, reader, intern] = await Promise.all([
    connectAgent({ home, config: blue, name: names.planner }),
    connectAgent({ home, config: blue, name: names.reader }),
    connectAgent({ home, config: blue, name: names.intern }),
    supervisor.start({
      name: names.hotels,
      args: ["attach", hotelProcess.url, "--name", names.hotels, "--home", home.directory, "--domain", green.domain],
      logFile: home.logFile(names.hotels),
    }),
    startGuide(),
  ]);
  for (const agent of [planner, reader]) resources.use(agent);
  await planner.register({
    name: "Planner",
    description: "Plans trips and asks others for the parts.",
    version: "1.0.0",
    skills: [{ id: "plan-trip", description: "Plans a whole trip" }],
  });
  tell(`${names.hotels}: an A2A agent built with the official SDK, taken in by one command`);
  tell(`${names.guide}: an agent built with our SDK, in its own process`);
  tell(`${names.planner}, ${names.reader}, ${names.intern}: agents of the other domain`);

  chapter(`The planner asks for "${query}"`);
  const found = await discoverRemote(planner, query);
  tell(`found ${bold(display(found.agentId))} in another domain`);
  tell(dim(found.why));
  tell(dim(`reached through ${found.gateway ?? "no gateway"}; where it is served, its domain keeps to itself`));

  chapter("An encrypted exchange through four gateways");
  const guideId = parseAgentId(names.guide);
  await eventually("replication of the guide", async () =>
    (await planner.discover("sightseeing")).matches.some((m) => m.agentId === guideId) ? true : undefined,
  );
  const exchanged = await exchange(planner, guideId, network.operators);
  tell(`answer: ${exchanged.e2e.answer}`);
  for (const hop of exchanged.hops) tell(`${hop.gateway.padEnd(34)} ${hop.verdict.padEnd(8)} ${dim(hop.reason)}`);
  tell(dim(`MLS suite ${exchanged.e2e.suite}; the gateways saw names and sizes, never content`));

  chapter("An unmodified A2A client talks to the A2A agent of the other domain");
  // Where the system does not tell users apart, a demo is for whoever is on the machine.
  const access = canTellUsers() ? "same-user" : "any-local";
  const endpoint = resources.use(
    await openA2aEndpoint(planner, { port: a2aPort, access }).catch(() =>
      openA2aEndpoint(planner, { port: 0, access }),
    ),
  );
  const hotelsUrl = endpoint.urlOf(found.agentId);
  const a2a = await useA2a(hotelsUrl);
  tell(`booked: ${a2a.state}; streamed ${a2a.streamed} events; a third task ended as ${a2a.canceled}`);

  chapter("One publication, subscribers in both domains");
  const topic = await publishAcross({ owner: planner, reader, guide: guideId });
  tell(`${topic.topic} reached ${topic.delivered} subscribers in ${topic.domains.join(" and ")}`);

  chapter("The intern is revoked");
  const revoked = await revoke({
    agent: intern,
    operator: blueOperator,
    reconnect: () => connectAgent({ home, config: blue, name: names.intern }),
  });
  tell(
    `out after ${revoked.detachedMs} ms; ${revoked.returned ? bad("it came back") : `its attempt to return was refused (${revoked.code})`}`,
  );

  const facts: Omit<DemoReport, "ok"> = {
    domains: network.configs.length,
    gateways: blue.gateways.length + green.gateways.length,
    agents: Object.values(names).map((name) => parseAgentId(name)),
    discovered: { query, agentId: found.agentId, why: found.why },
    ...exchanged,
    a2a,
    topic,
    revoked,
    elapsedMs: Math.round(performance.now() - started),
  };
  return { facts, hotelsUrl };

  async function startGuide(): Promise<void> {
    const token = await greenOperator.agentToken(names.guide);
    const gateway = green.gateways.find((g) => g.level === 1)?.url ?? "";
    const registry = green.registry?.url ?? "";
    resources.use(
      await startProcessAgent(
        example("travel-guide"),
        [names.guide, token, gateway, registry, home.agentDirectory(names.guide)],
        home.logFile(names.guide),
      ),
    );
  }
}
