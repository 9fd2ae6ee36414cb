/**
 * Drives the machine of mailboxes: messages and acknowledgements in; the store, links, reports and other gateways out.
 * What was stored in a turn of the event loop is committed at its end, once; only then is anybody told of it or handed it.
 */
import {
  type AgentId,
  CausewayError,
  type ErrorFacts,
  instanceOf,
  type MailboxStore,
  mailId,
  mailIdBytes,
  type Now,
  refuse,
  type SpiffeId,
  type StoredFrame,
  type StoredMail,
} from "@causeway/core-base";
import { type ForwardingTable, type HopTrace, type MailFate } from "@causeway/core-forwarding";
import {
  type MailboxEffect,
  Mailboxes,
  type MailFilter,
  type MailLink,
  type RemovalReason,
} from "@causeway/core-mailbox";
import {
  agp,
  FrameScan,
  fromErrorDetail,
  HeaderFlag,
  hex,
  Lane,
  type LinkId,
  laneOf,
  scanFrame,
  TargetKind,
  toErrorDetail,
} from "@causeway/core-wire";
import type { Answers } from "./answers.ts";
import { decodeBody } from "./decode-body.ts";
import type { FollowedAgents } from "./followed-agents.ts";
import type { LinkEntry, Links } from "./links.ts";
import { MailTransfers, type TakenTransfer } from "./mail-transfers.ts";
import type { GatewayConfig, GatewayDeps, GatewayLimits, Link } from "./ports.ts";
import type { PositiveReports } from "./positive-reports.ts";
import type { Count, Tally } from "./tally.ts";
import { WakeUp } from "./wake-up.ts";

/** What the driver works with. */
export interface MailboxParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly trace: HopTrace;
  readonly tally: Tally;
  readonly answers: Answers;
  readonly reports: PositiveReports;
  readonly followed: FollowedAgents;
  /** Live attachments of an agent. */
  readonly linksOf: (agentId: AgentId) => readonly MailLink[];
}

/** What is done once the turn is committed, in order. */
type Afterwards =
  | { readonly kind: "effect"; readonly effect: MailboxEffect; readonly link: LinkId | undefined }
  | { readonly kind: "accepted"; readonly report: () => void; readonly sequence: number | undefined }
  | { readonly kind: "taken"; readonly transfer: TakenTransfer; readonly fresh: readonly number[] };

/** The mailboxes of one gateway. */
export class MailboxDriver {
  readonly #parts: MailboxParts;
  readonly #store: MailboxStore;
  readonly #machine: Mailboxes;
  readonly #wake: WakeUp;
  readonly #transfers: MailTransfers;
  readonly #stored: Count;
  #after: Afterwards[] = [];
  /** Appended in this turn, with where their frames are. */
  #fresh = new Map<number, { readonly mail: StoredMail; readonly frame: StoredFrame }>();
  /** Links that do not acknowledge and got something: the agent whose turn it is when there is room. */
  readonly #bursts = new Map<LinkId, AgentId>();
  #isScheduled = false;
  readonly #scan = new FrameScan();

  constructor(parts: MailboxParts) {
    const { deps, limits } = parts;
    this.#parts = parts;
    this.#store = deps.mailboxes;
    this.#machine = new Mailboxes({ limits, contents: this.#store.load(), linksOf: parts.linksOf });
    this.#wake = new WakeUp(deps.scheduler, () => this.#input((now) => this.#machine.handleTimeout(now)));
    this.#transfers = new MailTransfers(parts);
    this.#stored = parts.tally.count("mailbox_stored");
  }

  start(): void {
    this.#input((now) => this.#machine.handleTimeout(now));
  }

  /** Writes what is not written. */
  stop(): void {
    this.#flush();
    this.#wake.cancel();
  }

  /**
   * Judges a reliable message for an agent of this gateway; `link` is where it would be delivered now. True when it is
   * dealt with; else it is to be delivered.
   */
  take(scan: FrameScan, agentId: AgentId, link: LinkId | undefined, entry: LinkEntry | undefined, now: Now): boolean {
    const { flags } = scan;
    const verdict = this.#machine.offer(now, {
      agentId,
      instance: instanceIn(scan),
      source: scan.source(),
      id: mailId(scan.buf, scan.messageIdStart),
      bytes: scan.end - scan.start,
      expiresUnixMs: scan.expiresUnixMs,
      isTraced: scan.isTraced,
      wantsStored: (flags & HeaderFlag.stored) !== 0,
      wantsNotice: (flags & HeaderFlag.storedNotice) !== 0,
      link,
    });
    if (verdict === "pass") return false;
    const before = this.#fresh.size;
    this.#perform(scan, entry?.role.kind === "agent" ? entry.id : undefined);
    if (typeof verdict !== "string") this.#parts.answers.refuse(scan, entry, verdict, now);
    else if (verdict === "taken" && (flags & HeaderFlag.accepted) !== 0) {
      const sequence = this.#fresh.size > before ? [...this.#fresh.keys()].at(-1) : undefined;
      this.#after.push({ kind: "accepted", report: this.#acceptance(scan, entry), sequence });
    }
    return verdict !== "repeat";
  }

  /** Tells an agent of this gateway that its message was taken, at the end of the turn. */
  accepted(scan: FrameScan, entry: LinkEntry | undefined): void {
    if (entry?.role.kind !== "agent") return;
    this.#acceptance(scan, entry)();
    this.#schedule();
  }

  /** Takes the MailboxAck of an attached agent. */
  handleAck(agentId: AgentId, scan: FrameScan): void {
    // Most acknowledgements are of messages that were never stored.
    if (!this.#machine.has(agentId)) return;
    const now = this.#now();
    const { entries } = decodeBody(agp.MailboxAckSchema, scan);
    const count = entries.reduce((sum, { messageIds }) => sum + messageIds.length, 0);
    if (count > ackIdsMax) {
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${ackIdsMax} message ids in a MailboxAck, got ${count}`);
    }
    for (const { source, messageIds, error } of entries) {
      const ids = messageIds.flatMap((id) => (id.length === 16 ? [mailId(id, 0)] : []));
      this.#machine.handleAck(now, agentId, source, ids, error && fromErrorDetail(error));
    }
    this.#perform();
  }

  /** The live attachments of an agent have changed. */
  handlePresence(agentId: AgentId): void {
    if (!this.#machine.has(agentId)) return;
    this.#input((now) => this.#machine.handleLinks(now, agentId, this.#parts.linksOf(agentId)));
    this.handleRoute(agentId);
  }

  /** What the forwarding table says of an agent has changed. */
  handleRoute(agentId: AgentId): void {
    if (!this.#machine.has(agentId)) return;
    const isMoved = isElsewhere(this.#parts.table, agentId);
    this.#input((now) => this.#machine.handleMoved(now, agentId, isMoved));
  }

  /** A link's queue has room again. */
  handleWritable(link: LinkId): void {
    const agentId = this.#bursts.get(link);
    if (agentId === undefined) return;
    this.#bursts.delete(link);
    this.#input((now) => this.#machine.handleRoom(now, agentId));
  }

  /** Neighbours come and go without a word on each agent, and agents of a neighbour are heard of only when asked for. */
  sweep(): void {
    const away = this.#machine.mailboxes().filter(({ state }) => state !== "attached");
    this.#parts.followed.follow(away.map(({ agentId }) => agentId));
    for (const { agentId } of away) this.handleRoute(agentId);
  }

  /** Gives up what waits for an agent that was deregistered or revoked. */
  close(agentId: AgentId, reason: string): void {
    if (!this.#machine.has(agentId)) return;
    const error: ErrorFacts = { code: "CAUSEWAY_MAILBOX_CLOSED", message: `${agentId} ${reason}` };
    this.#input((now) => this.#machine.close(now, agentId, error));
  }

  /** Stores what another gateway of the domain hands over. The answer goes out when it is on the disk. */
  takeTransfer(
    owner: AgentId,
    link: LinkId | undefined,
    scan: FrameScan,
    control: agp.Control,
    entry: LinkEntry | undefined,
    now: Now,
  ): void {
    const before = new Set(this.#fresh.keys());
    const transfer = this.#transfers.take(owner, scan, control, entry, ({ frame, storedAt, expiresUnixMs }) => {
      const verdict = this.#machine.offer(now, {
        agentId: owner,
        instance: instanceIn(frame),
        source: frame.source(),
        id: mailId(frame.buf, frame.messageIdStart),
        bytes: frame.end - frame.start,
        expiresUnixMs,
        isTraced: frame.isTraced,
        wantsStored: true,
        wantsNotice: false,
        link,
        storedAt,
      });
      this.#perform(frame);
      return typeof verdict === "string" ? undefined : verdict;
    });
    const fresh = [...this.#fresh.keys()].filter((sequence) => !before.has(sequence));
    this.#after.push({ kind: "taken", transfer, fresh });
    this.#schedule();
  }

  /** The answer of another gateway. */
  handleTransferred(requestId: Uint8Array, result: agp.MailboxTransferResult): void {
    const number = this.#transfers.answered(requestId);
    if (number === undefined) return;
    const error = result.error && fromErrorDetail(result.error);
    this.#input((now) => this.#machine.handleTransferred(now, number, result.stored, error));
  }

  /** True while something is stored for one of these agents, which have left. */
  holdsFor(agents: ReadonlySet<AgentId>): boolean {
    return this.#machine.mailboxes().some(({ agentId, state }) => state !== "attached" && agents.has(agentId));
  }

  replay(filter: MailFilter): { readonly replayed: number; readonly refused: number } {
    const now = this.#now();
    const counts = this.#machine.replay(now, filter);
    this.#perform();
    return counts;
  }

  purge(filter: MailFilter, isDeadOnly: boolean): number {
    const now = this.#now();
    const count = this.#machine.purge(now, filter, isDeadOnly);
    this.#perform();
    return count;
  }

  get machine(): Pick<Mailboxes, "totals" | "mailboxes" | "stored" | "deadLetters" | "has"> {
    return this.#machine;
  }

  #now(): Now {
    return this.#parts.deps.scheduler.now();
  }

  #acceptance(scan: FrameScan, entry: LinkEntry | undefined): () => void {
    const id = mailId(scan.buf, scan.messageIdStart);
    const [to, target] = [scan.source() as SpiffeId, scan.target()];
    return () => {
      if (entry?.role.kind === "agent") this.#parts.reports.add(to, target, id, agp.Fate.ACCEPTED, entry.id);
    };
  }

  #input(work: (now: Now) => void): void {
    work(this.#now());
    this.#perform();
  }

  /** Notes in the store what the machine wants noted; the rest waits for the commit. `scan` is the last message. */
  #perform(scan?: FrameScan, link?: LinkId): void {
    for (let effects = this.#machine.drain(); effects.length > 0; effects = this.#machine.drain()) {
      for (const effect of effects) {
        this.#note(effect, scan);
        this.#after.push({ kind: "effect", effect, link });
      }
      this.#schedule();
    }
    // Looked at once for all messages of the turn.
    if (!this.#isScheduled) this.#wake.arm(this.#machine.deadline());
  }

  #note(effect: MailboxEffect, scan: FrameScan | undefined): void {
    switch (effect.kind) {
      case "store": {
        if (scan === undefined) throw new CausewayError({ code: "CAUSEWAY_INTERNAL", message: "no message to store" });
        const { mail } = effect;
        this.#fresh.set(mail.sequence, { mail, frame: this.#store.append(mail, scan.buf, scan.start, scan.end) });
        return;
      }
      case "remove":
        // What leaves by being handed over is forgotten only after it was.
        if (effect.why !== "delivered") this.#store.remove(effect.mail.sequence);
        return;
      case "bury":
        this.#store.bury(effect.mail.sequence, effect.at, effect.error);
        return;
      case "revive":
        this.#store.revive(effect.mail.sequence, effect.mail.expiresAt);
        return;
      default:
        return;
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#parts.deps.endOfTurn(() => this.#flush());
  }

  #flush(): void {
    this.#isScheduled = false;
    const now = this.#now();
    const failed = this.#commit(now);
    const due = this.#after;
    const fresh = this.#fresh;
    this.#after = [];
    this.#fresh = new Map();
    for (const each of due) {
      if (each.kind === "taken") {
        const isLost = failed !== undefined && each.fresh.length > 0;
        this.#transfers.answer(each.transfer, isLost ? failed : undefined, now);
      } else if (each.kind === "accepted") {
        if (failed === undefined || each.sequence === undefined) each.report();
      } else if (failed === undefined || !isOf(each.effect, fresh)) {
        this.#carryOut(each.effect, each.link, fresh, now);
      }
    }
    this.#parts.reports.flush(now);
    for (const [link, agentId] of [...this.#bursts]) {
      const out = this.#parts.links.get(link);
      if (out !== undefined && waitingIn(out.link) > this.#parts.limits.mailboxWindowBytes) continue;
      this.#bursts.delete(link);
      this.#input((at) => this.#machine.handleRoom(at, agentId));
    }
    this.#wake.arm(this.#machine.deadline());
  }

  /** The error when nothing of this turn could be stored. */
  #commit(now: Now): ErrorFacts | undefined {
    try {
      this.#store.commit();
      return undefined;
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      const { code, message } = error;
      this.#parts.deps.log.error("mailbox.store_failed", { code, reason: message, messages: this.#fresh.size }, error);
      this.#machine.handleStoreFailed(
        now,
        [...this.#fresh.values()].map(({ mail }) => mail),
        { code, message: "the gateway could not store the message; retry later", retryAfterMs: storeRetryMs },
      );
      this.#forgetLostLetters(now);
      // What another gateway offered is still there, and that gateway hears of it.
      const offered = new Set(this.#after.flatMap((each) => (each.kind === "taken" ? each.fresh : [])));
      for (const effect of this.#machine.drain()) {
        if (effect.kind === "refuse" && offered.has(effect.mail.sequence)) continue;
        if (effect.kind === "remove" && !this.#fresh.has(effect.mail.sequence)) this.#note(effect, undefined);
        this.#after.push({ kind: "effect", effect, link: undefined });
      }
      return { code, message: "the gateway could not store what was handed over; retry later" };
    }
  }

  /** What was given up in the turn in which it came is a dead letter that is on no disk. */
  #forgetLostLetters(now: Now): void {
    for (const each of this.#after) {
      if (each.kind !== "effect" || each.effect.kind !== "bury") continue;
      const { agentId, id, sequence } = each.effect.mail;
      if (this.#fresh.has(sequence)) this.#machine.purge(now, { agentId, id }, true);
    }
  }

  #carryOut(effect: MailboxEffect, link: LinkId | undefined, fresh: Fresh, now: Now): void {
    const { tally, reports } = this.#parts;
    switch (effect.kind) {
      case "store":
        this.#stored.value++;
        this.#trace(effect.mail, "store", "", "stored on the disk of this gateway", now);
        return;
      case "stored":
        reports.add(effect.mail.source as SpiffeId, targetOf(effect.mail), effect.mail.id, agp.Fate.STORED, link);
        return;
      case "deliver":
        this.#deliver(effect.mail, effect.link as LinkId, fresh, now);
        return;
      case "remove":
        this.#removed(effect, now);
        return;
      case "bury":
        tally.add("mailbox_dead_letters");
        this.#trace(effect.mail, "dead-letter", "", effect.error.message, now);
        this.#parts.deps.log.info("mailbox.message_given_up", {
          agentId: effect.mail.agentId,
          source: effect.mail.source,
          messageId: hex(mailIdBytes(effect.mail.id)),
          code: effect.error.code,
        });
        if (effect.tells) this.#tell(effect.mail, effect.error, now);
        return;
      case "revive":
        this.#trace(effect.mail, "replay", effect.mail.agentId, "an operator put it back", now);
        return;
      case "refuse":
        // Its copy in the store went with the commit that failed.
        this.#tell(effect.mail, effect.error, now);
        return;
      case "transfer":
        this.#transfers.offer(effect, (sequence) => this.#frame(sequence), now);
        return;
    }
  }

  #deliver(mail: StoredMail, link: LinkId, fresh: Fresh, now: Now): void {
    const out = this.#parts.links.get(link);
    // A link that is gone is told to the machine, which takes back what was on it.
    if (out === undefined || out.role.kind !== "agent") return;
    const frame = fresh.get(mail.sequence)?.frame ?? this.#frame(mail.sequence);
    if (frame === undefined) return;
    out.messagesOut++;
    const isRead = scanFrame(frame.buffer, frame.start, frame.end, this.#scan) === undefined;
    out.link.send(frame.buffer, frame.start, frame.end, isRead ? laneOf(this.#scan) : Lane.urgent);
    this.#parts.tally.add("mailbox_delivered");
    this.#trace(mail, "deliver", mail.agentId, "handed to the agent, which has to acknowledge it", now);
  }

  #removed({ mail, why, link }: Extract<MailboxEffect, { kind: "remove" }>, now: Now): void {
    this.#parts.tally.add(`mailbox_${why.replaceAll("-", "_")}`);
    if (why === "delivered") {
      this.#store.remove(mail.sequence);
      if (link !== undefined) this.#bursts.set(link as LinkId, mail.agentId);
      this.#schedule();
    }
    const [fate, reason] = removalTexts[why];
    if (fate !== undefined) this.#trace(mail, fate, mail.agentId, reason, now);
  }

  /** The frame of a stored message; undefined when it cannot be read, which is logged. */
  #frame(sequence: number): StoredFrame | undefined {
    try {
      return this.#store.frame(sequence);
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      this.#parts.deps.log.error("mailbox.frame_not_read", { sequence, code: error.code }, error);
      return undefined;
    }
  }

  #tell(mail: StoredMail, error: ErrorFacts, now: Now): void {
    const { answers, tally } = this.#parts;
    tally.add(`refused_${error.code.replace("CAUSEWAY_", "").toLowerCase()}`);
    const report = { messageId: mailIdBytes(mail.id), target: targetOf(mail), error: toErrorDetail(error) };
    answers.tell(mail.source as SpiffeId, report, undefined, now);
  }

  /** Dead letters are always noted, the rest when the sender asked for it. */
  #trace(mail: StoredMail, action: MailFate, to: string, reason: string, now: Now): void {
    if (!mail.isTraced && action !== "dead-letter") return;
    this.#parts.trace.noteFate({
      messageId: hex(mailIdBytes(mail.id)),
      source: mail.source,
      target: targetOf(mail),
      at: now.unix,
      from: this.#parts.config.gatewayUri,
      action,
      to,
      reason,
    });
  }
}

/** True when the table's first way to the agent is another gateway, where it is not away. */
export function isElsewhere(table: ForwardingTable, agentId: AgentId): boolean {
  const entry = table.entryOf(agentId);
  const first = entry?.ways[0];
  return first?.peer !== undefined && first.isUsable && first.status < statusOffline && entry?.live.length === 0;
}

/** The instance that a message is for; empty for any. */
function instanceIn(scan: FrameScan): string {
  if (scan.targetKind !== TargetKind.agent || scan.targetName?.hasInstance === false) return "";
  return instanceOf(scan.target() as SpiffeId) ?? "";
}

const targetOf = (mail: StoredMail): string =>
  mail.instance === "" ? mail.agentId : `${mail.agentId}/@${mail.instance}`;

/** True when the effect tells or gives somebody what was to be stored. */
const isOf = (effect: MailboxEffect, fresh: Fresh): boolean =>
  effect.kind !== "refuse" && effect.kind !== "transfer" && fresh.has(effect.mail.sequence);

const removalTexts: Readonly<Record<RemovalReason, readonly [MailFate | undefined, string]>> = {
  acknowledged: ["acknowledge", "the agent has settled it"],
  delivered: ["acknowledge", "handed to an agent that does not acknowledge"],
  "handed-over": ["hand-over", "stored by the gateway where the agent is attached now"],
  purged: ["purge", "an operator deleted it"],
  "dead-letter-ended": [undefined, ""],
};

/** `RouteStatus` of an agent that is away. */
const statusOffline = 3;
const storeRetryMs = 5_000;
/** Message ids in one MailboxAck. */
const ackIdsMax = 1_024;

type Fresh = ReadonlyMap<number, { readonly mail: StoredMail; readonly frame: StoredFrame }>;

const waitingIn = ({ bufferedBytes, bufferedBulkBytes = 0 }: Link): number => bufferedBytes + bufferedBulkBytes;
