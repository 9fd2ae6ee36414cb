/** Safety of messages and topics: who gets what, how often, and on whose word. */
import { agentOf, isPrefixOf, type SpiffeId, shortName } from "@causeway/core-base";
import type { Arrival } from "@causeway/core-forwarding";
import { type agp, decodeFrame, FrameKind, type FrameScan, TargetKind } from "@causeway/core-wire";
import type { Gateway } from "../gateway.ts";
import type { Checker, SentMessage } from "../surroundings.ts";
import type { World } from "../world.ts";

/** Each hop takes exactly one from the TTL, and nothing goes on below one. */
export function ttlBoundsRelays(world: World): Checker {
  const relays = new Map<string, number>();
  const ttls = new Map<string, number>();
  return {
    name: "ttl-bounds-relays",
    sent: (_from, message) => void ttls.set(message.id, message.ttl),
    relayed(from, to, scan) {
      // Repetitions of a reliable message have the same id.
      if (scan.isReliable) return;
      const id = scan.messageId();
      const ttl = ttls.get(id) ?? reportTtl;
      const count = (relays.get(id) ?? 0) + 1;
      relays.set(id, count);
      const isRight =
        scan.targetKind === TargetKind.topic
          ? scan.hopTtl >= 1 && scan.hopTtl < ttl
          : scan.hopTtl === ttl - count && scan.hopTtl >= 1;
      if (!isRight)
        world.fail(
          "ttl-bounds-relays",
          `${id.slice(-6)} goes from ${from.name} to ${to} as relay ${count} with TTL ${scan.hopTtl}, sent with ${ttl}`,
        );
    },
  };
}

/** What is delivered under an agent's name was sent by it. */
export function ownSource(world: World): Checker {
  const forged = new Set<string>();
  return {
    name: "own-source",
    sent: (_from, message) => void (message.isForged && forged.add(message.id)),
    delivered(at, _link, scan) {
      if (forged.has(scan.messageId()))
        world.fail(
          "own-source",
          `${at.name} delivers ${scan.messageId().slice(-6)} under the name ${scan.source()}, which did not send it`,
        );
    },
  };
}

/**
 * Only the agent that a message names gets it, and only over an attachment that is alive. A publication may also go to
 * one that is stale: its subscription ends with it.
 */
export function deliveredToTarget(world: World): Checker {
  return {
    name: "delivered-to-target",
    delivered(at, link, scan, reason) {
      const attachment = at.attach?.machine.attachmentOf(link as never);
      const target = scan.target();
      if (attachment === undefined || (reason === "unicast" && attachment.state !== "attached"))
        return world.fail(
          "delivered-to-target",
          `${at.name} delivers to ${target} over a link that is ${attachment?.state ?? "not attached"}`,
        );
      if (reason === "topic") return;
      const isRight =
        scan.targetKind === TargetKind.prefix
          ? isPrefixOf(target, attachment.agentId)
          : agentOf(target as SpiffeId) === attachment.agentId &&
            (target === attachment.agentId || target.endsWith(`/@${attachment.instance}`));
      if (!isRight)
        world.fail(
          "delivered-to-target",
          `${at.name} delivers what is for ${target} to ${shortName(attachment.agentId)}/@${attachment.instance}`,
        );
    },
  };
}

/**
 * A Level-1 gateway carries no topic message from one neighbour to another. What is for an agent that has just moved it
 * may send on.
 */
export function edgesCarryNoTopics(world: World): Checker {
  return {
    name: "edges-carry-no-topics",
    relayed(from, to, scan, arrival) {
      if (from.plan.role === "level1" && arrival === "peer" && scan.targetKind === TargetKind.topic)
        world.fail(
          "edges-carry-no-topics",
          `${from.name} carries ${scan.messageId().slice(-6)} from a neighbour to ${to}`,
        );
    },
  };
}

/** A topic message crosses each link at most once in each direction. */
export function oneCopyPerLink(world: World): Checker {
  const seen = new Set<string>();
  return {
    name: "one-copy-per-link",
    relayed(from, to, scan) {
      if (scan.targetKind !== TargetKind.topic) return;
      const key = `${from.name} ${from.life} ${to} ${scan.messageId()}`;
      if (seen.has(key))
        world.fail("one-copy-per-link", `${scan.messageId().slice(-6)} goes from ${from.name} to ${to} twice`);
      seen.add(key);
    },
  };
}

/** A subscriber gets a topic message at most once over one attachment, and only what it asked for. */
export function oneCopyPerSubscriber(world: World): Checker {
  const seen = new Set<string>();
  const patterns = new Map<string, Set<string>>();
  const linkOf = (at: Gateway, link: number): string => `${at.name} ${at.life} ${link}`;
  return {
    name: "one-copy-per-subscriber",
    linkFrame(at, pipe, bytes, fromAgent) {
      // The tag of a body below 16 is one byte.
      const kind = (bytes[0] ?? 0) >> 3;
      if (!fromAgent || (kind !== FrameKind.subscribe && kind !== FrameKind.unsubscribe)) return;
      const body = decodeFrame(bytes);
      const held = patterns.get(linkOf(at, pipe.id)) ?? new Set<string>();
      patterns.set(linkOf(at, pipe.id), held);
      if (body.case === "subscribe") held.add(body.value.topic);
      if (body.case === "unsubscribe") held.delete(body.value.topic);
    },
    delivered(at, link, scan, reason) {
      if (reason !== "topic") return;
      const key = `${linkOf(at, link)} ${scan.messageId()}`;
      if (seen.has(key))
        world.fail("one-copy-per-subscriber", `${at.name} delivers ${scan.messageId().slice(-6)} twice`);
      seen.add(key);
      const held = patterns.get(linkOf(at, link)) ?? new Set<string>();
      if (![...held].some((pattern) => covers(pattern, scan.target())))
        world.fail(
          "one-copy-per-subscriber",
          `${at.name} delivers ${scan.target()} to a link that wants ${[...held].join(", ")}`,
        );
    },
  };
}

/** Interest begins with its sender, has no repeats, and never goes back to where it came from. */
export function interestHorizon(world: World): Checker {
  return {
    name: "interest-horizon",
    interestSent(from, to, interest) {
      if (interest.withdrawn) return;
      const uri = world.gateway(to).uri;
      const { path, origin } = interest;
      const isFormed = from.plan.role === "level2" ? path[0] === from.uri : path.length === 0 && origin === from.uri;
      if (!isFormed || new Set(path).size !== path.length || origin === uri || path.includes(uri))
        world.fail("interest-horizon", `${from.name} tells ${to} of the interest of ${interestText(world, interest)}`);
    },
  };
}

/** What an agent's message became, for the probes at the end. */
export class Traffic implements Checker {
  readonly name = "traffic";
  readonly sentBy = new Map<string, SentMessage>();
  readonly received = new Map<string, string[]>();
  readonly answers = new Map<string, string>();
  /** Gateways at which a message arrived, each entry once for each time. */
  readonly visits = new Map<string, string[]>();

  sent(_from: unknown, message: SentMessage): void {
    this.sentBy.set(message.id, message);
  }

  verdict(at: Gateway, scan: FrameScan, arrival: Arrival): void {
    // What waited for its agent and goes on has not come by again.
    if (scan.kind !== FrameKind.message || arrival.kind === "own") return;
    const id = scan.messageId();
    this.visits.set(id, [...(this.visits.get(id) ?? []), at.name]);
  }

  agentReceived(agent: { readonly name: string }, instance: string, scan: FrameScan): void {
    const id = scan.messageId();
    this.received.set(id, [...(this.received.get(id) ?? []), `${agent.name}/${instance}`]);
  }

  agentTold(_agent: unknown, messageId: string, code: string): void {
    this.answers.set(messageId, code);
  }
}

function covers(pattern: string, topic: string): boolean {
  return pattern.endsWith("/*") ? topic.startsWith(pattern.slice(0, -1)) : pattern === topic;
}

function interestText(world: World, { origin, path }: agp.TopicInterest): string {
  const name = (uri: string): string => world.gatewayOf(uri)?.name ?? uri;
  return `${name(origin)}, PATH [${path.map(name).join(" ")}]`;
}

/** Delivery reports are sent with the default TTL. */
const reportTtl = 16;
