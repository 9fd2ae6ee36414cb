/** What operators do: certificates, peers, status, explanations, a check-up. */
import { readFileSync, writeFileSync } from "node:fs";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { parseSpiffeId, refuse } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import type { Command } from "commander";
import { Operator } from "../processes/operator.ts";
import { table } from "../terminal/output.ts";
import { type CommonOptions, type Context, contextOf, withCommonOptions } from "./context.ts";
import { doctor } from "./doctor.ts";

export function addOperatorCommands(program: Command): void {
  const cert = program.command("cert").description("tokens, certificates, revocation, trust between domains");
  withCommonOptions(cert.command("token <name>"))
    .description("make a one-time join token for an agent")
    .option("--hours <n>", "how long it is valid", "1")
    .action((name: string, options: CommonOptions & { readonly hours: string }) =>
      asOperator(options, async (operator, { out }) => {
        const response = await operator.authority.createToken({
          spiffeId: parseSpiffeId(name),
          role: "agent",
          lifetimeMs: BigInt(Math.round(Number(options.hours) * 3_600_000)),
        });
        out.result({ token: response.token, expiresUnixMs: Number(response.expiresUnixMs) }, (r) => r.token);
      }),
    );
  withCommonOptions(cert.command("list [name]"))
    .description("issued certificates")
    .action((name: string | undefined, options: CommonOptions) =>
      asOperator(options, async (operator, { out }) => {
        const { certificates } = await operator.authority.listCertificates({
          spiffeId: name === undefined ? "" : parseSpiffeId(name),
        });
        const rows = certificates.map((c) => ({
          spiffeId: c.spiffeId,
          purpose: aca.KeyPurpose[c.purpose].toLowerCase(),
          status: c.status,
          serial: Buffer.from(c.serial).toString("hex"),
          expires: new Date(Number(c.notAfterUnixMs)).toISOString(),
        }));
        out.result(rows, () =>
          table(
            ["agent", "purpose", "status", "expires", "serial"],
            rows.map((r) => [r.spiffeId.replace("spiffe://", ""), r.purpose, r.status, r.expires, r.serial]),
            "no certificates",
          ),
        );
      }),
    );
  withCommonOptions(cert.command("revoke <name>"))
    .description("revoke every certificate of an agent, gateway or registry")
    .option("--reason <reason>", reasonNames().join(", "), "cessation-of-operation")
    .action((name: string, options: CommonOptions & { readonly reason: string }) =>
      asOperator(options, async (operator, { out }) => {
        const { revoked } = await operator.authority.revoke({
          spiffeId: parseSpiffeId(name),
          reason: reasonOf(options.reason),
        });
        out.result({ ok: true, revoked }, () => `${revoked} certificates of ${name} revoked`);
      }),
    );
  withCommonOptions(cert.command("applications"))
    .description("applications that wait for a decision")
    .action((options: CommonOptions) =>
      asOperator(options, async (operator, { out }) => {
        const { applications } = await operator.authority.listApplications({});
        out.result(applications, () =>
          table(
            ["id", "agent", "state", "organisation", "developer"],
            applications.map((a) => [
              a.id,
              a.spiffeId.replace("spiffe://", ""),
              a.state,
              a.material?.organisation ?? "",
              a.material?.developer ?? "",
            ]),
            "no applications",
          ),
        );
      }),
    );
  for (const [verb, approve] of [
    ["approve", true],
    ["reject", false],
  ] as const) {
    withCommonOptions(cert.command(`${verb} <application>`))
      .description(`${verb} an application`)
      .option("--reason <text>", "kept in the audit log", "")
      .action((id: string, options: CommonOptions & { readonly reason: string }) =>
        asOperator(options, async (operator, { out }) => {
          const { application } = await operator.authority.decideApplication({
            applicationId: id,
            approve,
            reason: options.reason,
          });
          out.result({ ok: true, state: application?.state }, () => `application ${id}: ${application?.state}`);
        }),
      );
  }
  withCommonOptions(cert.command("export-bundle <file>"))
    .description("write this domain's trust bundle, for the operator of another domain")
    .action((file: string, options: CommonOptions) =>
      asOperator(options, async (operator, { out }) => {
        const { state } = await operator.authority.getTrust({});
        const own = state?.bundles.find((bundle) => bundle.domain === operator.config.domain);
        if (own === undefined) throw refuse("CAUSEWAY_INTERNAL", "the authority knows no bundle of its own domain");
        writeFileSync(file, `${JSON.stringify(toJson(aca.TrustBundleSchema, own), null, 2)}\n`);
        out.result(
          { ok: true, file, domain: own.domain },
          () => `trust bundle of ${own.domain} written to ${file}; check its fingerprint with the other operator`,
        );
      }),
    );
  withCommonOptions(cert.command("trust <file>"))
    .description("trust another domain by its bundle")
    .action((file: string, options: CommonOptions) =>
      asOperator(options, async (operator, { out }) => {
        const bundle = fromJson(aca.TrustBundleSchema, JSON.parse(readFileSync(file, "utf8")));
        await operator.authority.addTrust({ bundle });
        out.result({ ok: true, domain: bundle.domain }, () => `${operator.config.domain} now trusts ${bundle.domain}`);
      }),
    );
  withCommonOptions(cert.command("distrust <domain>"))
    .description("end trust in another domain")
    .action((domain: string, options: CommonOptions) =>
      asOperator(options, async (operator, { out }) => {
        await operator.authority.removeTrust({ domain });
        out.result({ ok: true, domain }, () => `${operator.config.domain} no longer trusts ${domain}`);
      }),
    );

  const peer = program.command("peer").description("neighbour gateways");
  withCommonOptions(peer.command("list"))
    .description("peers of each gateway")
    .option("--gateway <name>", "only this gateway")
    .action((options: CommonOptions & { readonly gateway?: string }) =>
      asOperator(options, (operator, context) => listPeers(operator, context, options.gateway)),
    );

  withCommonOptions(program.command("status"))
    .description("what runs and how it is")
    .action((options: CommonOptions) => asOperator(options, status));

  withCommonOptions(program.command("drain <gateway>"))
    .description("take a gateway out of service: its agents attach elsewhere, then its process ends")
    .option("--deadline <ms>", "how long its agents have", "30000")
    .action((name: string, options: CommonOptions & { readonly deadline: string }) =>
      asOperator(options, (operator, context) => drain(operator, context, name, options.deadline)),
    );

  withCommonOptions(program.command("explain <message-or-target>"))
    .description("why a message took its way, or why a target is or is not reachable")
    .action((what: string, options: CommonOptions) =>
      asOperator(options, (operator, context) => explain(operator, context, what)),
    );

  withCommonOptions(program.command("doctor"))
    .description("check this machine and the domain, and say what to do")
    .action(async (options: CommonOptions) => {
      process.exitCode = await doctor(contextOf(options), options);
    });
}

async function asOperator(
  options: CommonOptions,
  use: (operator: Operator, context: Context) => Promise<void>,
): Promise<void> {
  const context = contextOf(options);
  await using operator = await Operator.open(context.home.config(options));
  await use(operator, context);
}

async function listPeers(operator: Operator, { out }: Context, name: string | undefined): Promise<void> {
  const rows = await Promise.all(
    operator.gateways(name).map(async (gateway) => {
      const { peers } = await operator.gateway(gateway).listPeers({});
      return peers.map((p) => ({ gateway: gateway.name, ...p }));
    }),
  );
  out.result(rows.flat(), (all) =>
    table(
      ["gateway", "peer", "level", "sync", "link", "received", "sent"],
      all.map((p) => [
        p.gateway,
        p.gatewayUri,
        String(p.level),
        p.syncState,
        p.linkState,
        String(p.recordsReceived),
        String(p.recordsSent),
      ]),
      "no peers",
    ),
  );
}

async function status(operator: Operator, { out }: Context): Promise<void> {
  const { config } = operator;
  const gateways = await Promise.all(
    config.gateways.map(async (gateway) => {
      try {
        const s = await operator.gateway(gateway).status({}, { timeoutMs: 5_000 });
        return {
          service: gateway.name,
          url: gateway.url,
          state: s.draining ? "draining" : "up",
          detail: `level ${s.level}, ${s.attachments} agents, ${s.peers} peers, ${s.records} records`,
        };
      } catch (thrown) {
        return {
          service: gateway.name,
          url: gateway.url,
          state: "down",
          detail: thrown instanceof Error ? thrown.message : String(thrown),
        };
      }
    }),
  );
  const others = await Promise.all(
    [
      { service: "authority", url: config.authority.url },
      ...(config.registry ? [{ service: "registry", url: config.registry.url }] : []),
    ].map(async ({ service, url }) => {
      try {
        const peer = await operator.probe(url, service === "authority" ? "authority" : "registry");
        return {
          service,
          url,
          state: "up",
          detail: `certificate until ${new Date(peer.notAfterUnixMs).toISOString()}`,
        };
      } catch (thrown) {
        return { service, url, state: "down", detail: thrown instanceof Error ? thrown.message : String(thrown) };
      }
    }),
  );
  const services = [...others, ...gateways];
  out.result({ domain: config.domain, services }, () =>
    table(
      ["service", "state", "url", ""],
      services.map((s) => [`${config.domain}/${s.service}`, s.state, s.url, s.detail]),
      "",
    ),
  );
  if (services.some((s) => s.state !== "up")) process.exitCode = 1;
}

async function drain(operator: Operator, { out }: Context, name: string, deadline: string): Promise<void> {
  if (!/^[1-9][0-9]{0,8}$/.test(deadline)) {
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected milliseconds for --deadline, got ${JSON.stringify(deadline)}`);
  }
  for (const gateway of operator.gateways(name)) {
    await operator.gateway(gateway).drain({ deadlineMs: BigInt(deadline) });
    out.result(
      { ok: true, gateway: gateway.name, deadlineMs: Number(deadline) },
      () => `${gateway.name} takes no new agents, asks its own to move within ${deadline} ms, and then ends`,
    );
  }
}

async function explain(operator: Operator, { out }: Context, what: string): Promise<void> {
  const messageId = /^[0-9a-f-]{32,36}$/i.test(what) ? Buffer.from(what.replaceAll("-", ""), "hex") : undefined;
  const request = messageId?.length === 16 ? { messageId: new Uint8Array(messageId) } : { target: parseSpiffeId(what) };
  const answers = await Promise.all(
    operator
      .gateways()
      .map(async (gateway) => ({ gateway: gateway.name, ...(await operator.gateway(gateway).explain(request)) })),
  );
  const hops = answers
    .flatMap((answer) => answer.hops.map((hop) => ({ gateway: answer.gateway, ...hop })))
    .toSorted((a, b) => (a.atUnixMs < b.atUnixMs ? -1 : 1));
  out.result({ hops, summaries: answers.map((a) => ({ gateway: a.gateway, summary: a.summary })) }, () =>
    [
      table(
        ["gateway", "verdict", "reason", "to", "ttl"],
        hops.map((h) => [h.gateway, h.verdict, h.reason, h.to, String(h.hopTtl)]),
        messageId ? "no gateway of this domain keeps a hop of this message; send it with --trace" : "",
      ),
      ...answers.filter((a) => a.summary !== "").map((a) => `${a.gateway}: ${a.summary}`),
    ]
      .filter((line) => line !== "")
      .join("\n"),
  );
}

function reasonNames(): string[] {
  return Object.values(aca.RevocationReason)
    .filter((value): value is string => typeof value === "string" && value !== "UNSPECIFIED")
    .map((name) => name.toLowerCase().replaceAll("_", "-"));
}

function reasonOf(name: string): aca.RevocationReason {
  const reason = Object.entries(aca.RevocationReason).find(
    ([key]) => key === name.toUpperCase().replaceAll("-", "_"),
  )?.[1];
  if (typeof reason === "number") return reason;
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    `expected a reason out of ${reasonNames().join(", ")}, got ${JSON.stringify(name)}`,
  );
}
