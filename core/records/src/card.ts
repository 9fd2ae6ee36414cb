/**
 * What this product reads from an A2A AgentCard (AMSP-15). The card's bytes are never rewritten, so that its own
 * signatures stay valid and fields of later versions survive; only the fields that discovery and routing need are
 * checked, and each complaint names the field by its path.
 */
import { getTextEncoding } from "@bufbuild/protobuf/wire";
import { malformed } from "./malformed.ts";

/** One skill of a card. */
export interface CardSkill {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly examples: readonly string[];
}

/** The fields of a card that are read here. */
export interface AgentCard {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly skills: readonly CardSkill[];
}

/** Reads a card from the bytes of its JSON. Throws CAUSEWAY_RECORD_MALFORMED with the path of the field. */
export function parseAgentCard(bytes: Uint8Array): AgentCard {
  const card = object("agent_card", parseJson(bytes));
  const skills = card["skills"];
  if (!Array.isArray(skills)) throw malformed("agent_card.skills", `expected a list of skills, got ${kindOf(skills)}`);
  if (skills.length === 0) throw malformed("agent_card.skills", "expected at least one skill, got none");
  return {
    name: text("agent_card.name", card["name"]),
    description: text("agent_card.description", card["description"]),
    version: text("agent_card.version", card["version"]),
    skills: skills.map((skill, i) => parseSkill(`agent_card.skills[${i}]`, skill)),
  };
}

function parseSkill(field: string, value: unknown): CardSkill {
  const skill = object(field, value);
  return {
    id: text(`${field}.id`, skill["id"]),
    name: text(`${field}.name`, skill["name"]),
    description: text(`${field}.description`, skill["description"]),
    tags: texts(`${field}.tags`, skill["tags"]),
    examples: texts(`${field}.examples`, skill["examples"]),
  };
}

function parseJson(bytes: Uint8Array): unknown {
  let source: string;
  try {
    source = getTextEncoding().decodeUtf8(bytes, true);
  } catch {
    // The decoder's message names a byte offset in a copy that nobody has; the field is what helps.
    throw malformed("agent_card", "expected JSON in UTF-8, got bytes that are not UTF-8");
  }
  try {
    return JSON.parse(source) as unknown;
  } catch (cause) {
    throw malformed("agent_card", `expected JSON, got ${cause instanceof Error ? cause.message : "something else"}`);
  }
}

function object(field: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw malformed(field, `expected an object, got ${kindOf(value)}`);
}

function text(field: string, value: unknown): string {
  if (typeof value === "string" && value.trim() !== "") return value;
  throw malformed(field, `expected a text that is not empty, got ${kindOf(value)}`);
}

function texts(field: string, value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw malformed(field, `expected a list of texts, got ${kindOf(value)}`);
  return value.map((entry, i) => text(`${field}[${i}]`, entry));
}

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (value === "" || (typeof value === "string" && value.trim() === "")) return "an empty text";
  return Array.isArray(value) ? "a list" : `a ${typeof value}`;
}
