/**
 * Drives the machine of mailboxes: messages and acknowledgements in; the store, links, reports and other gateways out.
 * What was stored in a turn of the event loop is committed at its end, once; only then is anybody told of it or handed it.
 */
import {
  type AgentId,
  CausewayError,
  type ErrorFacts,
  instanceOf,
  later,
  type MailboxStore,
  mailId,
  type Now,
  refuse,
  type SpiffeId,
} from "@causeway/core-base";
import { type ForwardingTable, type HopTrace } from "@causeway/core-forwarding";
import { type MailboxEffect, Mailboxes, type MailFilter, type MailLink } from "@causeway/core-mailbox";
import { agp, FrameScan, fromErrorDetail, HeaderFlag, type LinkId, TargetKind } from "@causeway/core-wire";
import type { Answers } from "./answers.ts";
import { decodeBody } from "./decode-body.ts";
import type { FollowedAgents } from "./followed-agents.ts";
import type { LinkEntry, Links } from "./links.ts";
import { MailEffects, reportStored } from "./mail-effects.ts";
import { MailTransfers } from "./mail-transfers.ts";
import { type Afterwards, MailTurn } from "./mail-turn.ts";
import type { GatewayConfig, GatewayDeps, GatewayLimits, Link } from "./ports.ts";
import { PositiveReports } from "./positive-reports.ts";
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

/** The mailboxes of one gateway. */
export class MailboxDriver {
  readonly #parts: MailboxParts;
  readonly #store: MailboxStore;
  readonly #machine: Mailboxes;
  readonly #wake: WakeUp;
  /** What could not be written is tried again also when nothing else happens. */
  readonly #retry: WakeUp;
  readonly #transfers: MailTransfers;
  readonly #effects: MailEffects;
  /** Reports on what was appended in this turn. */
  readonly #reports: PositiveReports;
  readonly #stored: Count;
  #turn = new MailTurn();
  #isScheduled = false;

  constructor(parts: MailboxParts) {
    const { deps, limits } = parts;
    this.#parts = parts;
    this.#store = deps.mailboxes;
    const [seed = 0] = new Int32Array(Uint8Array.from(deps.random.bytes(4)).buffer);
    const { linksOf, table } = parts;
    const isMoved = (agentId: AgentId): boolean => isElsewhere(table, agentId);
    this.#machine = new Mailboxes({ limits, contents: this.#store.load(), linksOf, isMoved, seed });
    this.#wake = new WakeUp(deps.scheduler, () => this.#input((now) => this.#machine.handleTimeout(now)));
    this.#retry = new WakeUp(deps.scheduler, () => this.#schedule());
    this.#transfers = new MailTransfers(parts);
    this.#effects = new MailEffects(parts, this.#transfers);
    this.#reports = new PositiveReports(parts.answers, parts.links);
    this.#stored = parts.tally.count("mailbox_stored");
  }

  start(): void {
    this.#input((now) => this.#machine.handleTimeout(now));
  }

  /** Writes what is not written. */
  stop(): void {
    this.#flush();
    this.#wake.cancel();
    this.#retry.cancel();
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
    const before = this.#turn.appended;
    this.#perform(scan, entry?.role.kind === "agent" ? entry.id : undefined);
    if (typeof verdict !== "string") this.#parts.answers.refuse(scan, entry, verdict, now);
    else if (verdict === "taken" && (flags & HeaderFlag.accepted) !== 0) {
      const isFresh = this.#turn.appended > before;
      this.#turn.add({ kind: "accepted", report: this.#acceptance(scan, entry), isFresh });
    }
    return verdict !== "repeat";
  }

  /**
   * Something else is about to go to this link. What was stored long before goes first: too many newer messages before it,
   * and its receiver cannot open it any more.
   */
  handFirst(link: LinkId): void {
    if (this.#turn.hasBacklogTo(link)) this.#flush();
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
    const { bursts } = this.#effects;
    const agentId = bursts.get(link);
    if (agentId === undefined) return;
    bursts.delete(link);
    this.#input((now) => this.#machine.handleRoom(now, agentId));
  }

  /**
   * Neighbours come and go without a word on each agent, and agents of a neighbour are heard of only when asked for.
   * `others`: are to be heard of though nothing is stored for them.
   */
  sweep(others: readonly AgentId[] = []): void {
    const away = this.#machine.mailboxes().filter(({ state }) => state !== "attached");
    this.#parts.followed.follow([...away.map(({ agentId }) => agentId), ...others]);
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
    const from = this.#turn.nextFresh;
    const taken = this.#transfers.take(owner, scan, control, entry, ({ frame, storedAt, expiresUnixMs }) => {
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
    this.#turn.add({ kind: "taken", taken, fresh: { from, until: this.#turn.nextFresh } });
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
      for (const effect of effects) this.#note(effect, scan, link);
      this.#schedule();
    }
    // Looked at once for all messages of the turn.
    if (!this.#isScheduled) this.#wake.arm(this.#machine.deadline());
  }

  /** What is only stored and reported leaves nothing behind but its id in the report. */
  #note(effect: MailboxEffect, scan: FrameScan | undefined, link: LinkId | undefined): void {
    switch (effect.kind) {
      case "store":
        if (scan === undefined) throw new CausewayError({ code: "CAUSEWAY_INTERNAL", message: "no message to store" });
        this.#store.append(effect.mail, scan.buf, scan.start, scan.end);
        this.#turn.noteAppended(effect.mail);
        if (!effect.mail.isTraced) return;
        break;
      case "stored":
        if (!this.#turn.isFresh(effect.mail)) break;
        reportStored(this.#reports, effect.mail, link);
        return;
      case "remove":
        // What leaves by being handed over is forgotten only after it was.
        if (effect.why !== "delivered") this.#store.remove(effect.mail.sequence);
        break;
      case "bury":
        this.#store.bury(effect.mail.sequence, effect.at, effect.error);
        break;
      case "revive":
        this.#store.revive(effect.mail.sequence, effect.mail.expiresAt);
        break;
      default:
        break;
    }
    this.#turn.add(effect, link);
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
    const turn = this.#turn;
    this.#turn = new MailTurn();
    if (failed === undefined) this.#stored.value += turn.appended;
    for (let i = 0; i < turn.after.length; i++) {
      const each = turn.after[i] as Afterwards;
      if (each.kind === "taken") {
        const isLost = failed !== undefined && each.fresh.until > each.fresh.from;
        this.#transfers.answer(each.taken, isLost ? failed : undefined, now);
      } else if (each.kind === "accepted") {
        if (failed === undefined || !each.isFresh) each.report();
      } else if (failed === undefined || !turn.isAboutFresh(each)) this.#effects.carryOut(each, turn.links[i], now);
    }
    this.#reports.flush(now);
    this.#parts.reports.flush(now);
    this.#forgetDelivered();
    this.#continueBursts();
    this.#wake.arm(this.#machine.deadline());
  }

  /** What left by being handed over is forgotten with the next commit. */
  #forgetDelivered(): void {
    const { delivered } = this.#effects;
    if (delivered.length === 0) return;
    for (const sequence of delivered.splice(0)) this.#store.remove(sequence);
    this.#schedule();
  }

  #continueBursts(): void {
    const { bursts } = this.#effects;
    if (bursts.size === 0) return;
    for (const [link, agentId] of [...bursts]) {
      const out = this.#parts.links.get(link);
      if (out !== undefined && waitingIn(out.link) > this.#parts.limits.mailboxWindowBytes) continue;
      bursts.delete(link);
      this.#input((at) => this.#machine.handleRoom(at, agentId));
    }
  }

  /** The error when nothing of this turn could be stored. */
  #commit(now: Now): ErrorFacts | undefined {
    try {
      this.#store.commit();
      return undefined;
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      const { code, message } = error;
      this.#parts.deps.log.error(
        "mailbox.store_failed",
        { code, reason: message, messages: this.#turn.appended },
        error,
      );
      this.#giveBack(now, code);
      this.#retry.arm(later(now.instant, storeRetryMs));
      return { code, message: "the gateway could not store what was handed over; retry later" };
    }
  }

  /** Nothing of what was appended is kept: who sent it hears so instead of what would have been told. */
  #giveBack(now: Now, code: ErrorFacts["code"]): void {
    const turn = this.#turn;
    this.#reports.clear();
    const gone = turn.lostOnTheWay();
    const mails = [...this.#machine.storedSince(turn.firstFresh), ...gone].sort((a, b) => a.sequence - b.sequence);
    this.#machine.handleStoreFailed(now, mails, {
      code,
      message: "the gateway could not store the message; retry later",
      retryAfterMs: storeRetryMs,
    });
    // What was given up in the turn in which it came is a dead letter that is on no disk.
    for (const { agentId, id } of gone) this.#machine.purge(now, { agentId, id }, true);
    for (const effect of this.#machine.drain()) {
      // What another gateway offered is still there, and that gateway hears of it.
      if (effect.kind === "refuse" && turn.wasOffered(effect.mail)) continue;
      if (effect.kind === "remove" && !turn.isFresh(effect.mail)) this.#store.remove(effect.mail.sequence);
      turn.add(effect);
    }
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

/** `RouteStatus` of an agent that is away. */
const statusOffline = 3;
const storeRetryMs = 5_000;
/** Message ids in one MailboxAck. */
const ackIdsMax = 1_024;

const waitingIn = ({ bufferedBytes, bufferedBulkBytes = 0 }: Link): number => bufferedBytes + bufferedBulkBytes;
