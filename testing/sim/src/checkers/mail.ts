/** Safety of mailboxes (AGP-58): what was said to be stored is, nothing leaves without a reason, every bound holds. */
import type { StoredMail } from "@causeway/core-base";
import type { MailboxLimits } from "@causeway/core-mailbox";
import { drainMs } from "../bounds.ts";
import type { Gateway } from "../gateway.ts";
import type { Checker } from "../surroundings.ts";
import type { World } from "../world.ts";
import { idOf, type Ledger } from "./ledger.ts";

/** A message is on the disk before anybody is told so. */
export function storedBeforeTold(world: World, ledger: Ledger): Checker {
  return {
    name: "stored-before-told",
    mailEffect(at, effect) {
      if (effect.kind !== "stored") return;
      const entry = ledger.entry(idOf(effect.mail));
      // What an operator deletes in the turn in which it came is not stored, and was.
      if (entry?.isPurged === true || entry?.everHolders.has(at.name) === true) return;
      world.fail(
        "stored-before-told",
        `${at.name} says that it stored ${short(effect.mail)}, which is not on its disk`,
      );
    },
  };
}

/** What was promised to be stored is on a disk until its agent has settled it, or an operator has deleted it. */
export function promisedIsKept(world: World, ledger: Ledger): Checker {
  const held = new Map<string, Set<string>>();
  return {
    name: "promised-is-kept",
    mailCommitted(at) {
      const { waiting, dead } = at.mailStore.load();
      const now = new Set([...waiting, ...dead.map(({ mail }) => mail)].map(idOf));
      for (const id of held.get(at.name) ?? []) {
        const entry = ledger.entry(id);
        if (now.has(id) || entry === undefined || !entry.isPromised || entry.isAcked || entry.isPurged) continue;
        if (entry.holders.size === 0)
          world.fail("promised-is-kept", `${at.name} drops the last copy of ${id.slice(-6)}, which ${entry.to} lacks`);
      }
      held.set(at.name, now);
    },
  };
}

/** Nobody gets or settles what is in another agent's mailbox. */
export function ownMailbox(world: World, ledger: Ledger): Checker {
  return {
    name: "own-mailbox",
    mailEffect(at, effect) {
      if (effect.kind === "deliver") {
        const attachment = at.attach?.machine.attachmentOf(effect.link as never);
        if (attachment !== undefined && attachment.agentId !== effect.mail.agentId)
          world.fail("own-mailbox", `${at.name} hands ${short(effect.mail)} to ${attachment.agentId}`);
        const { instance } = effect.mail;
        if (attachment !== undefined && instance !== "" && attachment.instance !== instance)
          world.fail("own-mailbox", `${at.name} hands ${short(effect.mail)} of ${instance} to ${attachment.instance}`);
      }
      if (effect.kind === "remove" && effect.why === "acknowledged") {
        if (ledger.entry(idOf(effect.mail))?.isAcked !== true)
          world.fail(
            "own-mailbox",
            `${at.name} removes ${short(effect.mail)} though ${effect.mail.agentId} did not acknowledge it`,
          );
      }
    },
  };
}

/**
 * Over one link the messages of one sender come in the order in which they were stored, and none overtakes those that
 * wait. What is not acknowledged when a link turns stale comes again when it is alive again.
 */
export function mailInOrder(world: World): Checker {
  const last = new Map<string, Map<string, number>>();
  /** What an operator put back comes after what came meanwhile. */
  const revived = new Set<string>();
  const linkOf = (at: Gateway, link: number): string => `${at.name} ${at.life} ${link}`;
  return {
    name: "mail-in-order",
    attachEffect(at, effect) {
      if (effect.kind === "update" && effect.attachment.state === "stale")
        last.delete(linkOf(at, effect.attachment.link));
    },
    mailEffect(at, effect) {
      if (effect.kind === "revive") revived.add(`${at.name} ${effect.mail.sequence}`);
      if (effect.kind !== "deliver") return;
      const { mail, link } = effect;
      if (revived.has(`${at.name} ${mail.sequence}`)) return;
      const bySource = last.get(linkOf(at, link)) ?? new Map<string, number>();
      last.set(linkOf(at, link), bySource);
      const before = bySource.get(mail.source) ?? 0;
      if (mail.sequence <= before)
        world.fail("mail-in-order", `${at.name} hands over ${mail.sequence} of ${mail.source} after ${before}`);
      bySource.set(mail.source, mail.sequence);
    },
    mailVerdict(at, mail, verdict) {
      if (verdict !== "pass") return;
      const waiting = at.mail?.machine
        .stored({ agentId: mail.agentId })
        .find(
          (each) =>
            each.mail.source === mail.source && each.mail.instance === mail.instance && each.state === "waiting",
        );
      if (waiting !== undefined)
        world.fail("mail-in-order", `${at.name} passes a message by ${short(waiting.mail)} of the same sender`);
    },
  };
}

/** What an operator puts back has the default time to be delivered. */
export function replayGivesTime(world: World): Checker {
  const name = "replay-gives-time";
  return {
    name,
    mailEffect(at, effect) {
      if (effect.kind !== "revive") return;
      const max = at.now().unix + (at.limits.mail?.mailbox.mailboxMs ?? 0);
      if (effect.mail.expiresAt !== max)
        world.fail(name, `${at.name} puts ${short(effect.mail)} back until ${effect.mail.expiresAt} instead of ${max}`);
    },
  };
}

/** What has expired goes to the dead letters in time, and is not handed over any more. */
export function expiryIsHonoured(world: World): Checker {
  /** When a gateway was first seen with something that had expired. */
  const waitingSince = new Map<string, number>();
  return {
    name: "expiry-is-honoured",
    mailEffect(at, effect) {
      if (effect.kind === "deliver" && effect.mail.expiresAt < at.now().unix)
        world.fail("expiry-is-honoured", `${at.name} hands over ${short(effect.mail)}, which has expired`);
    },
    stepped(touched) {
      for (const at of touched) {
        const { unix } = at.now();
        for (const { mail, state } of at.mail?.machine.stored({}) ?? []) {
          if (state !== "waiting" || mail.expiresAt > unix) continue;
          const key = `${at.name} ${at.life} ${mail.sequence} ${mail.expiresAt}`;
          const since = waitingSince.get(key) ?? unix;
          waitingSince.set(key, since);
          if (since + expirySlackMs + transferMs(at) < unix)
            world.fail("expiry-is-honoured", `${at.name} keeps ${short(mail)}, which has expired`);
        }
      }
    },
  };
}

/**
 * When everybody is there nothing is given up: it would have been handed over long before. Only where the receiver holds
 * what waits for an earlier message, that may fill a window or a share, and keep back the earlier one until it is passed
 * over.
 */
export function nothingDiesInPeace(world: World): Checker {
  const peaceAt = world.plan.faultMs + drainMs(world.plan);
  return {
    name: "mailboxes-drain",
    mailEffect(at, effect) {
      if (effect.kind !== "bury" || world.now <= peaceAt) return;
      const boxes = [...world.gateways.values()].flatMap((gateway) => gateway.mail?.machine.mailboxes() ?? []);
      const isHeld = boxes.some(({ agentId, underWay }) => agentId === effect.mail.agentId && underWay > 0);
      if (!isHeld)
        world.fail(
          "mailboxes-drain",
          `${at.name} gives up ${short(effect.mail)}, which is there: ${effect.error.code}`,
        );
    },
  };
}

/** What a gateway's memory says of its mailboxes is what its disk says. */
export function diskIsMemory(world: World): Checker {
  return {
    name: "disk-is-memory",
    mailCommitted(at) {
      const { waiting, dead } = at.mailStore.load();
      const known = numbers(at.mail?.machine.stored({}).map(({ mail }) => mail) ?? []);
      const letters = numbers(at.mail?.machine.deadLetters({}).map(({ mail }) => mail) ?? []);
      const onDisk = numbers(waiting);
      const deadOnDisk = numbers(dead.map(({ mail }) => mail));
      if (known !== onDisk) world.fail("disk-is-memory", `${at.name} knows of [${known}] and has stored [${onDisk}]`);
      if (letters !== deadOnDisk)
        world.fail("disk-is-memory", `${at.name} knows of dead letters [${letters}] and has [${deadOnDisk}]`);
    },
  };
}

/**
 * No mailbox, no sender's share of one and not all of them together exceed their bounds. What other gateways handed over
 * has as much room again.
 */
export function mailboxBounds(world: World): Checker {
  const handedOver = new Set<string>();
  const demand = (at: Gateway, limit: keyof MailboxLimits, value: number): void => {
    const max = world.plan.limits.mail?.mailbox[limit] ?? 0;
    if (value > max) world.fail("mailbox-bounds", `${at.name} has ${value} with ${limit} ${max}`);
  };
  return {
    name: "mailbox-bounds",
    mailVerdict(at, mail, verdict) {
      if (mail.storedAt !== undefined && verdict === "taken") handedOver.add(keyOf(at, mail));
    },
    mailCommitted(at) {
      const { waiting: all, dead } = at.mailStore.load();
      const waiting = all.filter((mail) => !handedOver.has(keyOf(at, mail)));
      demand(at, "mailboxTotalMessagesMax", waiting.length);
      demand(at, "mailboxTotalMessagesMax", all.length / 2);
      demand(at, "deadLettersMax", dead.length);
      const boxes = new Map<string, number>();
      const count = (key: string): number => boxes.set(key, (boxes.get(key) ?? 0) + 1).get(key) ?? 0;
      for (const { agentId, source } of waiting) {
        demand(at, "mailboxMessagesMax", count(agentId));
        demand(at, "mailboxSenderMessagesMax", count(`${agentId} ${source}`));
      }
      for (const { agentId } of at.mail?.machine.mailboxes() ?? []) {
        const underWay = at.mail?.machine.stored({ agentId }).filter(({ state }) => state === "under-way") ?? [];
        demand(at, "mailboxWindowMessages", underWay.length);
        for (const { attempts } of underWay) demand(at, "mailboxAttemptsMax", attempts);
      }
    },
  };
}

const keyOf = (at: Gateway, { agentId, source, id }: Pick<StoredMail, "agentId" | "source" | "id">): string =>
  `${at.name} ${agentId} ${source} ${id}`;

const numbers = (mails: readonly StoredMail[]): string =>
  mails
    .map(({ sequence }) => sequence)
    .sort((a, b) => a - b)
    .join(" ");

const short = (mail: StoredMail): string => `${idOf(mail).slice(-6)} for ${mail.agentId}`;

/** What is offered to another gateway is judged when it comes back. */
const transferMs = (at: Gateway): number => at.limits.mail?.mailbox.mailboxTransferMs ?? 0;
/** Timers of mailboxes fire at whole seconds. */
const expirySlackMs = 1_100;
