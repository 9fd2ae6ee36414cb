/** Applications for an identity without a token: made by the agent's side, decided by the operator. */
import { parseAgentId, shortName } from "@causeway/core-base";
import type { Command } from "commander";
import { table } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";

interface ApplyOptions extends CommonOptions {
  readonly bundle: string;
  readonly organisation: string;
  readonly developer: string;
  readonly function: string;
  readonly scope: string[];
}

export function addApplicationCommands(cert: Command): void {
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
