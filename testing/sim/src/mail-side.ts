/**
 * The mailboxes of one gateway, driven as the service does it: what one turn stores is committed at its end, and only
 * then is anybody told of it or handed it. The process may die before the commit, after it, and between any two effects.
 */
import {
  type AgentId,
  CausewayError,
  domainOf,
  type ErrorFacts,
  instanceOf,
  mailId,
  mailIdBytes,
  type SpiffeId,
  type StoredFrame,
  type StoredMail,
  type UnixMs,
} from "@causeway/core-base";
import { isFromGateway } from "@causeway/core-forwarding";
import { type MailboxEffect, Mailboxes, type MailLink } from "@causeway/core-mailbox";
import {
  agp,
  decodeFrame,
  FrameScan,
  fromErrorDetail,
  HeaderFlag,
  hex,
  scanFrame,
  TargetKind,
  toErrorDetail,
} from "@causeway/core-wire";
import { Alarm } from "./clock.ts";
import type { Back } from "./data-side.ts";
import type { Gateway } from "./gateway.ts";
import type { MailPlan } from "./mail-plan.ts";

type Control = agp.Control;
type Afterwards =
  | { readonly kind: "effect"; readonly effect: MailboxEffect; readonly back: Back }
  | { readonly kind: "accepted"; readonly report: () => void; readonly sequence: number | undefined }
  | { readonly kind: "taken"; readonly answer: TransferAnswer; readonly fresh: readonly number[] };

/** What operators do with the messages of one agent. */
export type OperatorDeed = "replay" | "purge dead" | "purge all";

/** What another gateway is told of its offer once the turn is committed. */
interface TransferAnswer {
  readonly to: SpiffeId;
  readonly requestId: Uint8Array;
  readonly stored: number;
  readonly error: ErrorFacts | undefined;
  readonly back: Back;
}

export class MailSide {
  readonly machine: Mailboxes;
  readonly #gateway: Gateway;
  readonly #alarm: Alarm;
  readonly #asked = new Map<string, number>();
  #fresh = new Map<number, { readonly mail: StoredMail; readonly frame: StoredFrame }>();
  #after: Afterwards[] = [];
  #isScheduled = false;
  #isRetrying = false;

  constructor(gateway: Gateway, plan: MailPlan) {
    this.#gateway = gateway;
    this.machine = new Mailboxes({
      limits: plan.mailbox,
      contents: gateway.mailStore.load(),
      linksOf: (agentId) => this.#linksOf(agentId),
    });
    this.#alarm = new Alarm(gateway.world.queue, `${gateway.name} mailbox timer`, () =>
      this.#input((machine) => machine.handleTimeout(gateway.now())),
    );
  }

  start(): void {
    this.#input((machine) => machine.handleTimeout(this.#gateway.now()));
    this.#sweepLater();
  }

  stop(): void {
    this.#alarm.arm(undefined);
  }

  /** Judges a reliable message; true when it is dealt with. */
  take(scan: FrameScan, agentId: AgentId, link: number | undefined, back: Back): boolean {
    const gateway = this.#gateway;
    gateway.world.touch(gateway);
    const mail = {
      agentId,
      instance: instanceIn(scan),
      source: scan.source(),
      id: mailId(scan.buf, scan.messageIdStart),
      bytes: scan.end - scan.start,
      expiresUnixMs: scan.expiresUnixMs,
      isTraced: false,
      wantsStored: (scan.flags & HeaderFlag.stored) !== 0,
      wantsNotice: (scan.flags & HeaderFlag.storedNotice) !== 0,
      link,
    };
    const verdict = this.machine.offer(gateway.now(), mail);
    gateway.world.note(
      () =>
        `${gateway.name} mailbox of ${agentId} ${typeof verdict === "string" ? verdict : `refuses (${verdict.details?.["limit"]})`} ${scan.messageId().slice(-6)}`,
    );
    gateway.world.tell("mailVerdict", gateway, mail, verdict);
    if (verdict === "pass") return false;
    const before = this.#fresh.size;
    this.#perform(scan, back);
    // The process may have died at it.
    if (gateway.mail !== this) return true;
    if (verdict === "taken" && (scan.flags & HeaderFlag.accepted) !== 0) {
      const sequence = this.#fresh.size > before ? [...this.#fresh.keys()].at(-1) : undefined;
      this.#after.push({ kind: "accepted", report: this.#acceptance(scan, back), sequence });
      this.#schedule();
    }
    if (typeof verdict !== "string") gateway.data?.refuse(scan, back, verdict);
    return verdict !== "repeat";
  }

  /** Tells an agent of this gateway that its message was passed on. */
  accepted(scan: FrameScan, back: Back): void {
    this.#acceptance(scan, back)();
  }

  /** What an operator does with the messages of one agent. */
  operate(deed: OperatorDeed, agentId: AgentId): void {
    const gateway = this.#gateway;
    const filter = { agentId };
    gateway.world.note(() => `${gateway.name}: an operator does ${deed} for ${agentId}`);
    gateway.world.tell("mailOperated", gateway, deed, agentId);
    this.#input((machine) => {
      if (deed === "replay") machine.replay(gateway.now(), filter);
      else machine.purge(gateway.now(), filter, deed === "purge dead");
    });
  }

  handleAck(agentId: AgentId, ack: agp.MailboxAck): void {
    for (const { source, messageIds, error } of ack.entries) {
      const ids = messageIds.map((id) => mailId(id, 0));
      this.#input((machine) =>
        machine.handleAck(this.#gateway.now(), agentId, source, ids, error && fromErrorDetail(error)),
      );
    }
  }

  /** The agent's attachments have changed. */
  handlePresence(agentId: AgentId): void {
    if (!this.machine.has(agentId)) return;
    this.#input((machine) => machine.handleLinks(this.#gateway.now(), agentId, this.#linksOf(agentId)));
    this.handleRoute(agentId);
  }

  /** What the table says of the agent may have changed. */
  handleRoute(agentId: AgentId): void {
    if (!this.machine.has(agentId)) return;
    const isMoved = this.#gateway.isElsewhere(agentId);
    this.#input((machine) => machine.handleMoved(this.#gateway.now(), agentId, isMoved));
  }

  /** Stores what another gateway of the domain hands over. */
  takeTransfer(owner: AgentId, link: number | undefined, scan: FrameScan, control: Control, back: Back): void {
    const to = scan.source() as SpiffeId;
    const { requestId, body } = control;
    const isOurs = isFromGateway(scan) && domainOf(to) === this.#gateway.plan.domain;
    const before = new Set(this.#fresh.keys());
    let stored = 0;
    let error: ErrorFacts | undefined = isOurs
      ? undefined
      : { code: "CAUSEWAY_FORWARDING_NOT_ALLOWED", message: `expected a gateway of this domain, got ${to}` };
    if (isOurs && body.case === "mailboxTransfer") {
      for (const message of body.value.messages) {
        error = this.#store(owner, link, message);
        if (error !== undefined) break;
        stored++;
      }
    }
    if (this.#gateway.mail !== this) return;
    const fresh = [...this.#fresh.keys()].filter((sequence) => !before.has(sequence));
    this.#after.push({ kind: "taken", answer: { to, requestId, stored, error, back }, fresh });
    this.#schedule();
  }

  handleTransferred(requestId: Uint8Array, result: agp.MailboxTransferResult): void {
    const key = hex(requestId);
    const number = this.#asked.get(key);
    this.#asked.delete(key);
    if (number === undefined) return;
    const error = result.error && fromErrorDetail(result.error);
    this.#input((machine) => machine.handleTransferred(this.#gateway.now(), number, result.stored, error));
  }

  #store(owner: AgentId, link: number | undefined, message: agp.StoredMessage): ErrorFacts | undefined {
    const inner = new FrameScan();
    const fault = scanFrame(message.frame, 0, message.frame.length, inner);
    if (fault !== undefined) return fault;
    const mail = {
      agentId: owner,
      instance: instanceIn(inner),
      source: inner.source(),
      id: mailId(inner.buf, inner.messageIdStart),
      bytes: inner.end - inner.start,
      expiresUnixMs: Number(message.expiresUnixMs),
      isTraced: false,
      wantsStored: true,
      wantsNotice: false,
      link,
      storedAt: Number(message.storedUnixMs) as UnixMs,
    };
    const verdict = this.machine.offer(this.#gateway.now(), mail);
    this.#gateway.world.tell("mailVerdict", this.#gateway, mail, verdict);
    this.#perform(inner, undefined);
    return typeof verdict === "string" ? undefined : verdict;
  }

  #linksOf(agentId: AgentId): readonly MailLink[] {
    return (this.#gateway.attach?.attachmentsOf(agentId) ?? [])
      .filter(({ state }) => state !== "stale")
      .map(({ link, instance }) => ({ link, instance, acknowledges: true }));
  }

  #input(work: (machine: Mailboxes) => void): void {
    const gateway = this.#gateway;
    if (gateway.mail !== this) return;
    gateway.world.touch(gateway);
    work(this.machine);
    this.#perform(undefined, undefined);
  }

  #perform(scan: FrameScan | undefined, back: Back): void {
    const gateway = this.#gateway;
    for (let effects = this.machine.drain(); effects.length > 0; effects = this.machine.drain()) {
      for (const effect of effects) {
        if (!gateway.burn()) return;
        this.#note(effect, scan);
        this.#after.push({ kind: "effect", effect, back });
      }
      this.#schedule();
    }
    const deadline = this.machine.deadline();
    this.#alarm.arm(deadline === undefined ? undefined : gateway.timeOf(deadline));
  }

  #note(effect: MailboxEffect, scan: FrameScan | undefined): void {
    const store = this.#gateway.mailStore;
    switch (effect.kind) {
      case "store":
        if (scan === undefined) throw new CausewayError({ code: "CAUSEWAY_INTERNAL", message: "no message to store" });
        this.#fresh.set(effect.mail.sequence, {
          mail: effect.mail,
          frame: store.append(effect.mail, scan.buf, scan.start, scan.end),
        });
        return;
      case "remove":
        return store.remove(effect.mail.sequence);
      case "bury":
        return store.bury(effect.mail.sequence, effect.at, effect.error);
      case "revive":
        return store.revive(effect.mail.sequence, effect.mail.expiresAt);
    }
  }

  /** The end of this turn comes after whatever else happens at the same time. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const { world, name } = this.#gateway;
    world.queue.push(world.now, `${name} ends its turn`, () => this.#flush());
  }

  #flush(): void {
    const gateway = this.#gateway;
    if (gateway.mail !== this || !gateway.burn()) return;
    this.#isScheduled = false;
    gateway.world.touch(gateway);
    const isStored = this.#commit();
    const due = this.#after;
    this.#after = [];
    const fresh = this.#fresh;
    this.#fresh = new Map();
    for (const each of due) {
      if (!gateway.burn()) return;
      const isLost = (sequence: number): boolean => !isStored && fresh.has(sequence);
      if (each.kind === "taken") {
        const { answer } = each;
        this.#answer(each.fresh.some(isLost) ? { ...answer, stored: 0, error: diskFull } : answer);
      } else if (each.kind === "accepted") {
        if (each.sequence === undefined || !isLost(each.sequence)) each.report();
      } else {
        const { effect, back } = each;
        const isUntouched = effect.kind === "refuse" || effect.kind === "transfer" || !isLost(effect.mail.sequence);
        if (isUntouched) this.#carryOut(effect, back, fresh);
      }
    }
  }

  /** False when the disk took nothing of what is new in this turn. */
  #commit(): boolean {
    const gateway = this.#gateway;
    try {
      gateway.mailStore.commit();
      gateway.world.tell("mailCommitted", gateway);
      return true;
    } catch (thrown) {
      if (!gateway.isDiskFull) throw thrown;
      gateway.world.note(() => `${gateway.name} mailbox: the disk takes nothing of ${this.#fresh.size}`);
      const lost = [...this.#fresh.values()].map(({ mail }) => mail);
      this.machine.handleStoreFailed(gateway.now(), lost, diskFull);
      this.#forgetLostLetters();
      const offered = new Set(this.#after.flatMap((each) => (each.kind === "taken" ? each.fresh : [])));
      for (const effect of this.machine.drain()) {
        if (effect.kind === "refuse" && offered.has(effect.mail.sequence)) continue;
        if (effect.kind === "remove" && !this.#fresh.has(effect.mail.sequence)) this.#note(effect, undefined);
        this.#after.push({ kind: "effect", effect, back: undefined });
      }
      gateway.world.tell("mailNotCommitted", gateway, lost);
      this.#retryLater();
      return false;
    }
  }

  /** Marks that could not be written. */
  #retryLater(): void {
    const { world, name } = this.#gateway;
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    world.queue.push(world.now + storeRetryMs, `${name} writes its mailboxes again`, () => {
      this.#isRetrying = false;
      if (this.#gateway.mail === this) this.#schedule();
    });
  }

  #forgetLostLetters(): void {
    for (const each of this.#after) {
      if (each.kind !== "effect" || each.effect.kind !== "bury") continue;
      const { agentId, id, sequence } = each.effect.mail;
      if (this.#fresh.has(sequence)) this.machine.purge(this.#gateway.now(), { agentId, id }, true);
    }
  }

  #acceptance(scan: FrameScan, back: Back): () => void {
    const messageId = scan.buf.slice(scan.messageIdStart, scan.messageIdEnd);
    const [to, target] = [scan.source() as SpiffeId, scan.target()];
    const body = { case: "deliveryReport", value: { messageId, target, fate: agp.Fate.ACCEPTED } } as const;
    return () => {
      if (back !== undefined && "link" in back) this.#gateway.data?.control(to, body, undefined, back);
    };
  }

  #carryOut(effect: MailboxEffect, back: Back, fresh: Fresh): void {
    const gateway = this.#gateway;
    gateway.world.note(() => `${gateway.name} mailbox: ${textOf(effect)}`);
    gateway.world.tell("mailEffect", gateway, effect);
    switch (effect.kind) {
      case "stored":
        return this.#tell(effect.mail, { fate: agp.Fate.STORED }, back);
      case "refuse":
        return this.#tell(effect.mail, { error: toErrorDetail(effect.error) }, undefined);
      case "bury":
        if (effect.tells) this.#tell(effect.mail, { error: toErrorDetail(effect.error) }, undefined);
        return;
      case "deliver": {
        const frame = fresh.get(effect.mail.sequence)?.frame ?? gateway.mailStore.frame(effect.mail.sequence);
        if (frame === undefined) return;
        gateway.attach?.send(effect.link as never, frame.buffer.subarray(frame.start, frame.end));
        return;
      }
      case "transfer":
        return this.#offer(effect);
    }
  }

  #tell(mail: StoredMail, what: Pick<Partial<agp.DeliveryReport>, "fate" | "error">, back: Back): void {
    const target = mail.instance === "" ? mail.agentId : `${mail.agentId}/@${mail.instance}`;
    const value = { messageId: mailIdBytes(mail.id), target, ...what };
    this.#gateway.data?.control(mail.source as SpiffeId, { case: "deliveryReport", value }, undefined, back);
  }

  #offer({ transfer, agentId, mails }: Extract<MailboxEffect, { kind: "transfer" }>): void {
    const { mailStore, random, data } = this.#gateway;
    const messages = mails.flatMap((mail) => {
      const frame = mailStore.frame(mail.sequence);
      if (frame === undefined) return [];
      const bytes = frame.buffer.subarray(frame.start, frame.end);
      return [{ frame: bytes, storedUnixMs: BigInt(mail.storedAt), expiresUnixMs: BigInt(Math.ceil(mail.expiresAt)) }];
    });
    const requestId = random.bytes(16);
    this.#asked.set(hex(requestId), transfer);
    data?.control(agentId, { case: "mailboxTransfer", value: { messages } }, requestId, undefined);
  }

  #answer({ to, requestId, stored, error, back }: TransferAnswer): void {
    const value = { stored, ...(error && { error: toErrorDetail(error) }) };
    this.#gateway.data?.control(to, { case: "mailboxTransferResult", value }, requestId, back);
  }

  /** Neighbours come and go without a word on each agent. */
  #sweepLater(): void {
    const { world, name } = this.#gateway;
    world.queue.push(world.now + sweepMs, `${name} sweeps`, () => {
      if (this.#gateway.mail !== this) return;
      for (const { agentId, state } of this.machine.mailboxes()) if (state !== "attached") this.handleRoute(agentId);
      this.#sweepLater();
    });
  }
}

/** Decodes a control frame. */
export function controlIn(scan: FrameScan): Control | undefined {
  const body = decodeFrame(scan.bytes());
  return body.case === "control" ? body.value : undefined;
}

function instanceIn(scan: FrameScan): string {
  if (scan.targetKind !== TargetKind.agent) return "";
  return instanceOf(scan.target() as SpiffeId) ?? "";
}

function textOf(effect: MailboxEffect): string {
  if (effect.kind === "transfer") return `transfer ${effect.transfer} of ${effect.mails.length} for ${effect.agentId}`;
  const id = hex(mailIdBytes(effect.mail.id)).slice(-6);
  const why = effect.kind === "remove" ? ` (${effect.why})` : effect.kind === "bury" ? ` (${effect.error.code})` : "";
  return `${effect.kind} ${id} as ${effect.mail.sequence} for ${effect.mail.agentId}${why}`;
}

/** What is new in a turn. */
type Fresh = ReadonlyMap<number, { readonly frame: StoredFrame }>;

const diskFull: ErrorFacts = { code: "CAUSEWAY_STORE_FULL", message: "the disk is full", retryAfterMs: 1_000 };
const sweepMs = 500;
const storeRetryMs = 1_000;
