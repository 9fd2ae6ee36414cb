/** Bounds and timers of the services of a domain: looking at them and changing them (AAP-103). */
import { refuse } from "@causeway/core-base";
import type { admin } from "@causeway/core-wire";
import type { Client } from "@connectrpc/connect";
import type { Command } from "commander";
import type { Operator } from "../processes/operator.ts";
import { counted, table } from "../terminal/output.ts";
import { asOperator } from "./acting.ts";
import { type Asked, askAll, type ServiceChoice, servicesOf, showAsked, withServiceOptions } from "./asking.ts";
import { type CommonOptions, type Context, withCommonOptions } from "./context.ts";

/** How long a service may take to answer. */
const answerMs = 10_000;

type LimitOptions = CommonOptions & ServiceChoice;

interface ListOptions extends LimitOptions {
  readonly changed?: boolean;
}

/** A service that has limits. */
interface Limited {
  readonly service: string;
  readonly client: Client<typeof admin.LimitsService>;
}

export function addLimitCommands(program: Command): void {
  const limits = program.command("limits").description("bounds and timers of gateways, the registry and the authority");
  const add = (usage: string, description: string, options?: { readonly isDefault: boolean }): Command =>
    withServiceOptions(withCommonOptions(limits.command(usage, options)).description(description));

  add("list", "every limit with its value now, default, bounds, and when a change counts", { isDefault: true })
    .option("--changed", "only those that are not the default")
    .action((options: ListOptions) => asOperator(options, (operator, context) => list(operator, context, options)));
  add("set <name> <value>", "change a limit while the service runs, until its next restart or reload").action(
    (name: string, value: string, options: LimitOptions) =>
      asOperator(options, (operator, context) => set(operator, context, options, name, value)),
  );
  add("reload", "take over what the configuration file says of limits and policy now, as SIGHUP does").action(
    (options: LimitOptions) => asOperator(options, (operator, context) => reload(operator, context, options)),
  );
}

async function list(operator: Operator, { out }: Context, options: ListOptions): Promise<void> {
  const asked = await askAll(limitedOf(operator, options), async ({ service, client }) => {
    const { limits } = await client.listLimits({}, { timeoutMs: answerMs });
    return limits.map((limit) => ({ service, ...limit }));
  });
  const limits = asked.answers.flat().filter((each) => options.changed !== true || each.value !== each.defaultValue);
  showAsked(out, asked, { limits }, () =>
    table(
      ["service", "name", "value", "unit", "default", "from", "to", "counts", "set by"],
      limits.map((each) => [
        each.service,
        each.name,
        String(each.value),
        each.unit,
        String(each.defaultValue),
        String(each.min),
        String(each.max),
        each.effect,
        each.setBy,
      ]),
      "every limit has its default",
    ),
  );
}

async function set(
  operator: Operator,
  { out }: Context,
  options: LimitOptions,
  name: string,
  value: string,
): Promise<void> {
  if (!/^\d{1,16}$/.test(value))
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a whole number for ${name}, got ${JSON.stringify(value)}`);
  const { chosen, failures } = await whoHas(limitedOf(operator, options), name);
  const { answers: changes, failures: more } = await askAll(chosen, async ({ service, client }) => {
    const { limit, before } = await client.setLimit({ name, value: BigInt(value) }, { timeoutMs: answerMs });
    return { service, name, from: before, to: limit?.value ?? before, effect: limit?.effect ?? "" };
  });
  showAsked(out, { answers: changes, failures: [...failures, ...more] }, { changes }, () =>
    [
      ...changes.map((each) => `${each.service}: ${name} is ${each.to}, was ${each.from}; it counts ${each.effect}`),
      "This lasts until the next restart or reload. To keep it, write it to the configuration as well.",
    ].join("\n"),
  );
  if (chosen.length === 0) out.problem(`${name} was changed nowhere: no service that answers has it`);
}

async function reload(operator: Operator, { out }: Context, options: LimitOptions): Promise<void> {
  const asked = await askAll(limitedOf(operator, options), async ({ service, client }) => {
    const { changed, pending, rulesAdded, rulesRemoved, rulesReordered } = await client.reloadLimits(
      {},
      { timeoutMs: answerMs },
    );
    const plain = (each: admin.LimitChange) => ({ name: each.name, from: each.from, to: each.to });
    const rules = { added: rulesAdded, removed: rulesRemoved, reordered: rulesReordered };
    return { service, changed: changed.map(plain), pending: pending.map(plain), rules };
  });
  showAsked(out, asked, { services: asked.answers }, ({ services }) =>
    services
      .flatMap(({ service, changed, pending, rules }) => [
        `${service}: ${counted(changed.length, "limit")} changed`,
        ...changed.map((each) => `  ${each.name} is ${each.to}, was ${each.from}`),
        ...pending.map(
          (each) => `  ${each.name} stays ${each.from} until a restart; the configuration says ${each.to}`,
        ),
        ...rules.removed.map((rule) => `  rule no longer in force: ${rule}`),
        ...rules.added.map((rule) => `  rule in force: ${rule}`),
        ...(rules.reordered ? ["  the other rules are in another order"] : []),
      ])
      .join("\n"),
  );
}

/**
 * Only those services that know the limit, and the failures of those that did not say; all services when every one said
 * that it does not, so that one of them says why.
 */
async function whoHas(
  services: readonly Limited[],
  name: string,
): Promise<{ readonly chosen: readonly Limited[]; readonly failures: Asked<Limited>["failures"] }> {
  const { answers, failures } = await askAll(services, async (each) => {
    const { limits } = await each.client.listLimits({}, { timeoutMs: answerMs });
    return limits.some((limit) => limit.name === name) ? [each] : [];
  });
  const chosen = answers.flat();
  return { chosen: chosen.length === 0 && failures.length === 0 ? services : chosen, failures };
}

function limitedOf(operator: Operator, options: ServiceChoice): readonly Limited[] {
  return servicesOf(operator, options).map(({ service, url, role }) => ({
    service,
    client: operator.limits(url, role),
  }));
}
