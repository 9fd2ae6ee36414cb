/** An agent in a machine of the lab. Says how it was found a gateway, and stays until its input ends. */
import { type ConnectOptions, connect } from "@causeway/agent/node";
import { CausewayError, type Log } from "@causeway/core-base";
import { traceLinks } from "./link-trace.ts";

const trace = traceLinks();
const options = JSON.parse(process.argv[2] ?? "{}") as ConnectOptions;
const say = (line: unknown): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
const events: string[] = [];
const log: Log["info"] = (event, fields) => {
  if (event !== "agent.discover_failed" && event !== "agent.dial_failed") return;
  events.push(`${event} ${String(fields?.["code"])}`);
};
try {
  const agent = await connect({
    ...options,
    log: { debug: () => undefined, info: log, warn: log, error: log },
  });
  const report = (event: string, answer?: string): void => {
    const { gateway, discovery, state } = agent.status();
    const soFar = trace.splice(0);
    say({ event, gateway, state, discovery, answer, failures: events.splice(0), trace: soFar });
  };
  agent.onEvent(({ type }) => {
    if (type === "attached" || type === "detached") report(type);
  });
  const skills = [{ id: "wander", description: "Comes and goes" }];
  await agent.register({ name: "Visitor", description: "Comes and goes", version: "1", skills });
  const { matches } = await agent.discover("someone who answers");
  const [found] = matches;
  if (found === undefined) throw new Error("the registry knows nobody who answers");
  const answer = await agent.request(found.agentId, {}, { timeoutMs: 20_000 });
  report("ready", answer.content.text());
  process.stdin.resume();
  process.stdin.on("end", () => void agent.close().then(() => process.exit(0)));
} catch (thrown) {
  const { code, message } = CausewayError.from(thrown);
  say({ event: "failed", code, message, failures: events });
  process.exit(0);
}
