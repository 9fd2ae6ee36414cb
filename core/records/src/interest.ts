/** Interest topics (AMSP-64): which records a subscriber asked for. */
import { isPrefixOf } from "@causeway/core-base";
import type { amsp } from "@causeway/core-wire";
import type { AgentRecord } from "./record.ts";

/** The part of a record that interest looks at. */
export type InterestingRecord = Pick<AgentRecord, "agentId" | "domain" | "tags" | "card">;

/** A subscription key. Every list that is not empty has to match by one of its entries; nothing set matches nothing. */
export type InterestTopic = Pick<amsp.Interest, "all" | "agentIds" | "skills" | "tags" | "domains">;

/** True when the record is of interest. Skills match by id or name, tags of record and skills alike, without case. */
export function matchesInterest(interest: InterestTopic, record: InterestingRecord): boolean {
  if (interest.all) return true;
  const { agentIds, skills, tags, domains } = interest;
  if (agentIds.length + skills.length + tags.length + domains.length === 0) return false;
  return (
    matches(agentIds, (id) => isPrefixOf(id, record.agentId)) &&
    matches(domains, (domain) => domain === record.domain) &&
    matches(skills, (skill) => hasSkill(record, fold(skill))) &&
    matches(tags, (tag) => hasTag(record, fold(tag)))
  );
}

function matches(wanted: readonly string[], test: (entry: string) => boolean): boolean {
  return wanted.length === 0 || wanted.some(test);
}

function hasSkill(record: InterestingRecord, skill: string): boolean {
  return record.card.skills.some((s) => fold(s.id) === skill || fold(s.name) === skill);
}

function hasTag(record: InterestingRecord, tag: string): boolean {
  return (
    record.tags.some((t) => fold(t) === tag) || record.card.skills.some((s) => s.tags.some((t) => fold(t) === tag))
  );
}

const fold = (text: string): string => text.toLowerCase();
