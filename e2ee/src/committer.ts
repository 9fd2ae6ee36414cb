/**
 * Moves groups from epoch to epoch in the order that the delivery service gives (AGP-45): an own commit counts only
 * once it is accepted; the loser of an epoch takes the winner's commit and makes its own again on top of it. What was
 * offered is stored first, so that a crash between offer and answer loses nothing.
 */
import { type AgentId, CausewayError, isCausewayError, refuse, withInstance } from "@causeway/core-base";
import type { GroupChange, SealedFrame } from "./api.ts";
import type { Group } from "./group.ts";
import type { GroupBook, Report } from "./group-book.ts";
import type { PendingCommit } from "./group-parts.ts";
import {
  decodeMlsMessage,
  encodeMlsMessage,
  type KeyPackage,
  type PrivateMessage,
  type Proposal,
  type Welcome,
} from "./library.ts";
import type { DeliveryPort, UnixClock } from "./ports.ts";
import type { SigningIdentity } from "./signing-identity.ts";

/** Times that a commit is made again after another one won the epoch. */
const attemptsMax = 8;
/** Shortest time between two questions for missed commits that brought nothing. */
const catchUpMs = 1_000;

/** What a commit is to do, decided anew for each epoch it is tried in. */
export interface Plan {
  readonly proposals: readonly Proposal[];
  /** Receivers of welcomes, in the order of the add proposals. */
  readonly added?: readonly { readonly agent: AgentId; readonly keyPackage: KeyPackage }[];
}

export interface CommitterParts {
  readonly book: GroupBook;
  readonly delivery: DeliveryPort;
  readonly clock: UnixClock;
  readonly identity: () => SigningIdentity;
  readonly report: Report;
}

export class Committer {
  readonly #parts: CommitterParts;
  /** Results of commits whose acceptance became known later; given out by `maintain`. */
  #late: GroupChange[] = [];

  constructor(parts: CommitterParts) {
    this.#parts = parts;
  }

  takeLate(): readonly GroupChange[] {
    const late = this.#late;
    this.#late = [];
    return late;
  }

  /**
   * Commits what `plan` says for the group's epoch; undefined when it says nothing. Throws
   * `CAUSEWAY_E2EE_STALE_EPOCH` when other members win again and again, and what the delivery port throws; the commit
   * then stays pending and is settled before the next one.
   */
  async commit(group: Group, plan: () => Plan | undefined): Promise<GroupChange | undefined> {
    const { book, delivery, identity } = this.#parts;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      await this.settle(group);
      const wanted = plan();
      if (wanted === undefined) return undefined;
      await book.records(group).ensureSaved();
      const context = group.contextId;
      const { welcome, ...built } = await group.buildCommit(wanted.proposals, identity());
      const pending: PendingCommit = { ...built, welcomes: welcomesFor(welcome, wanted) };
      // The first commit of a group that nobody else is in has no competitor.
      if (group.alone && group.epoch === 0n) return this.#won(group, pending, context);
      group.pending = pending;
      const records = book.records(group);
      await records.saveReservation();
      await records.savePending(pending);
      const answer = await delivery.submitCommit(group.facts.owner, group.idBytes, pending.epoch, pending.bytes);
      if (answer.accepted || same(answer.winner, pending.bytes)) return this.#won(group, pending, context);
      await this.#lost(group, answer.winner);
    }
    throw refuse(
      "CAUSEWAY_E2EE_STALE_EPOCH",
      `other members won ${attemptsMax} epochs of the group in a row; try again later`,
    );
  }

  /** Learns the fate of an own commit whose answer is missing. */
  async settle(group: Group): Promise<void> {
    const { pending } = group;
    if (pending === undefined) return;
    const { delivery } = this.#parts;
    const context = group.contextId;
    const [first] = await delivery.fetchHandshakes(group.facts.owner, group.idBytes, pending.epoch);
    if (first === undefined) {
      const answer = await delivery.submitCommit(group.facts.owner, group.idBytes, pending.epoch, pending.bytes);
      if (answer.accepted || same(answer.winner, pending.bytes))
        this.#late.push(await this.#won(group, pending, context));
      else await this.#lost(group, answer.winner);
    } else if (same(first, pending.bytes)) {
      this.#late.push(await this.#won(group, pending, context));
    } else {
      await this.#lost(group, first);
    }
  }

  /** Applies the commits that this member missed. True when the group moved. */
  async catchUp(group: Group): Promise<boolean> {
    const now = this.#parts.clock();
    if (now - group.lastCatchUp < catchUpMs) return false;
    group.lastCatchUp = now;
    const from = group.epoch;
    await this.settle(group);
    for (let progressed = true; progressed && !group.closed && group.broken === undefined; ) {
      const commits = await this.#missed(group);
      progressed = commits.length > 0;
      for (const commit of commits) await this.applyOrdered(group, commit);
    }
    if (group.epoch === from) return false;
    group.lastCatchUp = Number.NEGATIVE_INFINITY;
    return true;
  }

  /** Applies a commit that the delivery service ordered. One that cannot be applied ends the group for this member. */
  async applyOrdered(group: Group, bytes: Uint8Array): Promise<void> {
    const message = privateMessage(bytes);
    if (group.closed || group.broken !== undefined || (message !== undefined && message.epoch < group.epoch)) return;
    try {
      if (message === undefined || message.contentType !== "commit")
        throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "it is not a commit");
      if (message.epoch !== group.epoch)
        throw refuse("CAUSEWAY_E2EE_STALE_EPOCH", `it starts from epoch ${message.epoch}`);
      await this.apply(group, message, undefined);
    } catch (error) {
      if (isCausewayError(error) && error.code.startsWith("CAUSEWAY_STORE")) throw error;
      this.markBroken(
        group,
        `the commit ordered for epoch ${group.epoch} cannot be applied: ${CausewayError.from(error).message}`,
      );
    }
  }

  /** Applies one commit of the current epoch and stores the result. */
  async apply(group: Group, message: PrivateMessage, source: AgentId | undefined): Promise<void> {
    const { book, clock, report } = this.#parts;
    const advance = await group.processCommit(message, source);
    if (advance.removed) {
      await book.drop(
        group,
        `${advance.committer} removed this agent from the group`,
        "group.removed",
        advance.committer,
      );
      return;
    }
    await group.adoptAdvance(advance, clock());
    await book.saved(group);
    report({
      type: "group.advanced",
      groupId: group.id,
      peer: advance.committer,
      text: `${advance.committer} moved the group to epoch ${group.epoch}`,
    });
  }

  markBroken(group: Group, why: string): void {
    group.broken = why;
    this.#parts.report({ type: "group.forked", groupId: group.id, code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN", text: why });
  }

  async #missed(group: Group): Promise<readonly Uint8Array[]> {
    try {
      return await this.#parts.delivery.fetchHandshakes(group.facts.owner, group.idBytes, group.epoch);
    } catch (error) {
      if (!isCausewayError(error) || error.code !== "CAUSEWAY_E2EE_STALE_EPOCH") throw error;
      this.markBroken(group, `the commits from epoch ${group.epoch} on are no longer kept`);
      return [];
    }
  }

  async #won(group: Group, pending: PendingCommit, context: Uint8Array): Promise<GroupChange> {
    const { book, clock, report } = this.#parts;
    const frames: SealedFrame[] = group.alone
      ? []
      : [{ kind: "commit", securityContextId: context, payload: pending.bytes, ...addressOf(group) }];
    await group.adoptPending(pending, clock());
    if (group.facts.kind === "pair") group.history.welcome = pending.welcomes[0]?.payload ?? group.history.welcome;
    await book.saved(group);
    report({ type: "group.advanced", groupId: group.id, text: `own commit moved the group to epoch ${group.epoch}` });
    const securityContextId = group.contextId;
    return {
      group: group.view(),
      frames,
      welcomes: pending.welcomes.map(({ to, payload }) => ({
        to,
        frame: { kind: "welcome", securityContextId, payload },
      })),
      refused: [],
    };
  }

  async #lost(group: Group, winner: Uint8Array | undefined): Promise<void> {
    group.pending = undefined;
    await this.#parts.book.records(group).dropPending();
    const ordered = winner === undefined ? await this.#missed(group) : [winner];
    for (const commit of ordered) await this.applyOrdered(group, commit);
    if (ordered.length === 0)
      this.markBroken(group, `the delivery service is not in epoch ${group.epoch} and has no commit of it`);
    if (group.closed || group.broken !== undefined) {
      throw refuse("CAUSEWAY_E2EE_STALE_EPOCH", group.broken ?? "this agent was removed from the group meanwhile");
    }
  }
}

/** Whom frames of a pair are for, when the peer's instance is known. */
function addressOf({ peer, history }: Group): Pick<SealedFrame, "to"> {
  const { peerInstance } = history;
  return peer !== undefined && peerInstance !== undefined ? { to: withInstance(peer, peerInstance) } : {};
}

/** Decodes an MLS private message; undefined for anything else. */
export function privateMessage(bytes: Uint8Array): PrivateMessage | undefined {
  try {
    const decoded = decodeMlsMessage(bytes, 0);
    if (decoded === undefined || decoded[1] !== bytes.length || decoded[0].wireformat !== "mls_private_message")
      return undefined;
    return decoded[0].privateMessage;
  } catch {
    // The decoder throws on some malformed lengths: it is not a private message.
    return undefined;
  }
}

/** One welcome for each new member, with that member's secret only: smaller, and silent about the others. */
function welcomesFor(welcome: Welcome | undefined, plan: Plan): PendingCommit["welcomes"] {
  if (welcome === undefined) return [];
  return (plan.added ?? []).map(({ agent }, i) => {
    const secret = welcome.secrets[i];
    if (secret === undefined) throw refuse("CAUSEWAY_INTERNAL", "the welcome lacks a secret for a new member");
    const payload = encodeMlsMessage({
      version: "mls10",
      wireformat: "mls_welcome",
      welcome: { ...welcome, secrets: [secret] },
    });
    return { to: agent, payload };
  });
}

function same(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}
