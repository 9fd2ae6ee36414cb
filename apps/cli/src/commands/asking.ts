/** Asking several services of a domain at once: one that does not answer must not hide what the others say. */
import { CausewayError, refuse } from "@causeway/core-base";
import type { Command } from "commander";
import type { GatewayConfig } from "../config/domain.ts";
import type { Operator, ServiceRole } from "../processes/operator.ts";
import { failureOf, sentenceOf } from "../terminal/failure.ts";
import type { Output } from "../terminal/output.ts";

/** What came back: an answer, or the error of a service by its name. */
export interface Asked<A> {
  readonly answers: readonly A[];
  readonly failures: readonly Failed[];
}

interface Failed {
  readonly service: string;
  /** Its message begins with the name of the service. */
  readonly error: CausewayError;
}

/**
 * Asks all at once. Throws, naming the service, when there is nothing else to show: it was the only one that was asked,
 * or every one refuses what the caller has to correct.
 */
export async function askAll<S extends { readonly service: string }, A>(
  services: readonly S[],
  ask: (service: S) => Promise<A>,
): Promise<Asked<A>> {
  const answers: A[] = [];
  const failures: Failed[] = [];
  const outcomes = await Promise.allSettled(services.map((each) => ask(each)));
  for (const [i, { service }] of services.entries()) {
    const outcome = outcomes[i];
    if (outcome?.status === "fulfilled") answers.push(outcome.value);
    else failures.push({ service, error: named(service, outcome?.reason) });
  }
  const [first] = failures;
  const isMisuse = failures.length === services.length && failures.every(({ error }) => error.family === "misuse");
  if (first !== undefined && (services.length === 1 || isMisuse)) throw first.error;
  return { answers, failures };
}

/** Asks the gateway of this name, or every one of the domain. */
export function askGateways<A>(
  operator: Operator,
  name: string | undefined,
  ask: (gateway: GatewayConfig) => Promise<A>,
): Promise<Asked<A>> {
  const gateways = operator.gateways(name).map((gateway) => ({ service: `gateway ${gateway.name}`, gateway }));
  return askAll(gateways, ({ gateway }) => ask(gateway));
}

/** Which services of the domain are asked. */
export interface ServiceChoice {
  readonly gateway?: string;
  readonly registry?: boolean;
  readonly authority?: boolean;
}

/** A service by its name in answers, and how it is reached. */
export interface ServiceAddress {
  readonly service: string;
  readonly url: string;
  readonly role: ServiceRole;
}

/** Adds the options of `ServiceChoice`. */
export function withServiceOptions(command: Command): Command {
  return command
    .option("--gateway <name>", "only of this gateway (default: of all gateways, the registry and the authority)")
    .option("--registry", "only of the registry")
    .option("--authority", "only of the authority");
}

/** The services that are chosen; every one of the domain when none is. Throws when the domain has not got it. */
export function servicesOf(operator: Operator, choice: ServiceChoice): readonly ServiceAddress[] {
  const { registry, authority, domain } = operator.config;
  const isAny = choice.gateway === undefined && choice.registry !== true && choice.authority !== true;
  if (choice.registry === true && registry === undefined)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `${domain} has no registry`);
  const gateways = isAny || choice.gateway !== undefined ? operator.gateways(choice.gateway) : [];
  return [
    ...gateways.map(({ name, url }) => ({ service: `gateway ${name}`, url, role: "gateway" as const })),
    ...(registry !== undefined && (isAny || choice.registry === true)
      ? [{ service: "registry", url: registry.url, role: "registry" as const }]
      : []),
    ...(isAny || choice.authority === true
      ? [{ service: "authority", url: authority.url, role: "authority" as const }]
      : []),
  ];
}

/**
 * Writes what was answered, and names each service that did not. The exit code is 1 then. Without any answer there is no
 * text: an empty table would say that nothing is there.
 */
export function showAsked<T extends object>(
  out: Output,
  { answers, failures }: Asked<unknown>,
  value: T,
  render: (value: T) => string,
): void {
  const failed = failures.map(({ service, error: { code, message, retryable } }) => ({
    service,
    error: { code, message, retryable },
  }));
  if (out.json || answers.length > 0)
    out.result({ ok: failures.length === 0, ...value, failures: failed }, () => render(value));
  for (const { error } of failures) out.problem(failureOf(error)?.text ?? error.message);
  if (failures.length > 0) process.exitCode = 1;
}

/** The error with the name of the service in front. */
export function named(service: string, thrown: unknown): CausewayError {
  const { code, retryAfterMs, details } = CausewayError.from(thrown);
  const message = `${service}: ${sentenceOf(thrown)}`;
  return new CausewayError({ code, message, retryAfterMs, details }, { cause: thrown });
}
