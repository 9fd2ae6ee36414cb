/**
 * What must hold in every network of sync machines, judged from outside: from the messages that crossed, the effects
 * that were performed, and the topology. None of these asks the machine's own rules.
 */
import { parseAgentId, type StoredRecord } from "@causeway/core-base";
import { parseOriginStatement } from "@causeway/core-records";
import type { amsp } from "@causeway/core-wire";
import type { Crossing, Node, SyncNetwork } from "./network.ts";

/** Watches a network from its beginning. `broken` stays empty in a correct one. */
export class SafetyCheckers {
  readonly broken: string[] = [];
  readonly #net: SyncNetwork;
  readonly #newest = new Map<string, { epoch: bigint; sequence: bigint }>();
  #seen = 0;

  constructor(net: SyncNetwork) {
    this.#net = net;
    net.onEffect = (node, effect) => {
      if (effect.type === "send" && effect.message.body.case === "update")
        this.#isStored(node, effect.message.body.value);
      if (effect.type === "install") this.#isNotLooped(node, effect.route.path);
      if (effect.type === "persist" && effect.change.kind === "record") this.#isNotOlder(node, effect.change.record);
      if (effect.type === "persist" && effect.change.kind === "forget") {
        this.#newest.delete(`${node.name} ${effect.change.agentId} ${effect.change.origin}`);
      }
    };
  }

  /** Judges what happened since the last call. */
  check(): void {
    for (; this.#seen < this.#net.crossings.length; this.#seen++) {
      const crossing = this.#net.crossings[this.#seen];
      if (crossing?.message.body.case === "update") this.#path(crossing, crossing.message.body.value);
    }
    for (const node of this.#net.nodes.values()) {
      if (!node.isUp) continue;
      const base = [...node.machine.allRoutes()].map((r) => [`${r.agentId} ${r.origin}`, r] as const);
      const isEqual = base.length === node.table.size && base.every(([key, route]) => node.table.get(key) === route);
      if (!isEqual) this.broken.push(`table of ${node.name} is not its record base`);
      for (const [key, { via, applicable }] of base) {
        const isThere = via === "local" || this.#net.hasLink(node.name, this.#net.nameOf(via));
        if (applicable && !isThere) this.broken.push(`${node.name} counts on ${via} for ${key}, which is gone`);
      }
      for (const peer of node.machine.peers()) {
        if (peer.unacknowledged > 256)
          this.broken.push(`${node.name} has ${peer.unacknowledged} unacknowledged to ${peer.name}`);
      }
    }
  }

  /** A restarted node starts with what it stored; older knowledge of the same process is gone. */
  forget(name: string): void {
    for (const key of [...this.#newest.keys()]) if (key.startsWith(`${name} `)) this.#newest.delete(key);
  }

  /** Split horizon, PATH form, and the role of Level-1 gateways, read off one message. */
  #path({ from, to }: Crossing, update: amsp.Update): void {
    const sender = this.#net.node(from);
    const receiver = this.#net.node(to);
    const path = update.path?.gateways ?? [];
    const { origin } = parseOriginStatement(update.origin?.statement ?? new Uint8Array());
    const say = (what: string): void =>
      void this.broken.push(`${from} to ${to}: ${what}, PATH ${path.map((p) => this.#net.nameOf(p)).join(" ")}`);
    if (update.path === undefined) say("no PATH");
    if (path[1] === receiver.uri || (path.length === 1 && origin === receiver.uri)) say("sent back to its source");
    if (new Set(path).size !== path.length) say("PATH repeats");
    const role = sender.how.role ?? "level2";
    if (role === "level2" && path[0] !== sender.uri) say("PATH does not begin with the sender");
    if (role === "level1" && (path.length > 0 || origin !== sender.uri)) say("a Level-1 gateway passed on a record");
    if (role === "reader") say("a reader sent a record");
    if (path.some((uri) => (this.#net.node(this.#net.nameOf(uri)).how.role ?? "level2") !== "level2"))
      say("PATH names a Level-1 gateway");
  }

  #isStored(node: Node, update: amsp.Update): void {
    const { agentId, origin, version } = parseOriginStatement(update.origin?.statement ?? new Uint8Array());
    const stored = node.store.records.get(`${agentId} ${origin}`);
    if (
      stored === undefined ||
      stored.epoch < version.epoch ||
      (stored.epoch === version.epoch && stored.sequence < version.sequence)
    ) {
      this.broken.push(`${node.name} sent ${agentId} ${version.epoch}.${version.sequence} before it was stored`);
    }
  }

  #isNotLooped(node: Node, path: readonly string[]): void {
    if (path.includes(node.uri)) this.broken.push(`${node.name} uses a way through itself`);
  }

  #isNotOlder(node: Node, { agentId, origin, epoch, sequence }: StoredRecord): void {
    const key = `${node.name} ${agentId} ${origin}`;
    const before = this.#newest.get(key);
    if (before !== undefined && (epoch < before.epoch || (epoch === before.epoch && sequence < before.sequence))) {
      this.broken.push(
        `${node.name} replaced ${before.epoch}.${before.sequence} of ${agentId} by ${epoch}.${sequence}`,
      );
    }
    this.#newest.set(key, { epoch, sequence });
  }
}

/** Hops between Level-2 gateways by breadth-first search over open sessions. */
export function hopsBetween(net: SyncNetwork, from: string, to: string): number | undefined {
  const distance = new Map([[from, 0]]);
  const queue = [from];
  for (const name of queue) {
    if (name === to) return distance.get(name);
    for (const next of net.nodes.values()) {
      if (
        distance.has(next.name) ||
        !next.isUp ||
        (next.how.role ?? "level2") !== "level2" ||
        !net.isLinked(name, next.name)
      )
        continue;
      distance.set(next.name, (distance.get(name) ?? 0) + 1);
      queue.push(next.name);
    }
  }
  return undefined;
}

/**
 * What a converged network has to look like: each Level-2 gateway has a route to exactly the live agents, each with the
 * shortest PATH that the topology allows, under the version of its origin, and all digests are equal.
 */
export function convergenceFaults(net: SyncNetwork, live: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const faults: string[] = [];
  const digests = new Set<string>();
  for (const node of net.nodes.values()) {
    if ((node.how.role ?? "level2") !== "level2" || !node.isUp) continue;
    digests.add(Buffer.from(node.machine.digest()).toString("hex"));
    const expected = new Set(
      [...live].flatMap(([agent, origins]) =>
        origins.map((origin) => `${parseAgentId(agent)} ${net.node(origin).uri}`),
      ),
    );
    for (const route of node.machine.allRoutes()) {
      const key = `${route.agentId} ${route.origin}`;
      if (!expected.delete(key)) faults.push(`${node.name} has a ghost ${key}`);
      if (!route.applicable) faults.push(`${node.name} has ${key} inapplicable`);
      const origin = net.node(net.nameOf(route.origin));
      const own = [...origin.machine.allRoutes()].find((r) => r.via === "local" && r.agentId === route.agentId);
      if (own?.version.sequence !== route.version.sequence || own.status !== route.status)
        faults.push(`${node.name} has ${key} outdated`);
      const entries =
        (origin.how.role ?? "level2") === "level2"
          ? [origin]
          : [...net.nodes.values()].filter((n) => net.isLinked(n.name, origin.name));
      const hops = Math.min(...entries.map((e) => hopsBetween(net, node.name, e.name) ?? Infinity));
      if (route.path.length !== hops)
        faults.push(`${node.name} has ${key} over ${route.path.length} hops instead of ${hops}`);
    }
    for (const key of expected) faults.push(`${node.name} lacks ${key}`);
  }
  if (digests.size > 1) faults.push("digests differ");
  return faults;
}
