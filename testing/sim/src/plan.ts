/**
 * What a seed draws before anything happens: topology, limits, which faults are on and how strong, who misbehaves. Tiny
 * limits and few actors find more than large ones.
 */

import type { AgentAttachmentOptions, AttachmentModelName, GatewayAttachmentsOptions } from "@causeway/core-attachment";
import { type Domain, parseDomain } from "@causeway/core-base";
import { defaultSyncLimits, type SyncLimits } from "@causeway/core-sync";
import type { TopicsOptions } from "@causeway/core-topics";
import type { ClockFault } from "./clock.ts";
import type { FabricTimes } from "./fabric.ts";
import type { MailPlan } from "./mail-plan.ts";
import { SeededRandom } from "./random.ts";
import type { WorldKind } from "./world-names.ts";

export interface GatewayPlan {
  readonly name: string;
  readonly domain: Domain;
  readonly role: "level1" | "level2" | "reader";
  /** Whom it dials for AMSP. */
  readonly dials: readonly string[];
  /** Whom it dials for messages. */
  readonly dataDials: readonly string[];
  readonly clock: ClockFault;
  /** Records with this tag are not exported to other domains. */
  readonly secretTag: string | undefined;
  /** Its records follow the presence of agents. */
  readonly hasAgents: boolean;
}

export interface AgentPlan {
  readonly name: string;
  readonly path: string;
  readonly domain: Domain;
  /** Gateways of its domain, in the order in which it tries them. */
  readonly homes: readonly string[];
  readonly model: AttachmentModelName;
  readonly tags: readonly string[];
  readonly visibleDomains: readonly Domain[];
  readonly clock: ClockFault;
}

type Times<T, K extends keyof T> = { readonly [P in K]-?: NonNullable<T[P]> };

/** Bounds and times of every machine in this world. */
export interface Limits {
  readonly sync: SyncLimits;
  readonly attachment: Times<
    GatewayAttachmentsOptions,
    "heartbeatMs" | "staleAfterMs" | "removeAfterStaleMs" | "leaseMs" | "handshakeMs"
  >;
  readonly agent: Times<AgentAttachmentOptions, "handshakeMs" | "reconnectMsMin" | "reconnectMsMax" | "staleAfterMs">;
  readonly topics: Times<TopicsOptions, "duplicatesMax" | "interestDelayMs">;
  readonly dataRetryMs: number;
  /** Mailboxes, reliable messages and streams; undefined for none. */
  readonly mail: MailPlan | undefined;
}

/** Mean time between two faults of a kind; undefined for never. */
export interface FaultPlan {
  readonly resetMs: number | undefined;
  /** Of resets: how many tell only one end, or none. */
  readonly halfOpen: number;
  readonly partitionMs: number | undefined;
  /** Of partitions: how many block one direction only. */
  readonly asymmetric: number;
  readonly clogMs: number | undefined;
  readonly crashMs: number | undefined;
  readonly silentCrash: number;
  /** Of crashes: how many happen between two effects. */
  readonly midEffects: number;
  /** Of restarts. */
  readonly olderDisk: number;
  readonly lostDisk: number;
  /** Mean time until the disk of a gateway's mailboxes takes nothing for a while; never when there is none. */
  readonly diskFullMs?: number;
}

export interface Plan {
  readonly seed: number;
  readonly kind: WorldKind;
  readonly gateways: readonly GatewayPlan[];
  readonly agents: readonly AgentPlan[];
  readonly limits: Limits;
  readonly fabric: FabricTimes;
  readonly faults: FaultPlan;
  /** A gateway that lies about records until the world heals. */
  readonly liar: string | undefined;
  /** An agent tries to attach without its key. */
  readonly hasImpostor: boolean;
  /** Mean time between two deeds of agents or gateways. */
  readonly workMs: number;
  readonly messageMs: number;
  /** How long faults go on. */
  readonly faultMs: number;
  /** Fewer records are accepted from a peer than there may be: not everything can be known everywhere. */
  readonly isCramped: boolean;
}

const domains = ["blue.example", "green.example"].map(parseDomain);

export function drawPlan(seed: number, wanted: WorldKind | undefined): Plan {
  const random = new SeededRandom(seed, 1);
  const drawn: WorldKind = random.chance(0.4) ? "sync" : "agents";
  const kind = wanted ?? drawn;
  const limits = drawLimits(random);
  const gateways = drawGateways(random).map((each) => ({ ...each, hasAgents: kind === "agents" }));
  const agents = drawAgents(random, gateways);
  const isCramped = random.chance(0.12);
  const recordsPerPeerMax = isCramped ? random.between(1, 3) : defaultSyncLimits.recordsPerPeerMax;
  const liars = gateways.filter((g) => g.role !== "reader");
  return {
    seed,
    kind,
    gateways,
    agents,
    limits: { ...limits, sync: { ...limits.sync, recordsPerPeerMax } },
    fabric: drawTimes(random),
    faults: drawFaults(random),
    liar: liars.length > 2 && random.chance(0.25) ? random.pick(liars).name : undefined,
    hasImpostor: random.chance(0.4),
    workMs: random.pick([150, 400, 1_000]),
    messageMs: random.pick([100, 300, 800]),
    faultMs: random.between(6, 25) * 1_000,
    isCramped,
  };
}

/** One line for a report. */
export function planText(plan: Plan): string {
  const links = plan.gateways.flatMap((g) => g.dataDials.map((to) => `${g.name}-${to}`));
  const { resetMs, partitionMs, clogMs, crashMs, halfOpen } = plan.faults;
  const faults = Object.entries({ resetMs, partitionMs, clogMs, crashMs })
    .filter(([, ms]) => ms !== undefined)
    .map(([name]) => name.replace("Ms", "s"));
  return [
    `world ${plan.kind}`,
    `links ${links.join(" ") || "none"}`,
    `agents ${plan.agents.length}`,
    `faults ${[...faults, ...(halfOpen > 0 && resetMs !== undefined ? ["half-open"] : [])].join(" ") || "none"}`,
    ...(plan.liar === undefined ? [] : [`${plan.liar} lies`]),
    ...(plan.isCramped ? ["cramped"] : []),
  ].join(", ");
}

function drawGateways(random: SeededRandom): readonly Omit<GatewayPlan, "hasAgents">[] {
  const coreCount = random.between(1, 4);
  const shape = random.pick(["line", "ring", "mesh"] as const);
  const cores = random.shuffled(["core0", "core1", "core2", "core3"]).slice(0, coreCount);
  const isTwo = coreCount > 1 && random.chance(0.5);
  // Each domain is contiguous: messages between its own gateways need not pass another domain, which would refuse them.
  const blues = !isTwo ? coreCount : shape === "ring" && coreCount === 4 ? 2 : random.between(1, coreCount - 1);
  const domainOf = (i: number): Domain => domains[i < blues ? 0 : 1] as Domain;
  const edges = pairs(shape, cores);
  const dials = new Map<string, string[]>();
  const dataDials = new Map<string, string[]>();
  for (const [a, b] of edges) {
    const [from, to] = random.chance(0.5) ? [a, b] : [b, a];
    add(dials, from, to);
    add(dataDials, from, to);
    if (random.chance(0.25)) add(dials, to, from);
  }
  const secretTag = random.chance(0.25) ? "secret" : undefined;
  const plans: Omit<GatewayPlan, "hasAgents">[] = cores.map((name, i) => ({
    name,
    domain: domainOf(i),
    role: "level2",
    dials: dials.get(name) ?? [],
    dataDials: dataDials.get(name) ?? [],
    clock: drawClock(random),
    secretTag: random.chance(0.7) ? secretTag : undefined,
  }));
  for (let i = random.between(1, 4) + (random.chance(0.3) ? 2 : 0); i > 0; i--) {
    const home = random.pick(plans.filter((g) => g.role === "level2"));
    const others = plans.filter((g) => g.role === "level2" && g.domain === home.domain && g !== home);
    const second = random.chance(0.4) ? random.pickOr(others) : undefined;
    const homes = [home.name, ...(second === undefined ? [] : [second.name])];
    plans.push({
      name: `edge${i - 1}`,
      domain: home.domain,
      role: "level1",
      dials: homes,
      dataDials: homes,
      clock: drawClock(random),
      secretTag: undefined,
    });
  }
  if (random.chance(0.4)) {
    const home = random.pick(plans.filter((g) => g.role === "level2"));
    const { domain } = home;
    const clock = drawClock(random);
    plans.push({ name: "ars", domain, role: "reader", dials: [home.name], dataDials: [], clock, secretTag: undefined });
  }
  return plans;
}

function drawAgents(random: SeededRandom, gateways: readonly Omit<GatewayPlan, "hasAgents">[]): readonly AgentPlan[] {
  const present = [...new Set(gateways.map((g) => g.domain))];
  return Array.from({ length: random.between(1, 7) }, (_, i) => {
    const domain = random.pick(present);
    const homes = random.shuffled(gateways.filter((g) => g.domain === domain && g.role !== "reader"));
    return {
      name: `agent${i}`,
      path: `${random.pick(["shop", "travel"])}/agent${i}`,
      domain,
      homes: homes.slice(0, random.between(1, 3)).map((g) => g.name),
      model: random.chance(0.3) ? "soft" : "stateful",
      tags: random.chance(0.3) ? ["secret"] : random.chance(0.5) ? ["open"] : [],
      visibleDomains: random.chance(0.2) ? [domain] : [],
      clock: drawClock(random),
    };
  });
}

function drawLimits(random: SeededRandom): Limits {
  const heartbeatMs = random.pick([1_000, 2_000, 3_000]);
  const staleAfterMs = 3 * heartbeatMs;
  const removeAfterStaleMs = random.pick([4_000, 10_000]);
  const keepAliveMs = random.pick([1_000, 2_000, 4_000]);
  const reconnectMsMax = random.pick([1_000, 3_000]);
  return {
    sync: {
      ...defaultSyncLimits,
      keepAliveMs,
      offlineAfterMs: 3 * keepAliveMs,
      helloMs: random.pick([3_000, 6_000]),
      offlineKeepMs: random.pick([5_000, 30_000, 900_000]),
      retainMs: random.pick([2_000, 20_000, 900_000]),
      // Longer than any run: a gateway that was away comes back while withdrawals are remembered.
      tombstoneMs: 900_000,
      flushMs: random.pick([1, 20, 50, 200]),
      restartGraceMs: random.pick([0, 500, 2_000]),
      auditMs: random.pick([1_000, 5_000, 20_000]),
      unacknowledgedMax: random.pick([1, 2, 8, 256]),
      acknowledgeEvery: random.pick([1, 3, 32]),
      subscriptionsActiveMax: random.pick([1, 3, 10_000]),
      reconnectMsMin: 200,
      reconnectMsMax,
    },
    attachment: {
      heartbeatMs,
      staleAfterMs,
      removeAfterStaleMs,
      leaseMs: staleAfterMs + random.pick([500, 3_000, removeAfterStaleMs + 5_000]),
      handshakeMs: random.pick([2_000, 5_000]),
    },
    agent: { handshakeMs: 3_000, reconnectMsMin: 200, reconnectMsMax, staleAfterMs },
    topics: { duplicatesMax: random.pick([256, 65_536]), interestDelayMs: random.pick([1, 20, 100]) },
    dataRetryMs: random.pick([300, 1_500]),
    mail: undefined,
  };
}

function drawTimes(random: SeededRandom): FabricTimes {
  const delayMsMin = random.between(1, 20);
  return {
    delayMsMin,
    delayMsMax: delayMsMin + random.pick([5, 40, 150]),
    jitterMs: random.pick([0, 5, 60]),
    dialTimeoutMs: random.pick([500, 2_000]),
    pingMs: {
      sync: random.chance(0.5) ? undefined : 5_000,
      attach: random.chance(0.5) ? undefined : 5_000,
      // Nothing above the transport watches over these.
      data: random.pick([2_000, 6_000]),
    },
  };
}

function drawFaults(random: SeededRandom): FaultPlan {
  const sometimes = (chance: number, means: readonly number[]): number | undefined =>
    random.chance(chance) ? random.pick(means) : undefined;
  return {
    resetMs: sometimes(0.6, [600, 2_000, 6_000]),
    halfOpen: random.pick([0, 0.3, 0.8]),
    partitionMs: sometimes(0.5, [2_000, 6_000]),
    asymmetric: random.pick([0, 0.5]),
    clogMs: sometimes(0.5, [600, 2_000]),
    crashMs: sometimes(0.5, [3_000, 10_000]),
    silentCrash: random.pick([0, 0.5]),
    midEffects: random.pick([0, 0.5]),
    olderDisk: random.pick([0, 0, 0.2]),
    lostDisk: random.pick([0, 0, 0.2]),
  };
}

function drawClock(random: SeededRandom): ClockFault {
  return { drift: random.pick([0, 0, 0.001, -0.001, 0.01]), skewMs: random.pick([0, 0, 700, -900, 20_000]) };
}

function pairs(shape: "line" | "ring" | "mesh", names: readonly string[]): readonly (readonly [string, string])[] {
  const result: (readonly [string, string])[] = [];
  names.forEach((name, i) => {
    for (let j = i + 1; j < names.length; j++) {
      const isNeighbour = j === i + 1 || (shape === "ring" && i === 0 && j === names.length - 1);
      if (shape === "mesh" || isNeighbour) result.push([name, names[j] ?? ""]);
    }
  });
  return result;
}

function add(map: Map<string, string[]>, key: string, value: string): void {
  map.set(key, [...(map.get(key) ?? []), value]);
}
