/**
 * Agent Records (seed 003, section 2.2; C-7): the agent's A2A AgentCard, verbatim, inside a body that the agent signs.
 * `parseRecordBody` is the one way from bytes to an `AgentRecord`; a `VerifiedRecord` comes from a `RecordVerifier` and
 * nothing else. This file does not know where a record came from nor who may announce it.
 */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  type Domain,
  defaults,
  domainOf,
  nameBytesMax,
  parseAgentId,
  parseDomain,
  refuse,
  type UnixMs,
} from "@causeway/core-base";
import { record } from "@causeway/core-wire";
import { type AgentCard, parseAgentCard } from "./card.ts";
import { malformed } from "./malformed.ts";

/** Version of the record schema that this code writes and the only one that it accepts (AMSP-14). */
export const recordSchemaVersion = 1;

/** transactional: one task, then done. conversational: keeps a dialogue. */
export type LifecycleKind = "transactional" | "conversational";

/** What an agent says of itself beside its card. Everything but the card has a default. */
export interface RecordDraft {
  readonly agentId: AgentId;
  /** Exact bytes of the A2A AgentCard's JSON; carried and signed as they are. */
  readonly agentCard: Uint8Array;
  /** BCP 47 tags, for example "en" or "zh-Hans". Default none. */
  readonly languages?: readonly string[];
  /** For example "a2a/1.0" or "agp/1". Default "agp/1". */
  readonly protocols?: readonly string[];
  readonly tags?: readonly string[];
  /** Grows with each change by the agent; from 1. */
  readonly revision: bigint;
  /** When the agent signs. The certificate has to be valid at this time. */
  readonly updatedAt: UnixMs;
  /** Domains that may contact the agent; empty for every trusted one. */
  readonly allowedDomains?: readonly string[];
  /** Domains to which the record may be advertised; empty for every trusted one. */
  readonly visibleDomains?: readonly string[];
  readonly lifecycleKind?: LifecycleKind;
  readonly channels?: readonly string[];
}

/** A checked record body. `agentCard` holds the bytes as they came; `card` is what was read from them. */
export interface AgentRecord {
  readonly agentId: AgentId;
  readonly domain: Domain;
  readonly agentCard: Uint8Array;
  readonly card: AgentCard;
  readonly languages: readonly string[];
  readonly protocols: readonly string[];
  readonly tags: readonly string[];
  readonly revision: bigint;
  readonly updatedAt: UnixMs;
  readonly allowedDomains: readonly Domain[];
  readonly visibleDomains: readonly Domain[];
  readonly lifecycleKind: LifecycleKind | undefined;
  readonly channels: readonly string[];
}

/** Checks a draft and serialises it: the bytes that the agent signs. Throws CAUSEWAY_RECORD_MALFORMED with the field. */
export function encodeRecordBody(draft: RecordDraft): Uint8Array {
  const body = toBinary(
    record.RecordBodySchema,
    create(record.RecordBodySchema, {
      version: recordSchemaVersion,
      agentId: draft.agentId,
      agentCard: draft.agentCard,
      languages: [...(draft.languages ?? [])],
      protocols: [...(draft.protocols ?? ["agp/1"])],
      tags: [...(draft.tags ?? [])],
      revision: draft.revision,
      updatedUnixMs: BigInt(draft.updatedAt),
      trust: {
        allowedDomains: [...(draft.allowedDomains ?? [])],
        visibleDomains: [...(draft.visibleDomains ?? [])],
      },
      lifecycleKind: draft.lifecycleKind ?? "",
      channels: [...(draft.channels ?? [])],
    }),
  );
  parseRecordBody(body);
  return body;
}

/** Parses and checks serialised `RecordBody` bytes. Throws CAUSEWAY_RECORD_MALFORMED with the path of the field. */
export function parseRecordBody(bytes: Uint8Array): AgentRecord {
  checkRecordSize(bytes.length);
  const body = decodeBody(bytes);
  if (body.version !== recordSchemaVersion) {
    throw malformed("version", `expected schema version ${recordSchemaVersion}, got ${body.version}`);
  }
  const agentId = inField("agent_id", () => parseAgentId(body.agentId));
  if (agentId !== body.agentId) throw malformed("agent_id", "expected the full form spiffe://domain/namespace/name");
  const updatedAt = Number(body.updatedUnixMs);
  if (updatedAt <= 0 || !Number.isSafeInteger(updatedAt)) {
    throw malformed("updated_unix_ms", "expected Unix milliseconds, got " + body.updatedUnixMs.toString());
  }
  if (body.revision < 1n) throw malformed("revision", "expected 1 or more, got 0");
  return {
    agentId,
    domain: domainOf(agentId),
    agentCard: body.agentCard,
    card: parseAgentCard(body.agentCard),
    languages: body.languages.map((text, i) => language(`languages[${i}]`, text)),
    protocols: nonEmpty("protocols", words("protocols", body.protocols, protocolPattern, "a name like a2a/1.0")),
    tags: words("tags", body.tags, tagPattern, "1 to 64 characters without control characters"),
    revision: body.revision,
    updatedAt: updatedAt as UnixMs,
    allowedDomains: domains("trust.allowed_domains", body.trust?.allowedDomains ?? []),
    visibleDomains: domains("trust.visible_domains", body.trust?.visibleDomains ?? []),
    lifecycleKind: lifecycleKind(body.lifecycleKind),
    channels: words("channels", body.channels, tagPattern, "1 to 64 characters without control characters"),
  };
}

/** Throws CAUSEWAY_RECORD_TOO_LARGE when a serialised SignedRecord would be over the limit (AMSP-27). */
export function checkRecordSize(bytes: number): void {
  if (bytes <= defaults.recordBytesMax) return;
  throw refuse(
    "CAUSEWAY_RECORD_TOO_LARGE",
    `expected a record of at most ${defaults.recordBytesMax} bytes, got ${bytes}; shorten the card's texts or its skills`,
    { details: { limit: "recordBytesMax", bytes: String(bytes) } },
  );
}

function decodeBody(bytes: Uint8Array): record.RecordBody {
  try {
    return fromBinary(record.RecordBodySchema, bytes);
  } catch (cause) {
    throw refuse("CAUSEWAY_RECORD_MALFORMED", "body: expected a serialised RecordBody", {
      details: { field: "body" },
      cause,
    });
  }
}

function inField<T>(field: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw malformed(field, cause instanceof Error ? cause.message : "invalid");
  }
}

function domains(field: string, texts: readonly string[]): readonly Domain[] {
  bounded(field, texts);
  return texts.map((text, i) => inField(`${field}[${i}]`, () => parseDomain(text)));
}

function words(field: string, texts: readonly string[], pattern: RegExp, expected: string): readonly string[] {
  bounded(field, texts);
  texts.forEach((text, i) => {
    if (!pattern.test(text)) {
      throw malformed(`${field}[${i}]`, `expected ${expected}, got ${JSON.stringify(text.slice(0, 80))}`);
    }
  });
  return texts;
}

function nonEmpty<T>(field: string, values: readonly T[]): readonly T[] {
  if (values.length === 0) throw malformed(field, "expected at least one entry, got none");
  return values;
}

function bounded(field: string, texts: readonly string[]): void {
  if (texts.length > listEntriesMax) {
    throw malformed(field, `expected at most ${listEntriesMax} entries, got ${texts.length}`);
  }
}

function language(field: string, text: string): string {
  if (text.length <= nameBytesMax && languagePattern.test(text)) return text;
  throw malformed(field, `expected a BCP 47 tag like en or zh-Hans, got ${JSON.stringify(text.slice(0, 80))}`);
}

function lifecycleKind(text: string): LifecycleKind | undefined {
  if (text === "") return undefined;
  if (text === "transactional" || text === "conversational") return text;
  throw malformed(
    "lifecycle_kind",
    `expected transactional or conversational, got ${JSON.stringify(text.slice(0, 80))}`,
  );
}

/** Entries of one repeated field. */
const listEntriesMax = 256;
const protocolPattern = /^[a-z0-9][a-z0-9.+-]{0,31}(\/[A-Za-z0-9.+-]{1,31})?$/i;
// Letters of any script, so that tags need not be English; no control characters.
const tagPattern = /^[^\p{Cc}]{1,64}$/u;
// BCP 47 langtag (RFC 5646 section 2.1), private use included, grandfathered tags left out.
const languagePattern =
  /^(?:(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4}|[a-z]{5,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?(?:-(?:[a-z0-9]{5,8}|\d[a-z0-9]{3}))*(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?|x(?:-[a-z0-9]{1,8})+)$/i;
