/**
 * Stored messages between gateways of one domain (MailboxTransfer): what one hands over is frames as they came, and the
 * other answers how many of them it has on its disk.
 */

import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  agentOf,
  asUnixMs,
  domainOf,
  type ErrorFacts,
  type Now,
  type SpiffeId,
  type StoredFrame,
  type UnixMs,
} from "@causeway/core-base";
import { isFromGateway } from "@causeway/core-forwarding";
import type { MailboxEffect } from "@causeway/core-mailbox";
import { agp, FrameScan, hex, type LinkId, scanFrame, TargetKind, toErrorDetail } from "@causeway/core-wire";
import type { Answers } from "./answers.ts";
import type { LinkEntry, Links } from "./links.ts";
import type { GatewayConfig, GatewayDeps } from "./ports.ts";

/** What transfers work with. */
export interface TransferParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly links: Links;
  readonly answers: Answers;
}

/** One message of a transfer. */
export interface TransferredMail {
  readonly frame: FrameScan;
  readonly storedAt: UnixMs;
  readonly expiresUnixMs: number;
}

/** A transfer that was taken and is not answered yet. */
export interface TakenTransfer {
  readonly from: SpiffeId;
  readonly requestId: Uint8Array;
  readonly link: LinkId | undefined;
  readonly stored: number;
  readonly error: ErrorFacts | undefined;
}

/** Asked and not answered; beyond it the oldest is forgotten, and offered again by the machine. */
const askedMax = 10_000;

/** Both sides of handing over. */
export class MailTransfers {
  readonly #parts: TransferParts;
  readonly #asked = new Map<string, number>();

  constructor(parts: TransferParts) {
    this.#parts = parts;
  }

  /** Offers messages to the gateway where their agent is attached. Those after one that cannot be read wait. */
  offer(
    { transfer, agentId, mails }: Extract<MailboxEffect, { kind: "transfer" }>,
    frameOf: (sequence: number) => StoredFrame | undefined,
    now: Now,
  ): void {
    const messages: agp.StoredMessage[] = [];
    for (const mail of mails) {
      const frame = frameOf(mail.sequence);
      if (frame === undefined) break;
      const message = create(agp.StoredMessageSchema, {
        frame: frame.buffer.subarray(frame.start, frame.end),
        storedUnixMs: BigInt(mail.storedAt),
        expiresUnixMs: BigInt(Math.ceil(mail.expiresAt)),
      });
      messages.push(message);
    }
    if (messages.length === 0) return;
    const requestId = this.#parts.deps.random.bytes(16);
    this.#asked.set(hex(requestId), transfer);
    const [oldest] = this.#asked.keys();
    if (this.#asked.size > askedMax && oldest !== undefined) this.#asked.delete(oldest);
    this.#parts.answers.ask(agentId, requestId, { case: "mailboxTransfer", value: { messages } }, now);
  }

  /** The number of the offer that was answered; undefined for an answer that nobody waits for. */
  answered(requestId: Uint8Array): number | undefined {
    const key = hex(requestId);
    const number = this.#asked.get(key);
    this.#asked.delete(key);
    return number;
  }

  /** Stores one message after the other with `store`, until one is refused. */
  take(
    owner: AgentId,
    scan: FrameScan,
    control: agp.Control,
    entry: LinkEntry | undefined,
    store: (mail: TransferredMail) => ErrorFacts | undefined,
  ): TakenTransfer {
    const from = scan.source() as SpiffeId;
    const link = entry?.role.kind === "peer" ? entry.id : undefined;
    const head = { from, requestId: control.requestId, link };
    if (!isFromGateway(scan) || domainOf(from) !== this.#parts.config.domain) {
      return { ...head, stored: 0, error: notOurs(from, this.#parts.config.domain) };
    }
    const messages = control.body.case === "mailboxTransfer" ? control.body.value.messages : [];
    let stored = 0;
    for (const { frame, storedUnixMs, expiresUnixMs } of messages) {
      const inner = new FrameScan();
      const error =
        scanFrame(frame, 0, frame.length, inner) ??
        misplaced(inner, owner) ??
        store({ frame: inner, storedAt: asUnixMs(Number(storedUnixMs)), expiresUnixMs: Number(expiresUnixMs) });
      if (error !== undefined) return { ...head, stored, error };
      stored++;
    }
    return { ...head, stored, error: undefined };
  }

  /** Answers; `failed` when what was taken could not be written. */
  answer(transfer: TakenTransfer, failed: ErrorFacts | undefined, now: Now): void {
    const error = failed ?? transfer.error;
    const value = create(agp.MailboxTransferResultSchema, {
      stored: failed === undefined ? transfer.stored : 0,
      ...(error && { error: toErrorDetail(error) }),
    });
    const entry = transfer.link === undefined ? undefined : this.#parts.links.get(transfer.link);
    this.#parts.answers.answer(transfer.from, transfer.requestId, { case: "mailboxTransferResult", value }, entry, now);
  }
}

/** Why a frame does not belong into the mailbox of the agent. */
function misplaced(scan: FrameScan, owner: AgentId): ErrorFacts | undefined {
  const isHere = scan.targetKind === TargetKind.prefix || agentOf(scan.target() as SpiffeId) === owner;
  if (scan.isReliable && scan.targetKind !== TargetKind.topic && isHere) return undefined;
  return { code: "CAUSEWAY_HEADER_INVALID", message: `expected a reliable message for ${owner}, got another frame` };
}

const notOurs = (from: SpiffeId, domain: string): ErrorFacts => ({
  code: "CAUSEWAY_FORWARDING_NOT_ALLOWED",
  message: `only gateways of ${domain} hand over mailboxes, got ${from}`,
});
