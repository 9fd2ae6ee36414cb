/** Safety of synchronisation, judged from outside: from what machines let out, what they stored, and the topology. */
import { fromBinary } from "@bufbuild/protobuf";
import { domainOf } from "@causeway/core-base";
import { type ForwardingTable, tableOf } from "@causeway/core-forwarding";
import { type OriginStatement, parseOriginStatement, parseStoredOrigin } from "@causeway/core-records";
import { type amsp, record } from "@causeway/core-wire";
import type { Gateway } from "../gateway.ts";
import { tableCandidate } from "../routes.ts";
import type { Checker } from "../surroundings.ts";
import type { Work } from "../work.ts";
import type { World } from "../world.ts";
import { isWanted, mayCross } from "./oracle.ts";

/** PATH has no repeats, begins with the sender, and names Level-2 gateways only. */
export function pathForm(world: World): Checker {
  return {
    name: "path-form",
    syncSent(from, _to, message) {
      const update = updateOf(message);
      if (update === undefined) return;
      const path = update.path?.gateways;
      const say = (what: string): never =>
        world.fail("path-form", `${from.name} sends ${what}: [${names(world, path ?? [])}]`);
      if (path === undefined) say("no PATH");
      else if (new Set(path).size !== path.length) say("a PATH with repeats");
      else if (from.plan.role === "level2" && path[0] !== from.uri) say("a PATH that does not begin with itself");
      else if (path.some((uri) => world.gatewayOf(uri)?.plan.role !== "level2"))
        say("a PATH with a gateway that is not Level 2");
    },
  };
}

/** A Level-1 gateway sends its own records only, a reader none. */
export function edgesPassNothingOn(world: World): Checker {
  return {
    name: "edges-pass-nothing-on",
    syncSent(from, to, message) {
      const update = updateOf(message);
      if (update === undefined || from.plan.role === "level2") return;
      const { origin, agentId } = statementOf(update);
      if (from.plan.role === "reader" || origin !== from.uri || (update.path?.gateways.length ?? 0) > 0)
        world.fail(
          "edges-pass-nothing-on",
          `${from.name} passes ${agentId} of ${names(world, [origin])} on to ${to.name}`,
        );
    },
  };
}

/** A record is never sent to the neighbour that it was learned from. */
export function splitHorizon(world: World): Checker {
  return {
    name: "split-horizon",
    syncSent(from, to, message) {
      const update = updateOf(message);
      if (update === undefined) return;
      const { origin, agentId } = statementOf(update);
      const path = update.path?.gateways ?? [];
      if (path[1] === to.uri || (path.length <= 1 && origin === to.uri))
        world.fail(
          "split-horizon",
          `${from.name} sends ${agentId} of ${names(world, [origin])} back to ${to.name}, PATH [${names(world, path)}]`,
        );
    },
  };
}

/** A way that is used begins at the neighbour that it leads to, and does not pass this gateway. */
export function acceptedPath(world: World): Checker {
  return {
    name: "accepted-path",
    syncEffect(at, effect) {
      if (effect.type !== "install") return;
      const { via, path, origin } = effect.route;
      const isSound =
        via === "local"
          ? path.length === 0 && origin === at.uri
          : path.length === 0
            ? via === origin && world.gatewayOf(via)?.plan.role === "level1"
            : path[0] === via && !path.includes(at.uri) && new Set(path).size === path.length;
      if (!isSound)
        world.fail(
          "accepted-path",
          `${at.name} uses a way via ${names(world, [via])} with PATH [${names(world, path)}]`,
        );
    },
  };
}

/** What is stored was signed by the origin that it names, of an agent of the origin's own domain. */
export function onlySigned(world: World): Checker {
  return {
    name: "only-signed",
    syncEffect(at, effect) {
      if (effect.type !== "persist" || effect.change.kind !== "record") return;
      const { agentId, origin, statement } = effect.change.record;
      const { signed } = parseStoredOrigin(statement);
      const isOwnDomain = world.gatewayOf(origin)?.plan.domain === domainOf(agentId);
      if (!isOwnDomain || !world.facts.wasSigned(signed.statement))
        world.fail("only-signed", `${at.name} keeps a statement on ${agentId} that ${origin} never made`);
    },
  };
}

/** An older version never replaces a newer one, as long as the gateway remembers it. */
export function neverOlder(world: World): Checker {
  const newest = new Map<string, { readonly epoch: bigint; readonly sequence: bigint }>();
  return {
    name: "never-older",
    syncEffect(at, effect) {
      if (effect.type !== "persist") return;
      if (effect.change.kind === "forget") newest.delete(`${at.name} ${effect.change.agentId} ${effect.change.origin}`);
      if (effect.change.kind !== "record") return;
      const { agentId, origin, epoch, sequence } = effect.change.record;
      const key = `${at.name} ${agentId} ${origin}`;
      const before = newest.get(key);
      if (before !== undefined && (epoch < before.epoch || (epoch === before.epoch && sequence < before.sequence)))
        world.fail(
          "never-older",
          `${at.name} replaces ${before.epoch}.${before.sequence} of ${agentId} by ${epoch}.${sequence}`,
        );
      newest.set(key, { epoch, sequence });
    },
    restarted(at, disk) {
      if (disk === "kept") return;
      for (const key of newest.keys()) if (key.startsWith(`${at.name} `)) newest.delete(key);
      for (const stored of at.store.records.values())
        newest.set(`${at.name} ${stored.agentId} ${stored.origin}`, stored);
    },
  };
}

/** A tombstone is not forgotten while somebody may still come with the record. */
export function tombstonesAreKept(world: World): Checker {
  const since = new Map<string, number>();
  return {
    name: "tombstones-are-kept",
    syncEffect(at, effect) {
      if (effect.type !== "persist") return;
      const { change } = effect;
      if (change.kind === "record") {
        const key = `${at.name} ${change.record.agentId} ${change.record.origin}`;
        if (!change.record.withdrawn) since.delete(key);
        else if (!since.has(key)) since.set(key, world.now);
      } else if (change.kind === "forget") {
        const key = `${at.name} ${change.agentId} ${change.origin}`;
        const at0 = since.get(key);
        since.delete(key);
        // Clocks drift by a hundredth at most.
        if (at0 !== undefined && world.now - at0 < at.limits.sync.tombstoneMs * 0.98)
          world.fail(
            "tombstones-are-kept",
            `${at.name} forgets the withdrawal of ${change.agentId} after ${world.now - at0} ms`,
          );
      }
    },
    restarted(at, disk) {
      if (disk !== "kept") for (const key of since.keys()) if (key.startsWith(`${at.name} `)) since.delete(key);
    },
  };
}

/** Nothing is sent that a crash could take back. */
export function storedBeforeSent(world: World): Checker {
  return {
    name: "stored-before-sent",
    syncSent(from, to, message) {
      const update = updateOf(message);
      if (update === undefined) return;
      const { agentId, origin, version } = statementOf(update);
      const stored = from.store.records.get(`${agentId} ${origin}`);
      const isStored =
        stored !== undefined &&
        (stored.epoch > version.epoch || (stored.epoch === version.epoch && stored.sequence >= version.sequence));
      if (!isStored)
        world.fail("stored-before-sent", `${from.name} tells ${to.name} of ${agentId} before it is stored`);
    },
  };
}

/**
 * The forwarding table is the function of record base, attachments and neighbours that it claims to be. Looked at after
 * each effect that concerns it, and now and then although nothing seems to have changed.
 */
export function tableIsFunction(world: World): Checker {
  const dirty = new Set<Gateway>();
  let sweptAt = 0;
  return {
    name: "table-is-function",
    syncEffect: (at, effect) => void ((effect.type === "install" || effect.type === "remove") && dirty.add(at)),
    attachEffect: (at, { kind }) =>
      void ((kind === "install" || kind === "update" || kind === "remove") && dirty.add(at)),
    stepped() {
      if (world.now - sweptAt >= sweepMs) {
        sweptAt = world.now;
        for (const gateway of world.gateways.values()) dirty.add(gateway);
      }
      for (const at of dirty) {
        const expected = expectedTable(at);
        if (expected === undefined) continue;
        const [is, should] = [JSON.stringify(at.table.snapshot()), JSON.stringify(expected.snapshot())];
        if (is !== should) world.fail("table-is-function", `${at.name} has ${is} instead of ${should}`);
      }
      dirty.clear();
    },
  };
}

function expectedTable(at: Gateway): ForwardingTable | undefined {
  if (at.sync === undefined || at.attach === undefined || at.data === undefined) return undefined;
  const attachments = at.attach.machine.attachments().map(({ agentId, instance, link, attachmentSequence, state }) => ({
    agentId,
    instance,
    link,
    attachmentSequence,
    stale: state === "stale",
  }));
  const candidates = [...at.sync.machine.allRoutes()].map(tableCandidate);
  return tableOf(
    { self: at.uri, domain: at.plan.domain },
    { candidates, attachments, peersUp: at.data.neighboursUp() },
  );
}

/** A way that counts as usable leads to a neighbour whose session stands, as far as the gateway knows. */
export function usableWaysStand(world: World): Checker {
  return {
    name: "usable-ways-stand",
    stepped(touched) {
      for (const at of touched) {
        const peers = new Set(at.sync?.sessions());
        for (const { via, applicable, agentId } of at.sync?.machine.allRoutes() ?? []) {
          if (applicable && via !== "local" && !peers.has(at.short(via)))
            world.fail("usable-ways-stand", `${at.name} counts on ${at.short(via)} for ${agentId}, which is gone`);
        }
      }
    },
  };
}

/** Of each transport that stands the machine knows whose it is, and of each peer there is one at most. */
export function knownSessions(world: World): Checker {
  return {
    name: "known-sessions",
    stepped(touched) {
      for (const at of touched) {
        const known = new Set(at.sync?.machine.peers().map((peer) => at.short(peer.name)));
        const seen = new Set<string>();
        for (const name of at.sync?.sessions() ?? []) {
          if (!known.has(name))
            world.fail("known-sessions", `${at.name} has forgotten ${name}, and its session stands`);
          if (seen.has(name)) world.fail("known-sessions", `${at.name} keeps two sessions with ${name}`);
          seen.add(name);
        }
      }
    },
  };
}

/** A Level-1 gateway holds its own records and those that it subscribed to. */
export function edgesHoldWhatTheyWant(world: World, work: Work): Checker {
  return {
    name: "edges-hold-what-they-want",
    stepped(touched) {
      for (const at of touched) {
        if (at.plan.role !== "level1") continue;
        const wishes = [...(work.wants.get(at.name)?.keys() ?? [])];
        for (const { agentId, origin } of at.sync?.machine.allRoutes() ?? []) {
          if (origin !== at.uri && !isWanted(world, wishes, agentId))
            world.fail(
              "edges-hold-what-they-want",
              `${at.name} holds ${agentId} and wants ${wishes.join(", ") || "nothing"}`,
            );
        }
      }
    },
  };
}

/** No record crosses what its owner or a gateway's policy forbids. */
export function exportPolicy(world: World): Checker {
  return {
    name: "export-policy",
    syncSent(from, to, message) {
      const update = updateOf(message);
      if (update === undefined) return;
      const { agentId } = statementOf(update);
      if (!mayCross(world, agentId, from, to))
        world.fail("export-policy", `${from.name} shows ${agentId} to ${to.name} of ${to.plan.domain}`);
    },
  };
}

/** What one peer may make a gateway keep is bounded. */
export function peerLimits(world: World): Checker {
  return {
    name: "peer-limits",
    stepped(touched) {
      for (const at of touched) {
        const limits = at.limits.sync;
        for (const peer of at.sync?.machine.peers() ?? []) {
          const say = (what: string): never =>
            world.fail("peer-limits", `${at.name} has ${what} of ${at.short(peer.name)}`);
          if (peer.unacknowledged > limits.unacknowledgedMax) say(`${peer.unacknowledged} unacknowledged messages`);
          if (peer.recordsIn > limits.recordsPerPeerMax) say(`${peer.recordsIn} records`);
          if (peer.subscriptions > limits.subscriptionsActiveMax) say(`${peer.subscriptions} subscriptions`);
        }
      }
    },
  };
}

/** One input has a bounded number of consequences: some for each record and peer, and no more. */
export function boundedEffects(world: World): Checker {
  const { agents, gateways } = world.plan;
  const things = agents.length * gateways.length;
  const max = {
    sync: 24 + 4 * (things + 2) * (gateways.length + 1),
    attach: 16 + 4 * things,
    topics: 8 + 2 * gateways.length ** 2,
  };
  return {
    name: "bounded-effects",
    effects(at, machine, count) {
      if (count > max[machine]) world.fail("bounded-effects", `${count} effects of one ${machine} input at ${at.name}`);
    },
  };
}

/**
 * Two honest gateways never refuse each other's updates, limits and forgotten bodies apart; and they never find their
 * views different, unless such a refusal was lost with a connection.
 */
export function honestViews(world: World): Checker {
  const isHonest = (gateway: Gateway | undefined): boolean => gateway !== undefined && gateway.name !== world.plan.liar;
  /** Pairs (receiver, sender) with a refusal in the present view. */
  const refused = new Set<string>();
  return {
    name: "honest-views",
    syncSent(from, to, { body }) {
      if (body.case === "notify" && body.value.number > 0n) refused.add(`${from.name} ${to.name}`);
      if (body.case === "snapshotBegin" && body.value.full) refused.delete(`${to.name} ${from.name}`);
    },
    syncEffect(at, effect) {
      if (effect.type !== "event" || !isHonest(at)) return;
      const { event } = effect;
      if (event.name !== "sync.view_mismatch" && event.name !== "sync.update_refused") return;
      const peer = world.gatewayOf(event.peer);
      if (peer === undefined || !isHonest(peer)) return;
      if (event.name === "sync.view_mismatch") {
        if (refused.has(`${at.name} ${peer.name}`)) return;
        world.fail("honest-views", `${at.name} and ${peer.name} have different views of what was sent`);
      } else if (
        event.error.code !== "CAUSEWAY_SYNC_LIMIT_RECORDS" &&
        event.error.code !== "CAUSEWAY_SYNC_BODY_MISSING"
      ) {
        world.fail("honest-views", `${at.name} refuses ${peer.name}: ${event.error.code} ${event.error.message}`);
      }
    },
  };
}

function updateOf({ body }: amsp.Message): amsp.Update | undefined {
  return body.case === "update" ? body.value : undefined;
}

function statementOf(update: amsp.Update): OriginStatement {
  return parseOriginStatement(
    update.origin?.statement ?? fromBinary(record.SignedOriginSchema, new Uint8Array()).statement,
  );
}

function names(world: World, uris: readonly string[]): string {
  return uris.map((uri) => world.gatewayOf(uri)?.name ?? uri).join(" ");
}

const sweepMs = 1_000;
