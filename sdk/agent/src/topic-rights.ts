/** Names of topics and who may use them. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, domainOf, nameBytesMax, parseAgentId, refuse, shortName } from "@causeway/core-base";
import { agp } from "@causeway/core-wire";
import type { TopicRights } from "./api.ts";
import { isBulk } from "./priority.ts";

/** Full name of a topic: `deals` belongs to `self`, anything with a slash is full already. Throws `CAUSEWAY_NAME_INVALID`. */
export function topicName(topic: string, self: AgentId): string {
  const full = topic.includes("/") ? topic.replace(/^spiffe:\/\//, "") : `${shortName(self)}/${topic}`;
  const [domain, ...path] = full.split("/");
  const isValid =
    full.length <= nameBytesMax &&
    domain !== undefined &&
    /^[a-z0-9._-]{1,255}$/.test(domain) &&
    path.length > 0 &&
    path.every((segment) => /^[A-Za-z0-9._-]+$/.test(segment) && segment !== "." && segment !== "..");
  if (!isValid) {
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected a topic like domain/namespace/agent/topic, got ${JSON.stringify(topic.slice(0, 100))}`,
    );
  }
  return full;
}

/** Full name of a pattern: `*` stands for all topics of `self`. Throws `CAUSEWAY_NAME_INVALID`. */
export function patternName(pattern: string, self: AgentId): string {
  return pattern === "*" ? `${shortName(self)}/*` : `${topicName(pattern.slice(0, -2), self)}/*`;
}

/** The agent under whose name the topic is: everything before the last segment. */
export function defaultOwner(topic: string): AgentId {
  return parseAgentId(topic.slice(0, topic.lastIndexOf("/")));
}

/** Rights as they travel; short names become full ones. */
export function policyOf(rights: TopicRights): agp.TopicPolicy {
  const retained = rights.retained ?? 0;
  if (!Number.isInteger(retained) || retained < 0 || retained > retainedMax) {
    throw refuse("CAUSEWAY_LIMIT_COUNT", `expected 0 to ${retainedMax} retained publications, got ${retained}`, {
      details: { limit: "retainedMax" },
    });
  }
  const full = (name: string): string => (name.startsWith("spiffe://") ? name : `spiffe://${name}`);
  return create(agp.TopicPolicySchema, {
    publishers: (rights.publishers ?? []).map(full),
    subscribers: (rights.subscribers ?? []).map(full),
    idleExpiryMs: BigInt(rights.idleExpiryMs ?? 0),
    overflow: overflows[rights.overflow ?? "drop-oldest"],
    trafficClass: isBulk(rights.priority) ? agp.TrafficClass.BULK : agp.TrafficClass.UNSPECIFIED,
    retained,
    retainedMs: BigInt(rights.retainedMs ?? 0),
  });
}

/** What a policy says, in the words of the API. */
export function rightsOf(policy: agp.TopicPolicy | undefined): Required<TopicRights> {
  const overflow = policy?.overflow ?? agp.TopicOverflow.UNSPECIFIED;
  const [name = "drop-oldest"] = (Object.keys(overflows) as (keyof typeof overflows)[]).filter(
    (each) => overflows[each] === overflow,
  );
  return {
    publishers: policy?.publishers ?? [],
    subscribers: policy?.subscribers ?? [],
    idleExpiryMs: Number(policy?.idleExpiryMs ?? 0n),
    overflow: name,
    priority: isBulkTopic(policy) ? "bulk" : "interactive",
    retained: policy?.retained ?? 0,
    retainedMs: Number(policy?.retainedMs ?? 0n),
  };
}

/** True when the publications of the topic are bulk. */
export function isBulkTopic(policy: agp.TopicPolicy | undefined): boolean {
  return policy?.trafficClass === agp.TrafficClass.BULK;
}

/** Publications that an owner keeps of one topic at most. */
const retainedMax = 100;

const overflows = {
  "drop-oldest": agp.TopicOverflow.UNSPECIFIED,
  block: agp.TopicOverflow.BLOCK,
  disconnect: agp.TopicOverflow.DISCONNECT,
} as const;

/** True when the policy lets `agent` publish. The owner always may. */
export function mayPublish(policy: agp.TopicPolicy | undefined, owner: AgentId, agent: AgentId): boolean {
  if (agent === owner) return true;
  const names = policy?.publishers ?? [];
  return names.length === 0 ? domainOf(agent) === domainOf(owner) : covers(names, agent);
}

/** True when the policy lets `agent` subscribe. The owner always may. */
export function maySubscribe(policy: agp.TopicPolicy | undefined, owner: AgentId, agent: AgentId): boolean {
  const names = policy?.subscribers ?? [];
  return agent === owner || names.length === 0 || covers(names, agent);
}

function covers(names: readonly string[], agent: AgentId): boolean {
  return names.some((name) => (name.endsWith("/") ? agent.startsWith(name) : agent === name));
}
