/** The command `cert`: join tokens, certificates and revocation here; applications and trust beside it. */
import { parseAgentId, parseSpiffeId, refuse } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import type { Command } from "commander";
import { table } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { addApplicationCommands } from "./applications.ts";
import { type CommonOptions, withCommonOptions } from "./context.ts";
import { numberOf } from "./data.ts";
import { addTrustCommands } from "./trust.ts";

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
    .option("--monitor <name>", "for a monitoring system on another machine, which may read metrics")
    .option("--hours <n>", "how long it is valid", "1")
    .action(token);
  addApplicationCommands(cert);
  withCommonOptions(cert.command("list [name]")).description("issued certificates").action(list);
  withCommonOptions(cert.command("revoke <name>"))
    .description("revoke every certificate of an agent, gateway, registry or monitor")
    .option("--reason <reason>", Object.keys(reasons).join(", "), "cessation-of-operation")
    .action(revoke);
  addTrustCommands(cert);
}

interface TokenOptions extends CommonOptions {
  readonly gateway?: string;
  readonly registry?: boolean;
  readonly monitor?: string;
  readonly hours: string;
}

async function token(name: string | undefined, options: TokenOptions): Promise<void> {
  const lifetimeMs = BigInt(numberOf(options.hours, "--hours", 1, hoursMax) * hourMs);
  const agentId = name === undefined ? undefined : parseAgentId(name);
  const { monitor } = options;
  if ([agentId, options.gateway, options.registry, monitor].filter((each) => each !== undefined).length !== 1) {
    throw refuse(
      "CAUSEWAY_MISUSE",
      "expected one of: the name of an agent, --gateway NAME, --registry, --monitor NAME",
    );
  }
  const { gatewayToken, monitorToken, registryToken } = await import("../processes/service-tokens.ts");
  await asOperator(
    options,
    async (operator, { out }) => {
      const request = () => {
        if (agentId !== undefined) return [{ spiffeId: agentId, role: "agent" }];
        if (monitor !== undefined) return [monitorToken(operator.config, monitor)];
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
