/** Trust between domains: bundles that operators hand to each other. */
import type { Command } from "commander";
import { table } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { type CommonOptions, withCommonOptions } from "./context.ts";

export function addTrustCommands(cert: Command): void {
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
