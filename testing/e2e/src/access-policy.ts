/** A random access policy for two domains with twenty agents, and a model of it in plain words (ANA-45). */
import { SeededRandom } from "@causeway/core-base/testing";
import type { PolicyRule } from "@causeway/core-forwarding";

export const domains = ["blue.example", "green.example"] as const;
const namespaces = ["a", "b"] as const;
const agentsPerDomain = 10;

/** What the policy of one seed says of one agent. */
export interface Facts {
  readonly name: string;
  readonly domain: string;
  readonly allowedDomains: readonly string[];
  readonly visibleDomains: readonly string[];
  /** Of its topic; empty for everybody. */
  readonly subscribers: readonly string[];
}

export interface Policy {
  readonly agents: readonly Facts[];
  /** By name of the gateway, as in PATH order of `way`. */
  readonly rules: Readonly<Record<string, readonly PolicyRule[]>>;
}

const pick = <T>(random: SeededRandom, from: readonly T[]): T => from[random.below(from.length)] as T;

export function policyOf(seed: number): Policy {
  const random = new SeededRandom(seed);
  const names = domains.flatMap((domain) =>
    Array.from({ length: agentsPerDomain }, (_, i) => ({
      domain,
      name: `${domain}/${pick(random, namespaces)}/n${i}`,
    })),
  );
  const someDomains = (): readonly string[] => pick(random, [[], [], [domains[0]], [domains[1]], [...domains]]);
  const someone = (): string => `spiffe://${pick(random, names).name}`;
  const group = (): string => `spiffe://${pick(random, domains)}/${pick(random, namespaces)}/`;
  const agents = names.map((each) => ({
    ...each,
    allowedDomains: someDomains(),
    visibleDomains: someDomains(),
    subscribers: Array.from({ length: random.below(4) }, () => (random.below(2) === 0 ? someone() : group())),
  }));
  const place = (): string =>
    pick(random, [
      pick(random, domains),
      `${pick(random, domains)}/${pick(random, namespaces)}`,
      pick(random, names).name,
    ]);
  const rule = (name: string): PolicyRule => ({
    name,
    effect: random.below(3) === 0 ? "permit" : "deny",
    ...(random.below(4) > 0 && { source: place() }),
    target: place(),
    ...(random.below(3) === 0 && { direction: pick(random, ["inbound", "outbound", "internal"] as const) }),
  });
  const rules = Object.fromEntries(
    domains.flatMap((domain) =>
      ["l1", "l2"].map((gateway) => [
        `${gateway}.${domain}`,
        Array.from({ length: random.below(4) }, (_, i) => rule(`rule${i}`)),
      ]),
    ),
  );
  return { agents, rules };
}

/** The policy in plain words. */
export const model = {
  isCovered: (place: string, name: string): boolean => name === place || name.startsWith(`${place}/`),

  /** The first rule that fits decides; none permits. */
  permits(rules: readonly PolicyRule[], own: string, from: Facts, to: Facts): boolean {
    const directions = { "true true": "internal", "true false": "outbound", "false true": "inbound" } as Record<
      string,
      string
    >;
    const direction = directions[`${from.domain === own} ${to.domain === own}`] ?? "transit";
    const first = rules.find(
      (each) =>
        (each.direction ?? direction) === direction &&
        (each.source === undefined || model.isCovered(each.source, from.name)) &&
        (each.target === undefined || model.isCovered(each.target, to.name)),
    );
    return first?.effect !== "deny";
  },

  mayFind: (who: Facts, whom: Facts): boolean =>
    who.domain === whom.domain || whom.visibleDomains.length === 0 || whom.visibleDomains.includes(who.domain),

  maySend({ rules }: Policy, from: Facts, to: Facts): boolean {
    // Nobody outside is told the way to an agent that does not show itself there.
    if (!model.mayFind(from, to)) return false;
    const isListed =
      from.domain === to.domain || to.allowedDomains.length === 0 || to.allowedDomains.includes(from.domain);
    const way =
      from.domain === to.domain
        ? [`l1.${from.domain}`]
        : [`l1.${from.domain}`, `l2.${from.domain}`, `l2.${to.domain}`, `l1.${to.domain}`];
    return isListed && way.every((each) => model.permits(rules[each] ?? [], each.slice(3), from, to));
  },

  maySubscribe: (who: Facts, owner: Facts): boolean =>
    owner.subscribers.length === 0 ||
    who.name === owner.name ||
    owner.subscribers.some((each) =>
      each.endsWith("/") ? `spiffe://${who.name}`.startsWith(each) : each === `spiffe://${who.name}`,
    ),
};

export const topicOf = (owner: Facts): string => `${owner.name}/news`;

/**
 * Lines of the matrix where the network and the model differ, and how often the model says yes and no. `atOnce`: what
 * one agent tries, it tries at the same time.
 */
export async function differences(
  { agents }: Policy,
  decide: (who: Facts, whom: Facts) => Promise<boolean>,
  expected: (who: Facts, whom: Facts) => boolean,
  { atOnce = false }: { readonly atOnce?: boolean } = {},
): Promise<{ readonly wrong: readonly string[]; readonly yes: number; readonly no: number }> {
  const wrong: string[] = [];
  let [yes, no] = [0, 0];
  const compare = async (who: Facts, whom: Facts): Promise<void> => {
    const should = expected(who, whom);
    if (should) yes++;
    else no++;
    if ((await decide(who, whom)) !== should) wrong.push(`${who.name} to ${whom.name}: expected ${should}`);
  };
  for (const who of agents) {
    if (atOnce) await Promise.all(agents.map((whom) => compare(who, whom)));
    else for (const whom of agents) await compare(who, whom);
  }
  return { wrong, yes, no };
}
