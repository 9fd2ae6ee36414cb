/** What operators read and do with mailboxes (GatewayAdminService). Metadata only: contents are nobody's here. */
import { create } from "@bufbuild/protobuf";
import { mailId, mailIdBytes, parseAgentId, refuse } from "@causeway/core-base";
import type { MailFilter, MailView } from "@causeway/core-mailbox";
import { admin, hex, toErrorDetail } from "@causeway/core-wire";
import type { MailboxDriver } from "./mailbox-driver.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";

const shownMax = 1_000;

/** What the service shows. */
export interface MailboxAdminParts {
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly mailboxes: MailboxDriver;
}

/** Answers operators. */
export class MailboxAdmin {
  readonly #parts: MailboxAdminParts;

  constructor(parts: MailboxAdminParts) {
    this.#parts = parts;
  }

  listMailboxes(): admin.ListMailboxesResponse {
    const { limits } = this.#parts;
    const { machine } = this.#parts.mailboxes;
    const totals = machine.totals();
    const dead = new Map<string, number>();
    for (const { mail } of machine.deadLetters({})) dead.set(mail.agentId, (dead.get(mail.agentId) ?? 0) + 1);
    const views = machine.mailboxes();
    const known = new Set<string>(views.map((view) => view.agentId));
    const onlyDead = [...dead.keys()].filter((agentId) => !known.has(agentId));
    return create(admin.ListMailboxesResponseSchema, {
      mailboxes: [
        ...views.map((view) => ({
          agentId: view.agentId,
          messages: BigInt(view.messages),
          bytes: BigInt(view.bytes),
          underWay: BigInt(view.underWay),
          sources: BigInt(view.sources),
          oldestUnixMs: unix(view.oldestAt),
          state: view.state,
          deadLetters: BigInt(dead.get(view.agentId) ?? 0),
        })),
        ...onlyDead.map((agentId) => ({ agentId, state: "empty", deadLetters: BigInt(dead.get(agentId) ?? 0) })),
      ].sort((a, b) => (a.agentId < b.agentId ? -1 : 1)),
      messages: BigInt(totals.messages),
      messagesMax: BigInt(limits.mailboxTotalMessagesMax),
      bytes: BigInt(totals.bytes),
      bytesMax: BigInt(limits.mailboxTotalBytesMax),
      deadLetters: BigInt(totals.deadLetters),
    });
  }

  listStored(request: admin.ListStoredRequest): admin.ListStoredResponse {
    const { machine } = this.#parts.mailboxes;
    const filter = filterOf({ agentId: request.agentId });
    const found = request.deadLetters ? machine.deadLetters(filter) : machine.stored(filter);
    const limit = Math.min(request.limit || shownMax, shownMax);
    return create(admin.ListStoredResponseSchema, {
      messages: found.slice(0, limit).map(toStoredMail),
      total: BigInt(found.length),
    });
  }

  replay(request: admin.ReplayDeadLettersRequest): admin.ReplayDeadLettersResponse {
    const counts = this.#parts.mailboxes.replay(chosen(request));
    this.#parts.deps.log.info("mailbox.dead_letters_replayed", counts);
    return create(admin.ReplayDeadLettersResponseSchema, counts);
  }

  purge(request: admin.PurgeStoredRequest): admin.PurgeStoredResponse {
    const purged = this.#parts.mailboxes.purge(chosen(request), request.deadLettersOnly);
    this.#parts.deps.log.info("mailbox.messages_purged", { purged, deadLettersOnly: request.deadLettersOnly });
    return create(admin.PurgeStoredResponseSchema, { purged });
  }

  /** In words, what this gateway has of a message now; undefined for nothing. */
  explain(messageId: Uint8Array): string | undefined {
    if (messageId.length !== 16) return undefined;
    const { machine } = this.#parts.mailboxes;
    const filter = { id: mailId(messageId, 0) };
    const [waiting] = machine.stored(filter);
    if (waiting !== undefined) return sentenceOf(waiting);
    const [letter] = machine.deadLetters(filter);
    return letter && sentenceOf(letter);
  }
}

function sentenceOf({ mail, attempts, state, dead }: MailView): string {
  const what = `message ${hex(mailIdBytes(mail.id))} from ${mail.source}`;
  if (dead !== undefined) {
    return `${what} is a dead letter of ${mail.agentId} since ${time(dead.at)}: ${dead.error.code}, ${dead.error.message}`;
  }
  const since = `since ${time(mail.storedAt)}, until ${time(mail.expiresAt)} at most`;
  return state === "under-way"
    ? `${what} was handed to ${mail.agentId} (attempt ${attempts}), which has not acknowledged it; stored ${since}`
    : `${what} waits in the mailbox of ${mail.agentId}, handed over ${attempts} times so far; stored ${since}`;
}

function toStoredMail({ mail, attempts, state, dead }: MailView): admin.StoredMail {
  return create(admin.StoredMailSchema, {
    messageId: mailIdBytes(mail.id),
    agentId: mail.agentId,
    source: mail.source,
    bytes: BigInt(mail.bytes),
    storedUnixMs: unix(mail.storedAt),
    expiresUnixMs: unix(mail.expiresAt),
    attempts,
    state,
    ...(dead && { deadUnixMs: unix(dead.at), error: toErrorDetail(dead.error) }),
  });
}

function filterOf(request: { readonly agentId: string; readonly messageId?: Uint8Array }): MailFilter {
  const { agentId, messageId } = request;
  if (messageId !== undefined && messageId.length > 0 && messageId.length !== 16) {
    throw refuse("CAUSEWAY_HEADER_INVALID", `expected a message id of 16 bytes, got ${messageId.length}`);
  }
  return {
    ...(agentId !== "" && { agentId: parseAgentId(agentId) }),
    ...(messageId !== undefined && messageId.length > 0 && { id: mailId(messageId, 0) }),
  };
}

/** A command without a choice would mean everything; that has to be said. */
function chosen(request: {
  readonly agentId: string;
  readonly messageId: Uint8Array;
  readonly all: boolean;
}): MailFilter {
  if (request.agentId === "" && request.messageId.length === 0 && !request.all) {
    throw refuse("CAUSEWAY_CONFIG_INVALID", "expected an agent, a message id, or all; got none of them");
  }
  return filterOf(request);
}

const unix = (ms: number): bigint => BigInt(Math.round(ms));
const time = (ms: number): string => new Date(ms).toISOString();
