/** What operators see and do in a running domain: peers, status, explanations, draining a gateway, a check-up. */
import { parseSpiffeId, refuse } from "@causeway/core-base";
import type { Command } from "commander";
import type { DomainConfig } from "../config/domain.ts";
import type { Operator } from "../processes/operator.ts";
import { sentenceOf } from "../terminal/failure.ts";
import { counted, table } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { askGateways, showAsked } from "./asking.ts";
import { type CommonOptions, type Context, contextOf, withCommonOptions } from "./context.ts";
import { messageIdOf, numberOf } from "./data.ts";
import { type DiscoveryCommandOptions, discoveryOf, withDiscoveryOptions } from "./discovery.ts";

/** How long a service may take to say how it is. */
const answerMs = 5_000;
const deadlineMsMax = 86_400_000;

export function addNetworkCommands(program: Command): void {
  const peer = program.command("peer").description("neighbour gateways");
  withCommonOptions(peer.command("list"))
    .description("peers of each gateway")
    .option("--gateway <name>", "only this gateway")
    .action((options: CommonOptions & { readonly gateway?: string }) =>
      asOperator(options, (operator, context) => listPeers(operator, context, options.gateway)),
    );

  withCommonOptions(program.command("status"))
    .description("what runs and how it is; exit code 1 when a service is down")
    .action((options: CommonOptions) => asOperator(options, status));

  withCommonOptions(program.command("drain <gateway>"))
    .description("take a gateway out of service: its agents attach elsewhere, then its process ends")
    .option("--deadline <ms>", "how long its agents have", "30000")
    .action((name: string, options: CommonOptions & { readonly deadline: string }) => {
      const deadlineMs = numberOf(options.deadline, "--deadline", 1, deadlineMsMax);
      return asOperator(options, (operator, context) => drain(operator, context, name, deadlineMs));
    });

  withCommonOptions(program.command("explain <what> [id]"))
    .description("why a message took its way and what became of it (message ID), or why a target is reachable (NAME)")
    .action((what: string, id: string | undefined, options: CommonOptions) => explain(what, id, options));

  withDiscoveryOptions(withCommonOptions(program.command("doctor")))
    .description("check this machine and the domain, and say what to do; exit code 1 when something is wrong")
    .action(async (options: CommonOptions & DiscoveryCommandOptions) => {
      const { examine } = await import("./doctor.ts");
      const { out, home } = contextOf(options);
      const findings = await out.during(
        "checking",
        examine(() => home.config(options), { home, discovery: discoveryOf(options) }),
      );
      const ok = findings.every((finding) => finding.ok);
      out.result({ ok, findings }, () =>
        findings
          .map((f) => `${f.ok ? out.style.good("ok  ") : out.style.bad("FAIL")} ${f.check}: ${f.detail}`)
          .join("\n"),
      );
      if (!ok) process.exitCode = 1;
    });
}

async function listPeers(operator: Operator, { out }: Context, name: string | undefined): Promise<void> {
  const asked = await askGateways(operator, name, async (gateway) => {
    const { peers } = await operator.gateway(gateway).listPeers({}, { timeoutMs: answerMs });
    return peers.map((p) => ({ gateway: gateway.name, ...p }));
  });
  showAsked(out, asked, { peers: asked.answers.flat() }, ({ peers }) =>
    table(
      ["gateway", "peer", "level", "sync", "link", "received", "sent"],
      peers.map((p) => [
        p.gateway,
        p.gatewayUri,
        p.level === 0 ? "" : String(p.level),
        p.syncState,
        // A registry reads records and takes no messages.
        p.level === 0 ? "none" : p.linkState,
        String(p.recordsReceived),
        String(p.recordsSent),
      ]),
      "no peers",
    ),
  );
}

interface ServiceStatus {
  readonly service: string;
  readonly url: string;
  readonly state: "up" | "draining" | "down";
  readonly detail: string;
}

async function status(operator: Operator, { out }: Context): Promise<void> {
  const { config } = operator;
  const services = await out.during(`asking the services of ${config.domain}`, statusOf(operator, config));
  const ok = services.every((s) => s.state === "up");
  out.result({ ok, domain: config.domain, services }, () =>
    table(
      ["service", "state", "url", ""],
      services.map((s) => [`${config.domain}/${s.service}`, s.state, s.url, s.detail]),
      "",
    ),
  );
  if (!ok) process.exitCode = 1;
}

function statusOf(operator: Operator, config: DomainConfig): Promise<ServiceStatus[]> {
  const judged = async (
    service: string,
    url: string,
    ask: () => Promise<Pick<ServiceStatus, "state" | "detail">>,
  ): Promise<ServiceStatus> => {
    try {
      return { service, url, ...(await ask()) };
    } catch (thrown) {
      return { service, url, state: "down", detail: sentenceOf(thrown) };
    }
  };
  const certified = (service: "authority" | "registry", url: string): Promise<ServiceStatus> =>
    judged(service, url, async () => {
      const peer = await operator.probe(url, service);
      return { state: "up", detail: `certificate until ${new Date(peer.notAfterUnixMs).toISOString()}` };
    });
  return Promise.all([
    certified("authority", config.authority.url),
    ...(config.registry ? [certified("registry", config.registry.url)] : []),
    ...config.gateways.map((gateway) =>
      judged(gateway.name, gateway.url, async () => {
        const s = await operator.gateway(gateway).status({}, { timeoutMs: answerMs });
        const facts = [
          counted(s.attachments, "agent"),
          counted(s.peers, "peer"),
          counted(Number(s.records), "record"),
          ...workersOf(s.counters),
        ].join(", ");
        return { state: s.draining ? "draining" : "up", detail: `level ${s.level}, ${facts}` };
      }),
    ),
  ]);
}

/** What the threads that do TCP and TLS have to do; nothing when there are none. */
function workersOf(counters: Readonly<Record<string, bigint>>): readonly string[] {
  const counts = Object.entries(counters).filter(([name]) => /^causeway_gateway_worker_\d+_connections$/.test(name));
  return counts.length === 0 ? [] : [`connections of its workers ${counts.map(([, count]) => count).join("/")}`];
}

async function drain(operator: Operator, { out }: Context, name: string, deadlineMs: number): Promise<void> {
  for (const gateway of operator.gateways(name)) {
    const client = operator.gateway(gateway);
    const answer = await client.drain({ deadlineMs: BigInt(deadlineMs) }, { timeoutMs: answerMs });
    const { alone } = answer;
    // A gateway from before does not say.
    const waitMs = answer.deadlineMs === 0n && !alone ? deadlineMs : Number(answer.deadlineMs);
    out.result({ ok: true, gateway: gateway.name, deadlineMs: waitMs, alone }, () =>
      alone
        ? `${gateway.name} takes no new agents. It knows of no other gateway of ${operator.config.domain} that runs, to which its own could go: it ends within ${waitMs} ms (drainAloneMs), and what is stored waits for its next start`
        : `${gateway.name} takes no new agents, asks its own to move within ${waitMs} ms, and then ends`,
    );
  }
}

async function explain(what: string, id: string | undefined, options: CommonOptions): Promise<void> {
  const messageId = messageIdOf(id ?? what);
  if (id !== undefined && (what !== "message" || messageId === undefined)) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected "message" and an id of 32 hexadecimal digits, or one name; got ${what} ${id}`,
    );
  }
  const request = messageId === undefined ? { target: parseSpiffeId(what) } : { messageId };
  await asOperator(options, async (operator, { out }) => {
    const asked = await askGateways(operator, undefined, async (gateway) => ({
      gateway: gateway.name,
      ...(await operator.gateway(gateway).explain(request, { timeoutMs: answerMs })),
    }));
    const { answers } = asked;
    const hops = answers
      .flatMap((answer) => answer.hops.map((hop) => ({ gateway: answer.gateway, ...hop })))
      .toSorted((a, b) => b.hopTtl - a.hopTtl || Number(a.atUnixMs - b.atUnixMs));
    const summaries = answers.map(({ gateway, summary }) => ({ gateway, summary }));
    showAsked(out, asked, { hops, summaries }, () => {
      if (hops.length === 0)
        return summaries.map(({ gateway, summary }) => `${gateway}: ${summary || "nothing is known"}`).join("\n");
      const way = table(
        ["gateway", "at", "verdict", "reason", "to", "ttl"],
        hops.map((h) => [
          h.gateway,
          new Date(Number(h.atUnixMs)).toISOString(),
          h.verdict,
          h.reason,
          h.to,
          // A stored message passes no gateway any more.
          h.hopTtl === 0 ? "" : String(h.hopTtl),
        ]),
        "",
      );
      const involved = new Set(hops.map((h) => h.gateway));
      const fates = summaries.filter((s) => involved.has(s.gateway)).map((s) => `${s.gateway}: ${s.summary}`);
      return [way, "", ...fates].join("\n");
    });
  });
}
