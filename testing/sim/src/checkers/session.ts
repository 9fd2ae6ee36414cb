/** Safety of reliable messages and streams, as applications on both sides see them (AGP-58, AGP-21). */
import { type ChannelState, initialCreditBytes } from "@causeway/core-session";
import { type Endpoint, refusedCode } from "../endpoint.ts";
import { byteAt } from "../stream-user.ts";
import type { Checker } from "../surroundings.ts";
import type { World } from "../world.ts";
import type { Ledger } from "./ledger.ts";

/** Nothing is handed to the application twice by one process, nor after its sender was told of the outcome. */
export function takenOnce(world: World, ledger: Ledger): Checker {
  const handed = new Set<string>();
  return {
    name: "taken-once",
    endpoint(at, event) {
      if (event.kind !== "handed") return;
      const key = `${at.name} ${event.id}`;
      if (handed.has(key)) world.fail("taken-once", `${at.name} gets ${event.id.slice(-6)} twice`);
      // What streams got need not be remembered over a restart: the streams are gone as well.
      if (ledger.entry(event.id)?.isReported === true && !event.isStream)
        world.fail("taken-once", `${at.name} gets ${event.id.slice(-6)}, of which its sender knows the outcome`);
      handed.add(key);
    },
  };
}

/**
 * Within a lane a process gets messages in the order in which they were sent. Only what was waited for in vain may come
 * late.
 */
export function lanesInOrder(world: World): Checker {
  const last = new Map<string, number>();
  const lookedAt = new Map<string, number>();
  const skipped = new Set<string>();
  return {
    name: "lanes-in-order",
    endpoint(at, event) {
      if (event.kind === "gaps-looked-at") lookedAt.set(at.name, world.now);
      if (event.kind !== "handed") return;
      const key = `${at.name} ${event.channel} ${event.lane}`;
      const before = last.get(key) ?? 0;
      if (event.sequence > before + 1 && lookedAt.get(at.name) === world.now) skipped.add(key);
      if (event.sequence <= before && !skipped.has(key))
        world.fail("lanes-in-order", `${at.name} gets ${event.sequence} of lane ${event.lane} after ${before}`);
      last.set(key, event.sequence);
    },
  };
}

/**
 * Taken and refused mean what they say; any other outcome but "unknown" means that the application never gets it. A
 * receiver says of nothing that it was taken before it was.
 */
export function truthfulOutcome(world: World, ledger: Ledger): Checker {
  return {
    name: "truthful-outcome",
    endpoint(at, event) {
      if (event.kind === "reported") return honestReport(world, ledger, at, event.state);
      if (event.kind === "handed") {
        const code = ledger.entry(event.id)?.settled?.code;
        if (code !== undefined && !isUnknown(code))
          world.fail("truthful-outcome", `${at.name} gets ${event.id.slice(-6)}, of which its sender was told ${code}`);
      }
      if (event.kind !== "settled") return;
      const entry = ledger.entry(event.id);
      const code = event.error?.code;
      const text = `${at.name} believes of ${event.id.slice(-6)}: ${code ?? "taken"}, which is ${entry?.outcome ?? "open"}`;
      if (code === undefined && entry?.outcome !== "taken") world.fail("truthful-outcome", text);
      if (code === refusedCode && entry?.outcome !== "refused") world.fail("truthful-outcome", text);
      const isDefinite = code !== undefined && code !== refusedCode && !isUnknown(code);
      if (isDefinite && (entry?.handedIn.size ?? 0) > 0) world.fail("truthful-outcome", `${text} and was handed over`);
    },
  };
}

/** One message is transmitted no more often than allowed, and not at all once it is settled. */
export function boundedRepetition(world: World, ledger: Ledger): Checker {
  const counts = new Map<string, number>();
  return {
    name: "bounded-repetition",
    endpoint(at, event) {
      if (event.kind !== "transmitted") return;
      const count = (counts.get(event.id) ?? 0) + 1;
      counts.set(event.id, count);
      const max = at.plan.session.attemptsMax;
      if (count > max)
        world.fail(
          "bounded-repetition",
          `${at.name} sends ${event.id.slice(-6)} ${count} times, at most ${max} are allowed`,
        );
      if (ledger.entry(event.id)?.settled !== undefined)
        world.fail("bounded-repetition", `${at.name} sends ${event.id.slice(-6)}, which is settled`);
    },
  };
}

/** No side of a stream sends more than it was given credit for, and what arrives is what was written, in order. */
export function creditIsKept(world: World): Checker {
  /** By side and stream. */
  const sent = new Map<string, number>();
  const received = new Map<string, number>();
  /** What each side of a stream allows the other. */
  const allowed = new Map<string, Map<string, number>>();
  return {
    name: "credit-is-kept",
    endpoint(at, event) {
      if (event.kind === "stream-sent") {
        const { stream, frame } = event;
        const grants = allowed.get(stream) ?? new Map<string, number>();
        allowed.set(stream, grants);
        const limit = frame.type === "credit" ? frame.limit : frame.type === "open" ? frame.credit : 0;
        grants.set(at.name, Math.max(limit, grants.get(at.name) ?? initialCreditBytes));
        if (frame.type !== "data") return;
        const total = (sent.get(`${at.name} ${stream}`) ?? 0) + frame.bytes.length;
        sent.set(`${at.name} ${stream}`, total);
        const others = [...grants].filter(([side]) => side !== at.name).map(([, bytes]) => bytes);
        const max = Math.max(initialCreditBytes, ...others);
        if (total > max)
          world.fail(
            "credit-is-kept",
            `${at.name} sends ${total} bytes of ${stream.slice(0, 8)} with credit for ${max}`,
          );
      }
      if (event.kind !== "stream-data") return;
      const key = `${at.name} ${event.stream}`;
      const offset = received.get(key) ?? 0;
      const end = offset + event.bytes.length;
      received.set(key, end);
      if (event.bytes[0] !== byteAt(offset) || event.bytes.at(-1) !== byteAt(end - 1))
        world.fail(
          "credit-is-kept",
          `${at.name} gets other bytes than were written at ${offset} of ${event.stream.slice(0, 8)}`,
        );
    },
  };
}

/** Bytes that nobody has read are no more than the window of their stream. */
export function unreadIsBounded(world: World): Checker {
  return {
    name: "unread-is-bounded",
    endpoint(at, event) {
      if (event.kind !== "stream-data") return;
      const { windowBytes } = at.plan.streams;
      const unread = at.streams.stalled.get(event.stream) ?? 0;
      if (unread > windowBytes)
        world.fail(
          "unread-is-bounded",
          `${at.name} holds ${unread} unread bytes of one stream, at most ${windowBytes}`,
        );
    },
  };
}

function honestReport(world: World, ledger: Ledger, at: Endpoint, state: ChannelState): void {
  for (const { entry, outcome } of ledger.reported(state)) {
    if (entry.outcome !== outcome)
      world.fail(
        "truthful-outcome",
        `${at.name} reports ${entry.id.slice(-6)} as ${outcome}, which is ${entry.outcome ?? "open"}`,
      );
  }
}

/** Codes that leave open whether the application got it. */
const isUnknown = (code: string): boolean => code === "CAUSEWAY_TIMEOUT" || code === "CAUSEWAY_CANCELLED";
