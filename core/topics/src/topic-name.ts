/**
 * Grammar of topics (AGP-20): `domain/namespace…/name/…`, slash-separated segments of letters, digits, '.', '-' and '_'
 * below the Agent ID of the owner. In a pattern the last segment may be '*': it stands for one or more segments.
 */
import { type AgentId, type Branded, nameBytesMax, refuse, shortName } from "@causeway/core-base";

/** A topic that can be created and published to. */
export type TopicName = Branded<"TopicName">;
/** What can be subscribed to: a topic, or `prefix/*`. */
export type TopicPattern = Branded<"TopicPattern">;

const domainPattern = /^[a-z0-9._-]{1,255}$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;

/** Parses a topic. Throws `CAUSEWAY_NAME_INVALID`. */
export function parseTopic(text: string): TopicName {
  if (!isTopic(text))
    throw refuse("CAUSEWAY_NAME_INVALID", `expected a topic like blue.example/travel/booker/deals, got ${quote(text)}`);
  return text as TopicName;
}

/** Parses a topic or a pattern whose last segment is '*'. Throws `CAUSEWAY_NAME_INVALID`. */
export function parseTopicPattern(text: string): TopicPattern {
  if (!isTopic(text) && !isWildcard(text)) {
    throw refuse("CAUSEWAY_NAME_INVALID", `expected a topic, or one whose last segment is '*', got ${quote(text)}`);
  }
  return text as string as TopicPattern;
}

/** True when the pattern covers the topic. */
export function matchesTopic(pattern: TopicPattern, topic: TopicName): boolean {
  if (!pattern.endsWith("/*")) return (pattern as string) === topic;
  return topic.startsWith(pattern.slice(0, -1)) && topic.length > pattern.length - 1;
}

/** True when `owner` may create the topic: it lies below the owner's Agent ID. */
export function isTopicOf(owner: AgentId, topic: TopicName): boolean {
  return topic.startsWith(`${shortName(owner)}/`);
}

function isTopic(text: string): boolean {
  const [domain, ...path] = text.split("/");
  return (
    text.length <= nameBytesMax &&
    domain !== undefined &&
    domainPattern.test(domain) &&
    path.length > 0 &&
    path.every((s) => segmentPattern.test(s) && s !== "." && s !== "..")
  );
}

function isWildcard(text: string): boolean {
  if (!text.endsWith("/*") || text.length > nameBytesMax) return false;
  const prefix = text.slice(0, -2);
  return isTopic(prefix) || domainPattern.test(prefix);
}

const quote = (text: string): string => JSON.stringify(text.slice(0, 100));
