/**
 * After healing: one view everywhere within the bound, shortest paths, no ghosts; then probes for every way of a
 * message; then rest. Each demand has a name of its own.
 */
import { shortName } from "@causeway/core-base";
import { TargetKind } from "@causeway/core-wire";
import type { Agent, AgentLife } from "./agent.ts";
import { convergenceMs, deliveryMs, holdDownMsMax, settleMs, silenceMs, updatesPerChangeMax } from "./bounds.ts";
import type { Traffic } from "./checkers/data.ts";
import type { Ledger } from "./checkers/ledger.ts";
import { isWanted, mayCross, neighboursOf, pathLengths } from "./checkers/oracle.ts";
import type { Gateway } from "./gateway.ts";
import { demandDelivery, mailboxFaults } from "./mail-ending.ts";
import type { Checker } from "./surroundings.ts";
import type { Work } from "./work.ts";
import type { World } from "./world.ts";

/** What is wrong, under the name of the demand. */
export interface Fault {
  readonly checker: string;
  readonly what: string;
}

/** A record that should be known: the agent, where it is served, and what its origin says of it. */
interface Live {
  readonly agentId: string;
  readonly origin: Gateway;
  readonly version: string;
}

export function demandConvergence(world: World, work: Work, traffic: Traffic, ledger: Ledger | undefined): void {
  const until = world.now + convergenceMs(world.plan);
  // An agent whose acknowledgements were held back may still give up a link on which everything moves again.
  if (world.plan.kind === "agents") world.run(world.now + silenceMs(world.plan));
  let faults = faultsNow(world, work);
  // Looking often costs nothing and ends most runs early; the bound is what counts.
  while (faults.length > 0 && world.now < until) {
    world.run(Math.min(until, world.now + lookMs));
    faults = faultsNow(world, work);
  }
  const [first] = faults;
  if (first !== undefined)
    world.fail(
      first.checker,
      `${first.what}; ${faults.length} such faults ${convergenceMs(world.plan)} ms after healing`,
    );
  world.note(() => "the world has converged");
  probeMessages(world, traffic);
  probeTopics(world, traffic);
  if (ledger !== undefined) demandDelivery(world, ledger);
  demandRest(world);
  const [late] = faultsNow(world, work);
  if (late !== undefined) world.fail(late.checker, `${late.what}, after it had converged`);
}

function faultsNow(world: World, work: Work): readonly Fault[] {
  const faults: Fault[] = [];
  const say = (checker: string, what: string): void => void faults.push({ checker, what });
  sessions(world, say);
  if (world.plan.kind === "agents") attachments(world, say);
  mailboxFaults(world, say);
  interests(world, say);
  const live = liveRecords(world);
  for (const gateway of world.gateways.values()) {
    if (gateway.plan.role === "level2") fullView(world, gateway, live, say);
    else otherView(world, work, gateway, live, say);
  }
  const digests = world.plan.gateways.filter((g) => g.role === "level2").map((g) => digestOf(world.gateway(g.name)));
  if (isOpenWorld(world) && new Set(digests).size > 1) say("equal-digests", "Level-2 gateways have different digests");
  return faults;
}

export type Say = (checker: string, what: string) => void;

/** Both ends of every session and every data link use the same connection, and it is alive. */
function sessions(world: World, say: Say): void {
  const isShared = (a: number | undefined, b: number | undefined): boolean =>
    a !== undefined && a === b && world.fabric.isAlive(a);
  for (const gateway of world.gateways.values()) {
    const peers = new Map(gateway.sync?.machine.peers().map((peer) => [peer.name as string, peer.state]));
    for (const { name, queued, unacknowledged } of gateway.sync?.machine.peers() ?? []) {
      if (queued + unacknowledged > 0)
        say("queues-drain", `${gateway.name} has something left to say to ${gateway.short(name)}`);
    }
    for (const other of neighboursOf(world, gateway)) {
      const state = peers.get(other.uri);
      if (state !== "ESTABLISHED") say("sessions-stand", `${gateway.name} has ${other.name} as ${state ?? "unknown"}`);
      if (!isShared(gateway.sync?.connectionTo(other.name), other.sync?.connectionTo(gateway.name)))
        say(
          "sessions-stand",
          `${gateway.name} and ${other.name} have no session in common: ${gateway.sync?.connectionTo(other.name)} and ${other.sync?.connectionTo(gateway.name)}`,
        );
      const isReader = gateway.plan.role === "reader" || other.plan.role === "reader";
      if (!isReader && !isShared(gateway.data?.connectionTo(other.uri), other.data?.connectionTo(gateway.uri)))
        say("sessions-stand", `${gateway.name} and ${other.name} have no data link in common`);
    }
  }
}

function attachments(world: World, say: Say): void {
  for (const agent of world.agents.values()) {
    for (const life of agent.lives.values()) {
      const at = life.gatewayUri === undefined ? undefined : world.gatewayOf(life.gatewayUri);
      const held = at?.attach?.machine
        .attachments()
        .find((a) => a.agentId === agent.agentId && a.instance === life.instance);
      const isWhole =
        life.isAttached &&
        held?.state === "attached" &&
        held.condition === life.condition &&
        held.link === life.connection &&
        world.fabric.isAlive(held.link);
      if (!isWhole) say("agents-attached", `${agent.name}/${life.instance} is not attached`);
    }
  }
  for (const gateway of world.gateways.values()) {
    for (const { agentId, instance } of gateway.attach?.machine.attachments() ?? []) {
      const life = lifeOf(world, agentId, instance);
      if (life?.gatewayUri !== gateway.uri)
        say("no-ghost-attachments", `${gateway.name} still has ${agentId}/@${instance}`);
    }
  }
}

/** Every Level-2 gateway knows what the subscribers of each other gateway want, and nothing that nobody wants any more. */
function interests(world: World, say: Say): void {
  const wanted = new Map<string, Set<string>>();
  for (const agent of world.agents.values()) {
    for (const { gatewayUri, topics } of agent.lives.values()) {
      if (gatewayUri === undefined) continue;
      const all = wanted.get(gatewayUri) ?? new Set<string>();
      for (const topic of topics) all.add(topic);
      wanted.set(gatewayUri, all);
    }
  }
  for (const at of world.gateways.values()) {
    if (at.plan.role !== "level2") continue;
    const known = new Map(at.data?.topics.origins().map(({ origin, topics }) => [origin as string, topics]));
    for (const origin of world.gateways.values()) {
      if (origin === at || origin.plan.role === "reader") continue;
      const is = [...(known.get(origin.uri) ?? [])].sort().join(" ");
      const should = [...(wanted.get(origin.uri) ?? [])].sort().join(" ");
      if (is !== should)
        say("interest-up-to-date", `${at.name} thinks that ${origin.name} wants [${is}] instead of [${should}]`);
    }
  }
}

/** What origins say now; in a world of agents checked against where agents really are. */
function liveRecords(world: World): readonly Live[] {
  const live: Live[] = [];
  for (const origin of world.gateways.values()) {
    for (const route of origin.sync?.machine.allRoutes() ?? []) {
      if (route.via !== "local") continue;
      const version = `${route.version.epoch}.${route.version.sequence} ${route.status} revision ${route.record.revision}`;
      live.push({ agentId: route.agentId, origin, version });
    }
  }
  return live;
}

function fullView(world: World, at: Gateway, live: readonly Live[], say: Say): void {
  const expected = new Map<string, number>();
  for (const { agentId, origin } of live) {
    const hops = pathLengths(world, agentId, origin).get(at);
    if (hops !== undefined) expected.set(`${agentId} ${origin.uri}`, hops);
  }
  presentOnes(world, at, say);
  for (const route of at.sync?.machine.allRoutes() ?? []) {
    const key = `${route.agentId} ${route.origin}`;
    const hops = expected.get(key);
    expected.delete(key);
    const text = `${at.name} has ${route.agentId} of ${at.short(route.origin)}`;
    if (hops === undefined) say("no-ghosts", text);
    else if (!route.applicable) say("all-usable", `${text} as inapplicable`);
    else if (route.path.length !== hops && !world.plan.isCramped)
      say("shortest-path", `${text} over ${route.path.length} hops instead of ${hops}`);
    upToDate(live, route, text, say);
  }
  if (!world.plan.isCramped) for (const key of expected.keys()) say("knows-all", `${at.name} lacks ${key}`);
}

/** In a world of agents a gateway's own records are exactly those of the agents that are attached to it. */
function presentOnes(world: World, at: Gateway, say: Say): void {
  if (world.plan.kind !== "agents") return;
  const present = new Set<string>();
  for (const agent of world.agents.values()) {
    for (const life of agent.lives.values()) if (life.gatewayUri === at.uri) present.add(agent.agentId);
  }
  for (const route of at.sync?.machine.allRoutes() ?? []) {
    if (route.via === "local" && !present.delete(route.agentId))
      say("no-ghosts", `${at.name} announces ${route.agentId}, which is not there`);
  }
  for (const agentId of present) say("knows-all", `${at.name} does not announce ${agentId}, which is attached`);
}

function otherView(world: World, work: Work, at: Gateway, live: readonly Live[], say: Say): void {
  presentOnes(world, at, say);
  const homes = neighboursOf(world, at);
  const wishes = [...(work.wants.get(at.name)?.keys() ?? [])];
  const expected = new Set<string>();
  for (const { agentId, origin } of live) {
    const isKnownAtHome = homes.some((home) => {
      const isThere = pathLengths(world, agentId, origin).has(home);
      return isThere && origin !== at && mayCross(world, agentId, home, at);
    });
    if (origin === at || (isKnownAtHome && (at.plan.role === "reader" || isWanted(world, wishes, agentId))))
      expected.add(`${agentId} ${origin.uri}`);
  }
  for (const route of at.sync?.machine.allRoutes() ?? []) {
    const text = `${at.name} has ${route.agentId} of ${at.short(route.origin)}`;
    if (!expected.delete(`${route.agentId} ${route.origin}`)) say("no-ghosts", text);
    upToDate(live, route, text, say);
  }
  if (at.plan.role === "level1") toldWishes(world, work, at, homes, say);
  // Subscriptions beyond the bound are refused, and records beyond theirs.
  const isRefused = wishes.length > world.plan.limits.sync.subscriptionsActiveMax;
  if (!world.plan.isCramped && !isRefused) for (const key of expected) say("knows-all", `${at.name} lacks ${key}`);
}

/** A Level-2 gateway has exactly the subscriptions that its edge gateway made, as far as there is room for them. */
function toldWishes(world: World, work: Work, at: Gateway, homes: readonly Gateway[], say: Say): void {
  const own = [...(work.wants.get(at.name)?.values() ?? [])].sort().join(" ");
  const count = work.wants.get(at.name)?.size ?? 0;
  if (count > world.plan.limits.sync.subscriptionsActiveMax) return;
  for (const home of homes) {
    const held = [...(home.sync?.machine.subscriptionsOf(at.uri).keys() ?? [])].sort().join(" ");
    if (held !== own) say("wishes-agree", `${home.name} has subscriptions [${held}] of ${at.name} instead of [${own}]`);
  }
}

function upToDate(
  live: readonly Live[],
  route: {
    readonly agentId: string;
    readonly origin: string;
    readonly version: { readonly epoch: bigint; readonly sequence: bigint };
    readonly status: string;
    readonly record: { readonly revision: bigint };
  },
  text: string,
  say: Say,
): void {
  const is = `${route.version.epoch}.${route.version.sequence} ${route.status} revision ${route.record.revision}`;
  const should = live.find((each) => each.agentId === route.agentId && each.origin.uri === route.origin)?.version;
  if (should !== undefined && is !== should) say("up-to-date", `${text} as ${is} instead of ${should}`);
}

/** Every message is delivered to whom it is for, or its sender is told why not. */
function probeMessages(world: World, traffic: Traffic): void {
  const senders = [...world.agents.values()].flatMap((agent) => agent.attached() ?? []);
  const targets = [...world.agents.values()];
  const probes: { readonly id: string; readonly from: AgentLife; readonly to: Agent | undefined }[] = [];
  for (const from of senders) {
    for (const to of [...targets, undefined]) {
      const name = to?.agentId ?? `spiffe://${from.agent.plan.domain}/nobody`;
      let id: string | undefined;
      const target = { kind: TargetKind.agent, name };
      world.act(() => {
        id = from.send(target, 16);
        if (id !== undefined) world.tell("sent", from, { id, target, ttl: 16, isForged: false });
      });
      if (id !== undefined) probes.push({ id, from, to });
    }
  }
  world.run(world.now + deliveryMs(world.plan));
  for (const { id, from, to } of probes) {
    const text = `the probe ${id.slice(-6)} from ${from.agent.name} to ${to?.name ?? "nobody"}`;
    const receivers = traffic.received.get(id) ?? [];
    const visits = traffic.visits.get(id) ?? [];
    if (new Set(visits).size !== visits.length) world.fail("no-loop-at-rest", `${text} went ${visits.join(" ")}`);
    if (receivers.length > 1) world.fail("probe-delivered", `${text} reached ${receivers.join(" and ")}`);
    const isThere = to?.attached() !== undefined;
    const isKnown = to !== undefined && isThere && reachableFrom(world, from, to);
    if (isKnown && !world.plan.isCramped && receivers.length === 0)
      world.fail(
        "probe-delivered",
        `${text} was not delivered: ${traffic.answers.get(id) ?? "no answer"}, gateways ${visits.join(" ")}`,
      );
    // Where not everything may be known, the way back may be unknown, too.
    if (receivers.length === 0 && !world.plan.isCramped && !traffic.answers.has(id))
      world.fail("probe-answered", `${text} was neither delivered nor answered, gateways ${visits.join(" ")}`);
  }
}

/** The sender's gateway, or one that it hands everything unknown to, knows the way. */
function reachableFrom(world: World, from: AgentLife, to: Agent): boolean {
  return (
    from.agent.plan.domain === to.plan.domain ||
    [...world.gateways.values()].every(
      (g) => g.plan.role !== "level2" || g.sync?.machine.routes(to.agentId).length !== 0,
    )
  );
}

/** Every subscriber gets a publication exactly once. */
function probeTopics(world: World, traffic: Traffic): void {
  const lives = [...world.agents.values()]
    .flatMap((agent) => [...agent.lives.values()])
    .filter((life) => life.isAttached);
  const probes: { readonly id: string; readonly from: AgentLife; readonly topic: string }[] = [];
  for (const owner of world.agents.values()) {
    const topic = `${shortName(owner.agentId)}/news`;
    const from = lives[probes.length % Math.max(1, lives.length)];
    if (from === undefined) continue;
    const target = { kind: TargetKind.topic, name: topic };
    world.act(() => {
      const id = from.send(target, 16);
      if (id === undefined) return;
      world.tell("sent", from, { id, target, ttl: 16, isForged: false });
      probes.push({ id, from, topic });
    });
  }
  world.run(world.now + deliveryMs(world.plan));
  for (const { id, from, topic } of probes) {
    const expected = lives
      .filter(
        (life) =>
          life !== from &&
          [...life.topics].some((p) => p === topic || (p.endsWith("/*") && topic.startsWith(p.slice(0, -1)))),
      )
      .map((life) => `${life.agent.name}/${life.instance}`);
    const got = traffic.received.get(id) ?? [];
    if ([...expected].sort().join() !== [...got].sort().join())
      world.fail(
        "subscribers-get-once",
        `${id.slice(-6)} on ${topic} by ${from.agent.name} reached ${got.join(", ") || "nobody"} instead of ${expected.join(", ") || "nobody"}`,
      );
  }
}

/** Without a change nothing is said; one change costs a bounded number of updates, and then there is rest again. */
function demandRest(world: World): void {
  let updates = 0;
  let dials = 0;
  const counter: Checker = {
    name: "comes-to-rest",
    syncEffect: (_at, effect) => void (dials += effect.type === "dial" ? 1 : 0),
    syncSent: (_from, _to, { body }) => void (updates += body.case === "update" || body.case === "withdraw" ? 1 : 0),
  };
  world.watchBy([counter]);
  // A status that flapped may still be held down, and goes out late to who knows it by another way.
  const heldDownUntil = world.now + holdDownMsMax;
  do {
    updates = 0;
    world.run(world.now + restMs);
  } while (updates > 0 && world.now < heldDownUntil);
  if (updates > 0) world.fail("comes-to-rest", `${updates} updates within ${restMs} ms without a change`);
  if (dials > 0) world.fail("comes-to-rest", `${dials} dials within ${restMs} ms although every session stands`);
  const change = oneChange(world);
  if (change === undefined) return;
  const max = updatesPerChangeMax(world.plan);
  world.act(change);
  world.run(world.now + settleMs(world.plan));
  if (updates > max) world.fail("bounded-churn", `${updates} updates for one change, at most ${max} were expected`);
  updates = 0;
  world.run(world.now + restMs);
  if (updates > 0) world.fail("comes-to-rest", `${updates} updates ${settleMs(world.plan)} ms after one change`);
}

/** A change of content, which nothing damps: a record is withdrawn, or announced anew. */
function oneChange(world: World): (() => void) | undefined {
  for (const gateway of world.gateways.values()) {
    for (const route of gateway.sync?.machine.allRoutes() ?? []) {
      if (route.via !== "local") continue;
      if (world.plan.kind === "sync")
        return () => gateway.sync?.input((machine) => machine.withdraw(gateway.now(), route.agentId));
      const agent = [...world.agents.values()].find((each) => each.agentId === route.agentId && each.lives.size === 1);
      if (agent !== undefined) return () => agent.revise();
    }
  }
  return undefined;
}

function lifeOf(world: World, agentId: string, instance: string): AgentLife | undefined {
  return [...world.agents.values()].find((agent) => agent.agentId === agentId)?.lives.get(instance);
}

/** Every record may be known everywhere, so that every Level-2 gateway has the same ones. */
function isOpenWorld({ plan }: World): boolean {
  const isRestricted = plan.agents.some((agent) => agent.visibleDomains.length > 0 || agent.tags.includes("secret"));
  return !plan.isCramped && !(isRestricted && new Set(plan.gateways.map((g) => g.domain)).size > 1);
}

function digestOf(gateway: Gateway): string {
  return Buffer.from(gateway.sync?.machine.digest() ?? []).toString("hex");
}

const lookMs = 500;
const restMs = 1_500;
