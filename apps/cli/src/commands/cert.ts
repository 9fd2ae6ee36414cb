/** Tokens, applications, certificates and revocation, and trust between domains. */
import { parseAgentId, parseSpiffeId, refuse, shortName } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import type { Command } from "commander";
import { table } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";
import { numberOf } from "./data.ts";

/** What authorities grant. */
const hoursMax = 24 * 30;
const hourMs = 3_600_000;

/** RFC 5280 section 5.3.1, as people write them. */
const reasons = {
  "key-compromise": "KEY_COMPROMISE",
  "affiliation-changed": "AFFILIATION_CHANGED",
  superseded: "SUPERSEDED",
  "cessation-of-operation": "CESSATION_OF_OPERATION",
  "certificate-hold": "CERTIFICATE_HOLD",
  "remove-from-crl": "REMOVE_FROM_CRL",
  "privilege-withdrawn": "PRIVILEGE_WITHDRAWN",
} as const satisfies Record<string, keyof typeof aca.RevocationReason>;

export function addCertCommands(program: Command): void {
  const cert = program.command("cert").description("tokens, certificates, revocation, trust between domains");
  withCommonOptions(cert.command("token [name]"))
    .description("make a one-time join token for an agent, or for a service on another machine")
    .option("--gateway <name>", "for this gateway of the configuration")
    .option("--registry", "for the registry of the configuration")
    .option("--hours <n>", "how long it is valid", "1")
    .action(token);
  addApplicationCommands(cert);
  withCommonOptions(cert.command("list [name]")).description("issued certificates").action(list);
  withCommonOptions(cert.command("revoke <name>"))
    .description("revoke every certificate of an agent, gateway or registry")
    .option("--reason <reason>", Object.keys(reasons).join(", "), "cessation-of-operation")
    .action(revoke);
  addTrustCommands(cert);
}

interface TokenOptions extends CommonOptions {
  readonly gateway?: string;
  readonly registry?: boolean;
  readonly hours: string;
}

async function token(name: string | undefined, options: TokenOptions): Promise<void> {
  const lifetimeMs = BigInt(numberOf(options.hours, "--hours", 1, hoursMax) * hourMs);
  const agentId = name === undefined ? undefined : parseAgentId(name);
  if ([agentId, options.gateway, options.registry].filter((each) => each !== undefined).length !== 1) {
    throw refuse("CAUSEWAY_MISUSE", "expected one of: the name of an agent, --gateway NAME, --registry");
  }
  const { gatewayToken, registryToken } = await import("../processes/service-tokens.ts");
  await asOperator(
    options,
    async (operator, { out }) => {
      const request = () => {
        if (agentId !== undefined) return [{ spiffeId: agentId, role: "agent" }];
        if (options.registry === true) return [registryToken(operator.config)];
        return operator.gateways(options.gateway).map((gateway) => gatewayToken(operator.config, gateway));
      };
      for (const each of request()) {
        const response = await operator.authority.createToken({ ...each, lifetimeMs });
        out.result(
          { token: response.token, spiffeId: each.spiffeId, expiresUnixMs: Number(response.expiresUnixMs) },
          (r) => r.token,
        );
      }
    },
    name,
  );
}

async function list(name: string | undefined, options: CommonOptions): Promise<void> {
  const spiffeId = name === undefined ? "" : parseSpiffeId(name);
  const { aca } = await import("@causeway/core-wire");
  await asOperator(
    options,
    async (operator, { out }) => {
      const { certificates } = await operator.authority.listCertificates({ spiffeId });
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
    },
    name,
  );
}

async function revoke(name: string, options: CommonOptions & { readonly reason: string }): Promise<void> {
  const spiffeId = parseSpiffeId(name);
  const chosen = Object.entries(reasons).find(([key]) => key === options.reason)?.[1];
  if (chosen === undefined) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a reason out of ${Object.keys(reasons).join(", ")} for --reason, got ${JSON.stringify(options.reason)}`,
    );
  }
  const { aca } = await import("@causeway/core-wire");
  await asOperator(
    options,
    async (operator, { out }) => {
      const { revoked } = await operator.authority.revoke({ spiffeId, reason: aca.RevocationReason[chosen] });
      out.result({ ok: true, revoked }, () => `${revoked} certificates of ${name} revoked`);
    },
    name,
  );
}

interface ApplyOptions extends CommonOptions {
  readonly bundle: string;
  readonly organisation: string;
  readonly developer: string;
  readonly function: string;
  readonly scope: string[];
}

function addApplicationCommands(cert: Command): void {
  withCommonOptions(cert.command("apply <name>"))
    .description("apply for an identity without a token; waits until an operator has decided")
    .requiredOption("--bundle <file>", "trust bundle of the domain, from its operator (cert export-bundle)")
    .requiredOption("--organisation <name>", "who stands behind the agent")
    .requiredOption("--developer <name>", "who made it")
    .requiredOption("--function <type>", "what it does, in a word or two")
    .requiredOption("--scope <scope...>", "what it will be used for")
    .action(apply);
  withCommonOptions(cert.command("applications"))
    .description("applications that wait for a decision")
    .option("--all", "also those that are decided")
    .action(applications);
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
}

const undecided = new Set(["requested", "in review"]);

async function applications(options: CommonOptions & { readonly all?: boolean }): Promise<void> {
  await asOperator(options, async (operator, { out }) => {
    const { applications } = await operator.authority.listApplications({});
    const shown = options.all === true ? applications : applications.filter(({ state }) => undecided.has(state));
    out.result(shown, () =>
      table(
        ["id", "agent", "state", "organisation", "developer"],
        shown.map((a) => [
          a.id,
          a.spiffeId.replace("spiffe://", ""),
          a.state,
          a.material?.organisation ?? "",
          a.material?.developer ?? "",
        ]),
        "no application waits",
      ),
    );
  });
}

async function apply(name: string, options: ApplyOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const agentId = parseAgentId(name);
  const { applyForIdentity } = await import("../processes/applicant.ts");
  const { readBundle } = await import("../processes/bundle.ts");
  const applied = applyForIdentity({
    directory: home.agentDirectory(shortName(agentId)),
    masterKeyFile: home.masterKeyFile,
    agentId,
    bundle: readBundle(options.bundle),
    material: {
      organisation: options.organisation,
      developer: options.developer,
      functionType: options.function,
      scopes: options.scope,
    },
    onPending: (id) => process.stderr.write(`application ${id} waits for the operator: causeway cert approve ${id}\n`),
  });
  const { directory, notAfterUnixMs } = await out.during("waiting for the operator's decision", applied);
  const until = new Date(notAfterUnixMs).toISOString();
  out.result(
    { ok: true, agentId, directory, notAfter: until },
    () => `${shortName(agentId)} has an identity in ${directory}, certified until ${until} and renewed when it runs`,
  );
}

function addTrustCommands(cert: Command): void {
  withCommonOptions(cert.command("export-bundle <file>"))
    .description("write this domain's trust bundle, for the operator of another domain")
    .action(exportBundle);
  withCommonOptions(cert.command("trust <file>"))
    .description("trust another domain by the bundle that its operator handed over")
    .action(trust);
  withCommonOptions(cert.command("trusted"))
    .description("the domains that are trusted, own one first, with the fingerprints of their roots")
    .action(trusted);
  withCommonOptions(cert.command("distrust <domain>"))
    .description("end trust in another domain")
    .action((domain: string, options: CommonOptions) =>
      asOperator(options, async (operator, { out }) => {
        await operator.authority.removeTrust({ domain });
        out.result({ ok: true, domain }, () => `${operator.config.domain} no longer trusts ${domain}`);
      }),
    );
}

async function exportBundle(file: string, options: CommonOptions): Promise<void> {
  const { fingerprintsOf, writeBundle } = await import("../processes/bundle.ts");
  await asOperator(options, async (operator, { out }) => {
    const own = await operator.bundle();
    const fingerprints = fingerprintsOf(own);
    writeBundle(file, own);
    out.result({ ok: true, file, domain: own.domain, fingerprints }, () =>
      [
        `trust bundle of ${own.domain} written to ${file}; read its fingerprint to the other operator:`,
        ...fingerprints.map((fingerprint) => `  ${fingerprint}`),
      ].join("\n"),
    );
  });
}

async function trust(file: string, options: CommonOptions): Promise<void> {
  const { fingerprintsOf, readBundle } = await import("../processes/bundle.ts");
  const bundle = readBundle(file);
  await asOperator(options, async (operator, { out }) => {
    await operator.authority.addTrust({ bundle });
    const fingerprints = fingerprintsOf(bundle);
    out.result({ ok: true, domain: bundle.domain, fingerprints }, () =>
      [
        `${operator.config.domain} now trusts ${bundle.domain}; compare the fingerprint with its operator:`,
        ...fingerprints.map((fingerprint) => `  ${fingerprint}`),
      ].join("\n"),
    );
  });
}

async function trusted(options: CommonOptions): Promise<void> {
  const { fingerprintsOf } = await import("../processes/bundle.ts");
  await asOperator(options, async (operator, { out }) => {
    const { state } = await operator.authority.getTrust({});
    const rows = (state?.bundles ?? []).map((bundle) => ({
      domain: bundle.domain,
      authorityUrl: bundle.authorityUrl,
      fingerprints: fingerprintsOf(bundle),
    }));
    out.result(rows, () =>
      table(
        ["domain", "authority", "root"],
        rows.flatMap((row) => row.fingerprints.map((fingerprint) => [row.domain, row.authorityUrl, fingerprint])),
        "no domain",
      ),
    );
  });
}
