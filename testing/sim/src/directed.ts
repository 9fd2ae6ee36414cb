/**
 * Small worlds that are made for one kind of trouble each. A seed that draws its world meets some combinations once in
 * a thousand runs; here they happen in nearly every one.
 */
import { type Domain, parseDomain } from "@causeway/core-base";
import { defaultSyncLimits } from "@causeway/core-sync";
import { drawMail, type MailMeans } from "./mail-plan.ts";
import { type AgentPlan, drawPlan, type FaultPlan, type GatewayPlan, type Plan } from "./plan.ts";
import { SeededRandom } from "./random.ts";
import { type DirectedWorld, mailWorlds, type WorldKind, type WorldName } from "./world-names.ts";

/** What the seed draws, in the world that is asked for. */
export function planFor(seed: number, name: WorldName | undefined): Plan {
  if (name === undefined) {
    const random = new SeededRandom(seed, 6);
    return random.chance(0.3) ? planFor(seed, random.pick(mailWorlds)) : drawPlan(seed, undefined);
  }
  if (name === "sync" || name === "agents") return drawPlan(seed, name);
  const { kind, change } = directed[name];
  const drawn = drawPlan(seed, kind);
  const limits = sync(drawn, { recordsPerPeerMax: defaultSyncLimits.recordsPerPeerMax });
  return change({ ...drawn, limits, liar: undefined, isCramped: false, faultMs: 15_000 });
}

const [blue, green] = ["blue.example", "green.example"].map(parseDomain) as [Domain, Domain];

const directed = {
  /** Gateways of two domains restart, with records that the other domain may not see, and room for two subscriptions. */
  restricted: {
    kind: "sync",
    change: (plan) => ({
      ...plan,
      gateways: [
        gateway(plan, "core0", blue, "level2", []),
        gateway(plan, "core1", green, "level2", ["core0"]),
        gateway(plan, "edge0", blue, "level1", ["core0"]),
      ],
      agents: agents(plan, 4, ["core0"], (i) => (i % 2 === 0 ? [] : [blue])),
      limits: sync(plan, { auditMs: 20_000, flushMs: 20, subscriptionsActiveMax: 2 }),
      faults: { ...calm, crashMs: 1_500 },
      workMs: 100,
    }),
  },
  /** An edge gateway changes its mind all the time, over a slow and unreliable way. */
  wishes: {
    kind: "sync",
    change: (plan) => ({
      ...plan,
      gateways: [gateway(plan, "core0", blue, "level2", []), gateway(plan, "edge0", blue, "level1", ["core0"])],
      agents: agents(plan, 24, ["core0"]),
      limits: sync(plan, {
        auditMs: 1_000,
        flushMs: 200,
        keepAliveMs: 1_000,
        offlineAfterMs: 3_000,
        subscriptionsActiveMax: 10_000,
      }),
      fabric: { ...plan.fabric, delayMsMin: 100, delayMsMax: 300, jitterMs: 20 },
      faults: { ...calm, resetMs: 2_000, halfOpen: 0.8 },
      workMs: 50,
    }),
  },
  /** Sessions end before they have begun, and only one side hears of it. */
  reconnects: {
    kind: "sync",
    change: (plan) => ({
      ...plan,
      gateways: [
        gateway(plan, "core0", blue, "level2", ["core1"]),
        gateway(plan, "core1", blue, "level2", ["core0"]),
        gateway(plan, "edge0", blue, "level1", ["core0"]),
      ],
      agents: agents(plan, 2, ["core0"]),
      limits: sync(plan, { offlineKeepMs: 5_000, helloMs: 3_000, keepAliveMs: 1_000, offlineAfterMs: 3_000 }),
      fabric: { ...plan.fabric, delayMsMin: 50, delayMsMax: 150 },
      faults: { ...calm, resetMs: 100, halfOpen: 0.8, clogMs: 1_000 },
      workMs: 400,
    }),
  },
  /** Publications have several ways through a ring, some of them over an edge gateway with two homes. */
  rings: {
    kind: "agents",
    change: (plan) => ({
      ...plan,
      gateways: [
        gateway(plan, "core0", blue, "level2", ["core3"]),
        gateway(plan, "core1", blue, "level2", ["core0"]),
        gateway(plan, "core2", blue, "level2", ["core1"]),
        gateway(plan, "core3", blue, "level2", ["core2"]),
        gateway(plan, "edge0", blue, "level1", ["core0", "core1"]),
      ],
      agents: agents(plan, 4, ["core0", "core1", "core2", "core3", "edge0"]),
      faults: { ...calm, resetMs: 2_000, clogMs: 2_000 },
      hasImpostor: false,
      workMs: 150,
      messageMs: 60,
    }),
  },
  /** What agents send is held back for longer than their leases last. */
  stalls: {
    kind: "agents",
    change: (plan) => ({
      ...plan,
      gateways: [gateway(plan, "core0", blue, "level2", [])],
      agents: agents(plan, 3, ["core0"]),
      limits: {
        ...plan.limits,
        attachment: {
          ...plan.limits.attachment,
          heartbeatMs: 1_000,
          staleAfterMs: 3_000,
          removeAfterStaleMs: 10_000,
          leaseMs: 3_500,
        },
        agent: { ...plan.limits.agent, staleAfterMs: 3_000 },
      },
      faults: { ...calm, clogMs: 200 },
      hasImpostor: false,
      workMs: 2_000,
    }),
  },
  /** Agents of one gateway are away, come back and die, and the gateway dies at any moment. */
  mail: {
    kind: "agents",
    change: (plan) => ({
      ...withMail(plan, { sendMs: 120, streamMs: undefined, lifeMs: 400, absenceMs: 2_500 }),
      gateways: [gateway(plan, "core0", blue, "level2", [])],
      agents: agents(plan, 3, ["core0"]),
      faults: {
        ...calm,
        resetMs: 3_000,
        halfOpen: 0.5,
        clogMs: 3_000,
        crashMs: 2_500,
        midEffects: 0.7,
        silentCrash: 0.2,
      },
    }),
  },
  /** Agents come back at another gateway than the one that stores their messages, over ways that break. */
  moves: {
    kind: "agents",
    change: (plan) => ({
      ...withMail(plan, { sendMs: 120, streamMs: undefined, lifeMs: 400, absenceMs: 1_500 }),
      gateways: [
        gateway(plan, "core0", blue, "level2", []),
        gateway(plan, "core1", blue, "level2", ["core0"]),
        gateway(plan, "core2", blue, "level2", ["core1"]),
      ],
      agents: agents(plan, 3, ["core0", "core1", "core2"]),
      faults: {
        ...calm,
        resetMs: 1_500,
        halfOpen: 0.3,
        clogMs: 2_000,
        crashMs: 6_000,
        midEffects: 0.5,
        partitionMs: 6_000,
        asymmetric: 0.3,
      },
    }),
  },
  /** Agents of several instances, full disks and a busy operator, and senders that want to hear of every step. */
  instances: {
    kind: "agents",
    change: (plan) => ({
      ...withMail(plan, {
        ...{ sendMs: 120, streamMs: 4_000, lifeMs: 400, absenceMs: 2_500, operatorMs: 700 },
        ...{ instances: ["main", "second"], wants: ["accepted", "accepted", "notice", "stored"] },
      }),
      gateways: [gateway(plan, "core0", blue, "level2", [])],
      agents: agents(plan, 3, ["core0"]),
      faults: { ...calm, resetMs: 3_000, halfOpen: 0.5, crashMs: 5_000, midEffects: 0.7, diskFullMs: 2_500 },
    }),
  },
  /**
   * Mailboxes at edge gateways, between which agents move; their disks are full now and then. There is room for all
   * agents: two gateways that are full of what belongs to the other one can only wait for something to expire.
   */
  edges: {
    kind: "agents",
    change: (plan) => ({
      ...withRoomForAll(
        withMail(plan, { sendMs: 120, streamMs: undefined, lifeMs: 400, absenceMs: 1_500, operatorMs: 3_000 }),
      ),
      gateways: [
        gateway(plan, "core0", blue, "level2", []),
        gateway(plan, "edge0", blue, "level1", ["core0"]),
        gateway(plan, "edge1", blue, "level1", ["core0"]),
      ],
      agents: agents(plan, 3, ["edge0", "edge1"]),
      faults: { ...calm, resetMs: 3_000, halfOpen: 0.3, crashMs: 6_000, midEffects: 0.5, diskFullMs: 4_000 },
    }),
  },
  /** Streams under credit while some readers do not read, and links and processes come and go. */
  streams: {
    kind: "agents",
    change: (plan) => ({
      ...withMail(plan, { sendMs: 600, streamMs: 700, lifeMs: 4_000, absenceMs: 1_000 }),
      gateways: [gateway(plan, "core0", blue, "level2", []), gateway(plan, "core1", green, "level2", ["core0"])],
      agents: [...agents(plan, 2, ["core0"]), ...strangers(plan)],
      faults: { ...calm, resetMs: 3_000, halfOpen: 0.3, clogMs: 2_000, crashMs: 10_000, partitionMs: 8_000 },
    }),
  },
} as const satisfies Record<DirectedWorld, { readonly kind: WorldKind; readonly change: (plan: Plan) => Plan }>;

/** Lasting routes and quick attachment: what is looked at is what becomes of messages. */
function withMail(plan: Plan, means: MailMeans): Plan {
  const { sync: drawn, attachment, agent } = plan.limits;
  return {
    ...plan,
    hasImpostor: false,
    limits: {
      ...plan.limits,
      mail: drawMail(plan.seed, means),
      attachment: { ...attachment, heartbeatMs: 1_000, staleAfterMs: 3_000, removeAfterStaleMs: 4_000 },
      agent: { ...agent, reconnectMsMax: 1_000, staleAfterMs: 3_000 },
      sync: { ...drawn, flushMs: Math.min(drawn.flushMs, 50), restartGraceMs: Math.min(drawn.restartGraceMs, 500) },
    },
  };
}

function withRoomForAll(plan: Plan): Plan {
  const { mail } = plan.limits;
  if (mail === undefined) return plan;
  const mailbox = { ...mail.mailbox, mailboxTotalMessagesMax: 1_000 };
  return { ...plan, limits: { ...plan.limits, mail: { ...mail, mailbox } } };
}

/** Two agents of another domain. */
function strangers(plan: Plan): readonly AgentPlan[] {
  return agents(plan, 4, ["core1"])
    .slice(2)
    .map((agent) => ({ ...agent, domain: green }));
}

/** Nothing goes wrong but what is named. */
const calm: FaultPlan = {
  resetMs: undefined,
  halfOpen: 0,
  partitionMs: undefined,
  asymmetric: 0,
  clogMs: undefined,
  crashMs: undefined,
  silentCrash: 0,
  midEffects: 0,
  olderDisk: 0,
  lostDisk: 0,
};

function gateway(
  { kind }: Plan,
  name: string,
  domain: Domain,
  role: GatewayPlan["role"],
  dials: readonly string[],
): GatewayPlan {
  const clock = { drift: 0, skewMs: 0 };
  return { name, domain, role, dials, dataDials: dials, clock, secretTag: undefined, hasAgents: kind === "agents" };
}

function agents(
  { kind }: Plan,
  count: number,
  homes: readonly string[],
  visibleDomains: (i: number) => readonly Domain[] = () => [],
): readonly AgentPlan[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `agent${i}`,
    path: `${i % 4 === 3 ? "travel" : "shop"}/agent${i}`,
    domain: blue,
    // Each begins at another one.
    homes: homes.map((_, at) => homes[(i + at) % homes.length] ?? ""),
    model: kind === "agents" ? "stateful" : "soft",
    tags: i % 2 === 0 ? ["open"] : [],
    visibleDomains: visibleDomains(i),
    clock: { drift: 0, skewMs: 0 },
  }));
}

function sync(plan: Plan, limits: Partial<Plan["limits"]["sync"]>): Plan["limits"] {
  return { ...plan.limits, sync: { ...plan.limits.sync, ...limits } };
}
