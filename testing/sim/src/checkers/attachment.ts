/** Safety of attachment, judged from the frames on the link and from the effects that were performed. */

import { fromBinary } from "@bufbuild/protobuf";
import type { Attachment } from "@causeway/core-attachment";
import { labelled } from "@causeway/core-identity";
import { aap, FrameKind, FrameScan, scanFrame } from "@causeway/core-wire";
import { channelBinding } from "../attach-side.ts";
import type { Pipe } from "../fabric.ts";
import type { Gateway } from "../gateway.ts";
import { simCrypto } from "../identities.ts";
import type { Checker } from "../surroundings.ts";
import type { World } from "../world.ts";

/** Nothing is entered into the table before the proof on this very connection was right. */
export function verifiedBeforeInstall(world: World): Checker {
  interface Handshake {
    readonly pipe: Pipe;
    hello?: Uint8Array;
    challenge?: Uint8Array;
    proof?: Uint8Array;
  }
  const handshakes = new Map<string, Handshake>();
  return {
    name: "verified-before-install",
    linkFrame(at, pipe, bytes) {
      const kind = (bytes[0] ?? 0) >> 3;
      if (kind < FrameKind.attachHello || kind > FrameKind.attachProof) return;
      const scan = new FrameScan();
      if (scanFrame(bytes, 0, bytes.length, scan) !== undefined) return;
      const key = keyOf(at, pipe.id);
      const handshake = handshakes.get(key) ?? { pipe };
      handshakes.set(key, handshake);
      const body = scan.body().slice();
      if (scan.kind === FrameKind.attachHello) handshake.hello = body;
      if (scan.kind === FrameKind.attachChallenge) handshake.challenge = body;
      if (scan.kind === FrameKind.attachProof) handshake.proof = fromBinary(aap.AttachProofSchema, body).signature;
    },
    attachEffect(at, effect) {
      if (effect.kind !== "install") return;
      const { link, agentId } = effect.attachment;
      const { pipe, hello, challenge, proof } = handshakes.get(keyOf(at, link)) ?? {};
      if (pipe === undefined || hello === undefined || challenge === undefined || proof === undefined)
        return world.fail("verified-before-install", `${at.name} installs ${agentId} without a handshake`);
      const { spki, spiffeId } = world.agentPeer(pipe.remote);
      const transcript = simCrypto.sha256(Buffer.concat([hello, challenge].flatMap((part) => [length(part), part])));
      const message = labelled("attach", channelBinding(pipe), transcript);
      if (spiffeId !== agentId || !simCrypto.verify(spki, message, proof))
        world.fail("verified-before-install", `${at.name} installs ${agentId} for ${pipe.remote} on a wrong proof`);
    },
  };
}

/** Of one instance a gateway has at most one attachment, and it is the latest. */
export function oneLease(world: World): Checker {
  const live = new Map<string, Map<string, Attachment>>();
  const latest = new Map<string, bigint>();
  return {
    name: "one-lease",
    attachEffect(at, effect) {
      if (effect.kind !== "install" && effect.kind !== "remove") return;
      const { attachment } = effect;
      const all = live.get(`${at.name} ${at.life}`) ?? new Map<string, Attachment>();
      live.set(`${at.name} ${at.life}`, all);
      const key = `${attachment.agentId}/@${attachment.instance}`;
      if (effect.kind === "remove") {
        if (all.get(key)?.link === attachment.link) all.delete(key);
        return;
      }
      if (all.has(key)) world.fail("one-lease", `${at.name} has two attachments of ${key}`);
      const before = latest.get(`${at.name} ${at.life} ${key}`);
      if (before !== undefined && attachment.attachmentSequence <= before)
        world.fail(
          "one-lease",
          `${at.name} takes attachment ${attachment.attachmentSequence} of ${key} after ${before}`,
        );
      latest.set(`${at.name} ${at.life} ${key}`, attachment.attachmentSequence);
      all.set(key, attachment);
    },
  };
}

interface Heard {
  /** By the gateway's own clock. */
  last: number;
  /** Silence before the last sign of life. */
  gap: number;
  lostAt: number | undefined;
  staleAt: number | undefined;
  hasEnded: boolean;
  readonly isSoft: boolean;
}

/**
 * Who gives signs of life stays; who does not goes stale and is removed in time; and no lease is renewed after its end
 * (AAP-65, AAP-85, AAP-86, AAP-91).
 */
export function presenceInTime(world: World): Checker {
  const heard = new Map<string, Heard>();
  let sweptAt = 0;
  const localNow = (at: Gateway): number => at.now().instant;

  const stale = (at: Gateway, attachment: Attachment, entry: Heard): void => {
    const silent = localNow(at) - entry.last;
    entry.staleAt = localNow(at);
    if (entry.lostAt === undefined && silent < at.limits.attachment.staleAfterMs)
      world.fail("presence-in-time", `${at.name} calls ${attachment.agentId} stale after ${silent} ms of silence`);
  };
  const removed = (at: Gateway, attachment: Attachment, entry: Heard, code: string | undefined): void => {
    const { staleAfterMs, removeAfterStaleMs, leaseMs } = at.limits.attachment;
    const now = localNow(at);
    const isExpired = entry.isSoft
      ? now - entry.last >= leaseMs
      : now - entry.last >= staleAfterMs + removeAfterStaleMs ||
        (entry.staleAt !== undefined && now - entry.staleAt >= removeAfterStaleMs);
    const isRight =
      code === undefined
        ? entry.hasEnded || isExpired
        : code === "CAUSEWAY_ATTACHMENT_REPLACED" ||
          (code === "CAUSEWAY_ATTACHMENT_LEASE_EXPIRED" && entry.gap > leaseMs);
    if (!isRight)
      world.fail(
        "presence-in-time",
        `${at.name} removes ${attachment.agentId} ${now - entry.last} ms after its last sign of life (${code ?? "expired"})`,
      );
  };
  const overdue = (at: Gateway, { agentId, state }: Attachment, entry: Heard): void => {
    const { staleAfterMs, removeAfterStaleMs, leaseMs } = at.limits.attachment;
    const silent = localNow(at) - entry.last;
    const isOverdue = entry.isSoft
      ? silent > leaseMs + slackMs
      : state === "attached"
        ? silent > staleAfterMs + slackMs
        : entry.staleAt !== undefined && localNow(at) - entry.staleAt > removeAfterStaleMs + slackMs;
    if (isOverdue)
      world.fail("presence-in-time", `${at.name} still shows ${agentId} as ${state} after ${silent} ms of silence`);
  };

  return {
    name: "presence-in-time",
    attachEffect(at, effect) {
      if (effect.kind === "install") {
        const isSoft = effect.attachment.model === "soft";
        heard.set(keyOf(at, effect.attachment.link), {
          last: localNow(at),
          gap: 0,
          lostAt: undefined,
          staleAt: undefined,
          hasEnded: false,
          isSoft,
        });
      }
      if (effect.kind !== "update" && effect.kind !== "remove") return;
      const entry = heard.get(keyOf(at, effect.attachment.link));
      if (entry === undefined) return;
      if (effect.kind === "remove") return removed(at, effect.attachment, entry, effect.cause?.code);
      if (effect.attachment.state === "stale") stale(at, effect.attachment, entry);
      else entry.staleAt = undefined;
    },
    linkFrame(at, pipe, bytes, fromAgent) {
      const entry = heard.get(keyOf(at, pipe.id));
      if (entry === undefined) return;
      const kind = (bytes[0] ?? 0) >> 3;
      if (fromAgent && (kind === FrameKind.heartbeat || (entry.isSoft && kind === FrameKind.message))) {
        entry.gap = localNow(at) - entry.last;
        entry.last = localNow(at);
      }
      if (fromAgent && kind === FrameKind.sessionEnd) entry.hasEnded = true;
      if (!fromAgent && kind === FrameKind.heartbeatAck && entry.gap > at.limits.attachment.leaseMs)
        world.fail("presence-in-time", `${at.name} renews a lease ${entry.gap} ms after its last renewal`);
    },
    linkLost(at, link) {
      const entry = heard.get(keyOf(at, link));
      if (entry !== undefined) entry.lostAt = localNow(at);
    },
    agentFinal(agent, instance, code) {
      world.fail("presence-in-time", `${agent.name}/${instance}, which lives, is told ${code}`);
    },
    stepped() {
      if (world.now - sweptAt < sweepMs) return;
      sweptAt = world.now;
      for (const at of world.gateways.values()) {
        for (const attachment of at.attach?.machine.attachments() ?? []) {
          const entry = heard.get(keyOf(at, attachment.link));
          if (entry !== undefined) overdue(at, attachment, entry);
        }
      }
    },
  };
}

const keyOf = (at: Gateway, link: number): string => `${at.name} ${at.life} ${link}`;

function length(part: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, part.length);
  return bytes;
}

const sweepMs = 200;
/** Timers fire at whole milliseconds of clocks that drift. */
const slackMs = 60;
