/**
 * The last publications of the topics that this agent owns, for members that join later (AGP-12, topic option
 * `retained`). They stay at the owner, which is an endpoint: a newcomer cannot read what was sealed for an earlier epoch
 * of the group, and gateways keep nothing that they could be asked for.
 */
import { create } from "@bufbuild/protobuf";
import type { AgentId } from "@causeway/core-base";
import type { agp } from "@causeway/core-wire";
import { session } from "@causeway/core-wire";

/** Bytes kept of one topic; the oldest go first. */
const bytesMax = 1_048_576;

interface Kept {
  readonly publication: session.RetainedPublication;
  readonly bytes: number;
  readonly at: number;
}

export class TopicHistory {
  readonly #topics = new Map<string, Kept[]>();

  /** Notes a publication under the topic's policy; without `retained` nothing is kept. `now` is unix time in ms. */
  note(policy: agp.TopicPolicy, from: AgentId, data: session.TopicData, now: number): void {
    if (policy.retained === 0) {
      this.#topics.delete(data.topic);
      return;
    }
    const kept = this.#topics.get(data.topic) ?? [];
    this.#topics.set(data.topic, kept);
    const publication = create(session.RetainedPublicationSchema, { from, data, atUnixMs: BigInt(Math.round(now)) });
    kept.push({ publication, bytes: data.data?.content.length ?? 0, at: now });
    while (kept.length > policy.retained || kept.reduce((sum, each) => sum + each.bytes, 0) > bytesMax) kept.shift();
  }

  /** What a member that comes now is told, oldest first. */
  of(topic: string, policy: agp.TopicPolicy, now: number): session.RetainedPublication[] {
    const kept = this.#topics.get(topic) ?? [];
    const oldest = policy.retainedMs === 0n ? Number.NEGATIVE_INFINITY : now - Number(policy.retainedMs);
    return kept.filter((each) => each.at >= oldest).map((each) => each.publication);
  }

  forget(topic: string): void {
    this.#topics.delete(topic);
  }
}
